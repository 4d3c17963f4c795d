"""What saem.py and importance.py are made of: chains of η, the maximisation of SAEM and its phases, even sample points."""
