"""Role tables and shipped configurations; installed as `ibcm_bridge.config`."""
