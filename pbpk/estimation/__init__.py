"""Population estimation: one file per method (`methods.py` lists them), a run from study to result."""
