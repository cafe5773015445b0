"""The bridge as a process of the lab."""
