"""Photons through a phantom: interaction data and our Monte Carlo."""
