"""BITS uploads ([MC-BUP], protocol.md §6): the bridge inspects the complete object.

A single fragment cannot be inspected, and a management point creates the file from the received
bytes when the session is closed. Therefore:

1. Every forwarded byte is stored in a spool on disk (`storage.upload_table`) and cannot change
   afterwards. A fragment with other bytes is refused.
2. The fragment with the last byte is held until the complete object has been inspected.
3. A session is closed only after the site system acknowledged all bytes of an inspected object.
4. A session belongs to one client, one path and one site system.

`request.bits_packet` parses the client's packets, `session` checks them against the stored session,
`acknowledgement` parses the site system's responses, and `withdrawal` makes the packet that cancels
a refused session. A worker process inspects an object of several fragments, which it reads from
the spool: `session.StoredObject`, `addons/engines/inspection_worker.py`.
"""
