"""Which client GUID does a request use, and may this client use it? (BRIDGE-IDENTITY)

The client's identity travels inside the payload, and a management point takes a client behind a
proxy for the one that the payload names. So the bridge compares the two: the client GUID of the
message, and the certificate of the connection.
"""
