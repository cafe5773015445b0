"""The ConfigMgr protocol of the lab's clients and site systems."""
