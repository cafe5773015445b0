"""The tables in config/: YAML -> values of `policy`."""
