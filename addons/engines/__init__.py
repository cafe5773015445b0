"""The content engines YARA-X and ClamAV, and the worker processes for large bodies."""
