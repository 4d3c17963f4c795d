"""Floor 2: trajectories. One interface (base.py), one scan over events (segments.py), one file per solver."""
