"""Data tables, and the scripts that made them."""
