"""One case through the bridge and through the tunnel."""
