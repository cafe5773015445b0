"""The YARA-X rules that are on by default; installed as `ibcm_bridge.config.rules`."""
