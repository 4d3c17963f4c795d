"""Run folders: found, claimed, written, resumed, read back and reopened for further analyses."""
