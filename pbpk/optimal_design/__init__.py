"""Optimal sampling designs: what a study will tell before it is run, and which times tell most."""
