"""Floor 5: what a finished fit looks like, as text, figures and one self-contained page. Needs no JAX."""
