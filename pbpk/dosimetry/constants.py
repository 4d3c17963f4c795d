"""Conversions of dosimetry."""

MEV = 1.602176634e-13  # J
GY_PER_MEV_G = MEV / 1e-3  # Gy for 1 MeV in 1 g
SECONDS = 3600.0  # of an hour
MGY_PER_MBQ = 1e9  # mGy/MBq for 1 Gy/Bq
