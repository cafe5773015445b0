"""Hide secrets, signatures and keys in views.

People copy views into tickets and chats. A value is therefore hidden by its name, or by its look if
it resembles key material. In doubt a value is hidden. This does not affect any decision.

On HTTPS sites, policies contain secrets in clear or with a reversible obfuscation (protocol.md
§3.3).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum


class Kind(IntEnum):
    """How a value is shown; of two kinds the larger one applies."""

    OPEN = 0
    BYTES = 1
    """Only its length: signatures and public keys."""
    SECRET = 2
    """Only a placeholder."""


# By name

_SECRET_WORDS = (
    *("passw", "pwd", "passphrase", "passcode", "secret", "credential", "authorization", "bearer"),
    *("connectionstring", "pfx", "pkcs12", "networkaccessuser", "variablevalue", "keymaterial"),
    *("token(?!auth|service|manager)",),
    *(
        f"{kind}key"
        for kind in (
            *("private", "symmetric", "session", "shared", "api", "access", "account", "storage"),
            *("product", "recovery", "encryption", "decryption", "master", "machine", "media"),
        )
    ),
)
_SECRET_NAME = re.compile("|".join(_SECRET_WORDS))
_BYTES_NAME = re.compile(r"(?:signature|signaturevalue|publickey|publickeyblob|rootkey)\Z")
_SECRET_CLASSES = frozenset(("ccmnetworkaccessaccount", "ccmcollectionvariable"))
"""WMI classes in policy whose properties are all hidden: accounts, and variables that may contain
a task sequence's password."""

_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")
MAX_NAME = 128
"""Characters of a name that are considered."""


def kind_of_name(name: str) -> Kind:
    """The kind of a value, from the name of its element, attribute or property."""
    plain = _plain(name)
    if _SECRET_NAME.search(plain):
        return Kind.SECRET
    return Kind.BYTES if _BYTES_NAME.search(plain) else Kind.OPEN


def is_secret_class(name: str) -> bool:
    """Return whether all properties of this WMI class are hidden."""
    return _plain(name) in _SECRET_CLASSES


def _plain(name: str) -> str:
    """A name in lower case, without the separators of its words."""
    return _NOT_IN_NAMES.sub("", name[:MAX_NAME].lower())


# By look

_WORD = (
    r"(?:passw(?:or)?d|passphrase|passcode|pwd|secret|token(?!auth)|credential|authorization"
    r"|signature|(?:private|shared|api|access|account)[ _-]?key|connection[ _-]?string)"
)
_KEY_MATERIAL = re.compile(
    "|".join(
        (
            # CryptoAPI's obfuscation of policy: a header of four bytes, then key and ciphertext.
            r"(?<![0-9a-f])8913[0-9a-f]{28,}+",
            r"-----BEGIN .*?(?:-----END [^-\n]{0,64}-----|\Z)",
            # A JSON web token.
            r"(?<![\w-])eyJ[\w-]{8,}+\.[\w-]++(?:\.[\w-]*+)?+",
            # Hexadecimal or base64, longer than a hash of 32 bytes, also in several lines.
            r"(?<![a-z0-9+/])[a-z0-9+/]{60,}+"
            r"(?:(?:[ \t]*+\r?\n[ \t]*+[a-z0-9+/]++)++|(?<=[a-z0-9+/]{80}))={0,2}",
        )
    ),
    re.IGNORECASE | re.DOTALL,
)
_NAMED_SECRETS = re.compile(
    "|".join(
        (
            # Password=..., "token": "...", ClientToken:..., to the end of the line.
            rf"(?P<named>{_WORD}[\w.-]{{0,64}}+[\"']?\s{{0,32}}+[:=])\s{{0,32}}+[^\s][^\r\n]*+",
            # /password ..., -AdminPassword ...
            rf"(?P<switch>[-/]\w{{0,32}}?{_WORD}\w{{0,64}}+)[ \t]++[^\r\n]++",
            r"(?P<scheme>\b(?:bearer|basic|negotiate|ntlm)[ \t]++)[a-z0-9+/=._~-]{16,}+",
            r"(?P<user>//[^/@\s:]{1,128}+:)[^/@\s]{1,256}+(?=@)",
            r"(?P<query>[?&]sig=)[^&\s]++",
        )
    ),
    re.IGNORECASE,
)
_NAMES_A_SECRET = re.compile(_WORD, re.IGNORECASE)

_HEX = re.compile(r"(?:[0-9a-fA-F]{2})+")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
HIDDEN = "[not shown]"

MAX_TEXT = 65_536
"""Characters of a value that are searched; far more than are shown."""
_UNBROKEN = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_.-"


@dataclass(frozen=True, slots=True)
class Concealed:
    """A value as shown."""

    text: str
    hidden: int
    """The number of hidden values in it."""


def conceal(text: str, kind: Kind) -> Concealed:
    """Replace the secrets of a value with placeholders."""
    if not text or text.isspace():
        return Concealed(text, 0)
    if kind is Kind.SECRET:
        return Concealed(HIDDEN, 1)
    if kind is Kind.BYTES:
        return Concealed(size_of(text), 1)
    if len(text) > MAX_TEXT:
        text = _beginning(text)
    if "<" in text and _NAMES_A_SECRET.search(text):
        # In malformed markup the limits of a value are not clear.
        return Concealed(HIDDEN, 1)
    text, blobs = _KEY_MATERIAL.subn(lambda found: size_of(found[0]), text)
    text, named = _NAMED_SECRETS.subn(lambda found: f"{found[found.lastgroup or 0]} {HIDDEN}", text)
    return Concealed(text, blobs + named)


def _beginning(text: str) -> str:
    """The beginning of a long text, without a key at its end, which would no longer match."""
    beginning = text[:MAX_TEXT]
    whole = beginning.rstrip(_UNBROKEN)
    return whole if len(beginning) - len(whole) < 80 else beginning


def size_of(text: str) -> str:
    """The length of a value: in decoded bytes for hexadecimal and base64, else in characters."""
    packed = "".join(text.split())
    if _HEX.fullmatch(packed):
        return f"[{len(packed) // 2:,} bytes]"
    if _BASE64.fullmatch(packed):
        return f"[{len(packed.rstrip('=')) * 3 // 4:,} bytes]"
    return f"[{len(text):,} characters]"
