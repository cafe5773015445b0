"""The shape of the policy file: one strict row per mapping.

`config/schema/policy.schema.json` is generated from these rows; editors show the descriptions.
"""
