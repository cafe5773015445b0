"""Stand-ins for the site systems, and what each records."""
