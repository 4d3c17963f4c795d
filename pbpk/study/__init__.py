"""A study as its user wrote it (fit.toml, data), checked and assembled into the likelihood's arrays."""
