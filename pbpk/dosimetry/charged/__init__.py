"""Charged particles: ranges, and the share of their energy that they leave in a body or a layer."""
