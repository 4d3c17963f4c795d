"""What the methods that draw random effects are made of: chains, complete-data steps, phases, importance samples."""
