"""ConfigMgr's protocol as the lab's clients and site systems use it."""
