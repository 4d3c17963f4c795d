"""What is measured: a model's own observables (readings.py), and what an instrument makes of them (measure.py)."""
