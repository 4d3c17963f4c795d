"""What an absorbed dose does: protraction (protraction.py, sampled.py), BED and EQD2 (bed.py), cycles (cycles.py), RBE
(rbe.py), NTCP and TCP (response.py), and defaults with their sources (defaults.toml). Doses are Gy, times h, α/β Gy.

Nothing here uses w_R, which is for the stochastic risk of a reference person.
"""
