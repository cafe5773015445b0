"""Simulated clients of ConfigMgr, as protocol.md 11 and the CLIENT requirements have them.

network      what a client can reach where it is: names, and where they lead
known        what it knows of site systems, from its installation and from answers
installation how it was installed (CLIENT-MODE)
finding      which site system it takes (CLIENT-MODE, CLIENT-PICK)
connections  one for each name
download     a file, part by part, from wherever the client is (CLIENT-RESUME)
scan         updates: the scan, and where their files come from (CLIENT-UPDATES)
client       a client: all of that, with a device that signs
scenes       what `ibcm-bridge lab client` shows of one client
crowd        many clients at once, and how long they waited
running_lab  the lab that is up: its networks, and certificates from its authority
command      `ibcm-bridge lab client`
"""
