"""Audit records, without secrets."""
