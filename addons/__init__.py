"""The code that mitmproxy calls: listeners, layers and addons; installed as `ibcm_bridge.addons`.

docs/architecture.md lists the rooms. `ibcm_bridge` makes all decisions on values. `server` guards
hooks and layers: an exception in one refuses the request and closes the connection.
"""
