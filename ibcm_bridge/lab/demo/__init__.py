"""`ibcm-bridge demo`: the comparison as a table and a report."""
