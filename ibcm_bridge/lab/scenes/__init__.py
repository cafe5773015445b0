"""The scenes of `ibcm-bridge lab client`: what the planning page says, as requests.

scene           a scene, its stage (a running lab and new clients), and its result
refusals        the refusals of the bridge, from its audit
usual           the scenes without --scene: life cycle, updates, downloads that continue
inside_outside  the same request on the intranet and on the Internet
clients         kinds of clients, and how they were installed
web_proxy       clients behind a web proxy
name_resolution names in public DNS, and names of the intranet
site_server     connections from the site server to a client
sites           two sites, and site systems for the Internet only or for both networks
cloud           content of a cloud distribution point
users           users who sign in, and the forests of their accounts
table           all scenes by name
action_lines    the actions of a scene as text and JSON
command         `ibcm-bridge lab client`
"""
