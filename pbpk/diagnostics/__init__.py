"""Judging a fit by simulation: replicates of the study under its estimates, set against what was observed (VPC, NPDE)."""
