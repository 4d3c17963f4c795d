"""Stylised phantoms of reference adults: shapes, masses, voxels."""
