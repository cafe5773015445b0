"""BITS uploads ([MC-BUP], protocol.md §6): fragments put together, so that the whole is inspected.

A fragment means nothing by itself, and a management point makes a file of what it has received when
the session is closed. So

1. every byte that is sent on is kept, in a spool on disk (`storage.upload_spool`), and cannot
   change afterwards: a fragment that says otherwise is refused;
2. the fragment that has the last byte is held back until the whole object has been inspected;
3. a session is closed only when the site system has acknowledged all of an object so inspected;
4. a session is its client's alone, at one path of one site system.

`request.bits_packet` reads what a client sends, `session` decides by what is kept,
`acknowledgement` reads what the site system answers, `withdrawal` is what the bridge sends to end a
session that it has refused. A whole object of several fragments is inspected in a worker process,
which reads it from the spool: `session.StoredObject`, `addons/engines/inspection_worker.py`.
"""
