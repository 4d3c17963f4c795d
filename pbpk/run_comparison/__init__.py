"""Finished runs side by side: which likelihoods may be compared, and which differences mean anything."""
