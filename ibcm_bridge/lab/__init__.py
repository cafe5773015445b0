"""The lab: stand-ins on loopback to show the bridge at work. Never production."""
