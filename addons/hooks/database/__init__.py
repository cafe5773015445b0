"""The database that the bridges of several machines share, without waits in the event loop."""
