"""What mitmproxy calls: listeners, layers and addons; installed as `ibcm_bridge.addons`.

docs/architecture.md lists the rooms. Every decision is made in `ibcm_bridge`. `server` guards the
hooks and layers: an exception in one refuses the request and closes the connection.
"""
