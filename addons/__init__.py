"""The code that mitmproxy calls: listeners, layers and addons; installed as `ibcm_bridge.addons`.

docs/architecture.md lists the rooms. All decisions are made in `ibcm_bridge`. `server` guards hooks
and layers: an exception in one refuses the request and closes the connection.
"""
