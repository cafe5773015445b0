"""Parsers of ConfigMgr messages: bytes -> typed values, with limits. Sans-IO; nothing is forwarded.

The values are copies. The bridge forwards the received bytes, because signatures cover the exact
bytes (BRIDGE-IDENTITY, protocol.md §1.6).
"""
