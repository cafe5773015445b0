"""Simulated ConfigMgr clients, by protocol.md 11 and the CLIENT requirements.

name_lookup            resolves a name with a DNS resolver
failure                why an action failed, as a value
network                the names that a client can reach in a network, and their addresses
known_site_systems     the site systems that it knows, from its installation and from replies
installation           how it was installed (CLIENT-MODE)
site_system_selection  the site system that it selects (CLIENT-MODE, CLIENT-PICK)
connections            one connection for each name
download               a download in ranges, across networks (CLIENT-RESUME)
update_file            location and digest of an update file (CLIENT-UPDATES)
client                 a client with all of these, and a device that signs
user                   a user who signs in, and gets user policy (USER-WINDOWS-AUTH)
fleet                  many concurrent clients, with latencies
running_lab            the running lab: its networks, and certificates from its authority
command                `ibcm-bridge lab client --count`, and its output
"""
