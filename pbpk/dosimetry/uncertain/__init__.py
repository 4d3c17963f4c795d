"""From what is not known of kinetics, masses, S values and RBE to what is not known of dose and effect.

inputs.py (which parameters, and how far off) → doses.py (the engine, the S values, the effect) → spread.py (first-order
propagation or Monte Carlo, and which of the origins brings how much).
"""
