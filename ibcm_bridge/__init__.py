"""SSL bridging with inspection for ConfigMgr Internet-based client management.

What the bridge knows and decides. Nothing here but `policy_file`, `commands` and `lab` does
input or output; `ibcm_bridge.addons` (the folder addons/) is what mitmproxy calls.
"""

__version__ = "0.1.0"
