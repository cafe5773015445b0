"""Scripted clients of the lab."""
