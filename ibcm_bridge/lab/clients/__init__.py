"""The requests of ConfigMgr clients, as data."""
