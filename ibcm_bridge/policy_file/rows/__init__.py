"""The file's shape: one row per mapping, strict. Names are what an administrator would look for.

Descriptions are for editors: `config/schema/policy.schema.json` is made of these rows.
"""
