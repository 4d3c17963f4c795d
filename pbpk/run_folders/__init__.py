"""Run folders: claimed, recorded, resumed, found, read back and reopened for further analyses."""
