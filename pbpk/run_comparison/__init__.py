"""Comparison of finished runs: which likelihoods may be compared, and which differences mean anything."""
