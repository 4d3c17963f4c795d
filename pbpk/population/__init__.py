"""Floor 3: how patients differ. Covariates, random effects, virtual patients."""
