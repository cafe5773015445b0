"""A sign-in of three messages on one connection, in the form of NTLM ([MS-NLMP] 1.3.1.1, 2.2.1).

Each message has the signature and the type of its NTLM message. The rest is the lab's own, and
needs no account: the third message repeats the challenge of the second one, and proves no password.
It is therefore valid only on the connection that has this challenge, as with NTLM.
"""

from __future__ import annotations

import base64
import binascii

USER = "somebody"
"""The user of every sign-in."""

CHALLENGE_SIZE = 8
"""Bytes of a challenge, as in NTLM ([MS-NLMP] 2.2.1.2)."""

_SCHEME = "NTLM"
_SIGNATURE = b"NTLMSSP\0"
_NEGOTIATE, _CHALLENGE, _AUTHENTICATE = 1, 2, 3


def negotiate() -> str:
    """Return the first message, of the client, as the value of Authorization."""
    return _written(_NEGOTIATE)


def challenge(challenge: bytes) -> str:
    """Return the second message, of the site system, as the value of WWW-Authenticate."""
    return _written(_CHALLENGE, challenge)


def authenticate(second: str) -> str:
    """Return the third message, of the client. ValueError if `second` is not the second one."""
    kind, given = _read(second)
    if kind != _CHALLENGE or len(given) != CHALLENGE_SIZE:
        raise ValueError("not a challenge")
    return _written(_AUTHENTICATE, given)


def is_first(value: str) -> bool:
    """Return whether a value of Authorization begins a sign-in. ValueError: not a message."""
    return _read(value) == (_NEGOTIATE, b"")


def is_third(value: str, challenge: bytes) -> bool:
    """Return whether it completes the sign-in with this challenge. ValueError."""
    return _read(value) == (_AUTHENTICATE, challenge)


def _written(kind: int, data: bytes = b"") -> str:
    message = _SIGNATURE + kind.to_bytes(4, "little") + data
    return f"{_SCHEME} {base64.b64encode(message).decode()}"


def _read(value: str) -> tuple[int, bytes]:
    """Return the type of a message, and what follows."""
    scheme, _, token = value.partition(" ")
    try:
        message = base64.b64decode(token, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
    if scheme.lower() != _SCHEME.lower() or not message.startswith(_SIGNATURE):
        raise ValueError("not a message of NTLM")
    rest = message.removeprefix(_SIGNATURE)
    return int.from_bytes(rest[:4], "little"), rest[4:]
