"""ConfigMgr's messages: bytes -> typed values, with limits. Sans-IO; nothing here forwards.

What is read is a copy. The bytes that were sent are what is forwarded, because signatures cover
them exactly as sent (BRIDGE-IDENTITY, protocol.md §1.6).
"""
