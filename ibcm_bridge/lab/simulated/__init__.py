"""Simulated clients of ConfigMgr, as protocol.md 11 and the CLIENT requirements have them.

network                what a client can reach where it is: names, and where they lead
known_site_systems     what it knows of site systems, from its installation and from replies
installation           how it was installed (CLIENT-MODE)
site_system_selection  which site system it takes (CLIENT-MODE, CLIENT-PICK)
connections            one for each name
download               a file, part by part, from wherever the client is (CLIENT-RESUME)
update_file            where an update's file is, and its digest (CLIENT-UPDATES)
client                 a client: all of that, with a device that signs
scenarios              what `ibcm-bridge lab client` shows of one client
fleet                  many clients at once, and how long they waited
running_lab            the lab that is up: its networks, and certificates from its authority
command                `ibcm-bridge lab client`
"""
