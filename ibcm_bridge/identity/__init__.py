"""Client GUIDs: whether a client may use the client GUID of its request (BRIDGE-IDENTITY).

The client's identity is inside the payload, and a management point behind a proxy trusts it. The
bridge therefore compares the client GUID of the message with the certificate of the connection.
"""
