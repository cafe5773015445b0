"""The addons. Each converts mitmproxy's objects into values and calls one decision."""
