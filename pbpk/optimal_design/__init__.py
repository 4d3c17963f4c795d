"""Optimal sampling designs: what a study will tell before it is run, and which times tell most.

design_study.py answers a specification (spec.py). evaluate.py says what a given design will tell, optimise.py finds a better
one; both work on the moments of all candidate samples (moments.py, records.py) and the criteria made of them (criteria.py).
"""
