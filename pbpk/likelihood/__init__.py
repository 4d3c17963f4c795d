"""The likelihood of a study: parameters, subjects, predictions, endpoints, priors. No searches here."""
