"""The tables in config/, read into values of `policy`."""
