"""What is measured: a model's observables (readings.py), and what an instrument makes of them (measure.py)."""
