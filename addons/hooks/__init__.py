"""The addons: each turns mitmproxy's objects into values and calls one decision."""
