"""Renewal of revocation lists and rules while the bridge runs."""
