"""The scenes of `ibcm-bridge lab client --scene`: what the planning page says, as requests.

scene           a scene, its stage (a running lab and new clients), and its result
inside_outside  the same request on the intranet and on the Internet
clients         kinds of clients, and how they were installed
web_proxy       clients behind a web proxy
table           all scenes by name
command         `ibcm-bridge lab client --scene`
"""
