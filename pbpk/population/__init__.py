"""Patients: their parameters, covariates and random effects, virtual ones, and their simulation in batches and processes."""
