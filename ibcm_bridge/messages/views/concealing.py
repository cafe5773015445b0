"""What of a message is not shown: secrets, signatures, keys.

A view is copied into tickets and chats. So a value is hidden by the name it goes by, or where it
looks like key material whatever its name; too much is hidden rather than too little. Nothing here
decides what may pass.

On HTTPS sites policies carry secrets in clear, or obfuscated in a way that anybody can undo
(protocol.md §3.3).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum


class Kind(IntEnum):
    """How much of a value is shown; the larger one holds."""

    OPEN = 0
    BYTES = 1
    """How long it is: a signature, a key that is public."""
    SECRET = 2
    """That it is there."""


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
"""WMI classes of policy of which every property is hidden: an account, or a variable that a task
sequence may take a password from."""

_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")
MAX_NAME = 128
"""Characters by which a name is judged; of a longer one the rest is not looked at."""


def kind_of_name(name: str) -> Kind:
    """What a value is that goes by this name: of an element, an attribute, a property."""
    plain = _plain(name)
    if _SECRET_NAME.search(plain):
        return Kind.SECRET
    return Kind.BYTES if _BYTES_NAME.search(plain) else Kind.OPEN


def is_secret_class(name: str) -> bool:
    """Whether no property of this WMI class is shown."""
    return _plain(name) in _SECRET_CLASSES


def _plain(name: str) -> str:
    """A name without regard to case and to what stands between its words."""
    return _NOT_IN_NAMES.sub("", name[:MAX_NAME].lower())


# By look

_WORD = (
    r"(?:passw(?:or)?d|passphrase|passcode|pwd|secret|token(?!auth)|credential|authorization"
    r"|signature|(?:private|shared|api|access|account)[ _-]?key|connection[ _-]?string)"
)
_KEY_MATERIAL = re.compile(
    "|".join(
        (
            # CryptoAPI's obfuscation of policy: a header of four bytes, then key and cipher text.
            r"(?<![0-9a-f])8913[0-9a-f]{28,}+",
            r"-----BEGIN .*?(?:-----END [^-\n]{0,64}-----|\Z)",
            # A JSON web token.
            r"(?<![\w-])eyJ[\w-]{8,}+\.[\w-]++(?:\.[\w-]*+)?+",
            # Hexadecimal or base64, of more than a hash of 32 bytes; in lines, too.
            r"(?<![a-z0-9+/])[a-z0-9+/]{60,}+"
            r"(?:(?:[ \t]*+\r?\n[ \t]*+[a-z0-9+/]++)++|(?<=[a-z0-9+/]{80}))={0,2}",
        )
    ),
    re.IGNORECASE | re.DOTALL,
)
_NAMED_SECRETS = re.compile(
    "|".join(
        (
            # Password=..., "token": "...", ClientToken:..., with what follows on its line.
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
"""Characters that are looked at; far more than are shown of one value."""
_UNBROKEN = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_.-"


@dataclass(frozen=True, slots=True)
class Concealed:
    """A value as it is shown."""

    text: str
    hidden: int
    """How many values in it are not."""


def conceal(text: str, kind: Kind) -> Concealed:
    """What is shown of a value."""
    if not text or text.isspace():
        return Concealed(text, 0)
    if kind is Kind.SECRET:
        return Concealed(HIDDEN, 1)
    if kind is Kind.BYTES:
        return Concealed(size_of(text), 1)
    if len(text) > MAX_TEXT:
        text = _beginning(text)
    if "<" in text and _NAMES_A_SECRET.search(text):
        # Markup that is not well-formed: where its values begin and end is not plain.
        return Concealed(HIDDEN, 1)
    text, blobs = _KEY_MATERIAL.subn(lambda found: size_of(found[0]), text)
    text, said = _NAMED_SECRETS.subn(lambda found: f"{found[found.lastgroup or 0]} {HIDDEN}", text)
    return Concealed(text, blobs + said)


def _beginning(text: str) -> str:
    """The beginning of a long text, without the beginning of a key: it would not look like one."""
    beginning = text[:MAX_TEXT]
    whole = beginning.rstrip(_UNBROKEN)
    return whole if len(beginning) - len(whole) < 80 else beginning


def size_of(text: str) -> str:
    """How long a value is, in the bytes it stands for where they are written as text."""
    packed = "".join(text.split())
    if _HEX.fullmatch(packed):
        return f"[{len(packed) // 2:,} bytes]"
    if _BASE64.fullmatch(packed):
        return f"[{len(packed.rstrip('=')) * 3 // 4:,} bytes]"
    return f"[{len(text):,} characters]"
