"""Content engines: YARA-X, ClamAV, and the worker processes for large bodies."""
