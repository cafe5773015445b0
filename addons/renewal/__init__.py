"""Revocation lists and rules that change while the bridge runs."""
