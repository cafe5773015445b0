"""For which client GUID does a request speak, and may this client? (BRIDGE-IDENTITY)

The client's identity travels inside the payload, and a management point takes whoever comes through
a proxy for whom the payload names. So the bridge holds the two together: the client GUID of the
message, and the certificate of the connection.
"""
