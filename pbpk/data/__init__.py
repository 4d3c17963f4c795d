"""NONMEM-style event tables: read one, check every row, and spell repeated doses out."""
