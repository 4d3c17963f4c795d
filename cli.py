"""The front door from a checkout: the same application as the installed `pbpk` command."""

from pbpk.commands import main

if __name__ == "__main__":
    main()
