"""What is observed and how likely it is: one file for each kind of endpoint; `base.py` is the interface they share."""
