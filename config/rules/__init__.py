"""The default YARA-X rules; installed as `ibcm_bridge.config.rules`."""
