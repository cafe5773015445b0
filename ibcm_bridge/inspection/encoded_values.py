"""Long base64 and hexadecimal values in text, decoded for the engines.

A value is decoded once: what is encoded in it again is not decoded. The longest values become views
of their own, because rules and signatures look at the start of a file. The command of a PowerShell
command line becomes a view, too, which a rule refuses (`config/rules/executables.yar`).

All steps take linear time, also for text that consists of values (`messages.long_values`).
"""

from __future__ import annotations

import binascii
import heapq
import re
from collections.abc import Iterable, Iterator

from ibcm_bridge.inspection.subject import Views
from ibcm_bridge.messages.long_values import RUN, kinds
from ibcm_bridge.messages.xml import separate_texts

MIN_VALUE = 128
"""Bytes of the shortest value that is decoded. No malicious file is as small."""

MIN_HEXADECIMAL = 1_025
"""The same for hexadecimal. Messages have hashes and signatures in it: up to 1,024 bytes with RSA
keys of 4,096 bits."""

MAX_VALUES = 64
"""Values that are decoded: the longest ones. An inventory has a few, such as certificates."""

_MORE_LINES = re.compile(
    rb"(?:\r?\n[ \t]{0,16}[A-Za-z0-9+/]{16,80})*(?:\r?\n[ \t]{0,16}[A-Za-z0-9+/]{1,80})?"
)
_HEXADECIMAL = b"0123456789ABCDEFabcdef"
_BETWEEN = b" \t\r\n"
_NO_BASE64 = _HEXADECIMAL + _BETWEEN

COMMAND = b"powershell -EncodedCommand\n"
"""The first line of the view of a command."""

_BEFORE_COMMAND = 192
"""Bytes before a value in which PowerShell's name and other parameters can be."""

_PARAMETER = 24
"""Bytes of the longest parameter, with its dash, spaces and a quotation mark."""

_DASHES = (b"-", b"/", *(dash.encode() for dash in "\u2013\u2014\u2015"))
"""PowerShell accepts each of them before a parameter."""
_PARAMETERS = frozenset(
    dash + name
    for dash in _DASHES
    for name in (b"ec", *(b"encodedcommand"[:length] for length in range(1, 15)))
)
_AROUND = b" \t\r\n\"'"
_SEPARATORS = frozenset(bytes((byte,)) for byte in _AROUND)

_NAMES = (b"powershell", b"pwsh")
_SPACES = bytes.maketrans(b"\"'\t\r\n", b"     ")


def decoded_views(views: Views, names: Iterable[str], documents: Iterable[bytes] = ()) -> Views:
    """The decoded values in the text of the views with these names, or a PowerShell command.

    A parser's text joins the texts of neighboring elements, so that a value would begin at another
    character. So the values in the elements of `documents` are decoded, too.
    """
    values: dict[bytes, None] = {}
    shorter: set[bytes] = set()
    """Values that are not decoded. The same are in the text as sent and as parsed."""
    for name in names:
        text = views[name]
        lower = b""
        for begin, end in runs(text):
            if _has_parameter(text, begin):
                lower = lower or text.lower()
                if _is_command(lower, begin):
                    script = decoded(text[begin:end]).decode("utf-16-le", "replace")
                    return {"command": COMMAND + script.encode("utf-8", "replace")}
            _add(values, shorter, text[begin:end])
    # Where an element has a long value, so has the parser's text.
    for document in documents if values else ():
        text = separate_texts(document)
        for begin, end in runs(text):
            if end - begin >= MIN_VALUE:
                _add(values, shorter, text[begin:end])
    longest = heapq.nlargest(MAX_VALUES, values, key=len)
    return {f"value {number}": decoded(value) for number, value in enumerate(longest, 1)}


def _add(values: dict[bytes, None], shorter: set[bytes], value: bytes) -> None:
    if len(value) < MIN_VALUE or value in shorter:
        return
    if len(value) >= MIN_HEXADECIMAL or not _is_hexadecimal(value):
        values[value] = None
    else:
        shorter.add(value)


def runs(text: bytes) -> Iterator[tuple[int, int]]:
    """Begin and end of each value, with the line breaks in it."""
    found = kinds(text)
    begin = found.find(RUN)
    while begin >= 0:
        end = found.find(b" ", begin)
        end = len(text) if end < 0 else end
        if text[end : end + 1] in (b"\r", b"\n"):
            more = _MORE_LINES.match(text, end)
            assert more is not None
            end = more.end()
        yield begin, end
        begin = found.find(RUN, end)


def _has_parameter(text: bytes, begin: int) -> bool:
    """Return whether the value that begins here follows the parameter of a command."""
    # A parameter ends with a letter, which would be a part of the value.
    if text[begin - 1 : begin] not in _SEPARATORS:
        return False
    words = text[max(0, begin - _PARAMETER) : begin].rstrip(_AROUND).split()
    return bool(words) and words[-1].lower() in _PARAMETERS


def _is_command(lower: bytes, begin: int) -> bool:
    """Return whether PowerShell's name precedes the parameter. `lower` is text in lower case."""
    first = max(0, begin - _BEFORE_COMMAND)
    if all(lower.find(name, first, begin) < 0 for name in _NAMES):
        return False
    words = lower[first:begin].translate(_SPACES).replace(b".exe ", b" ")
    return any(name + b" " in words for name in _NAMES)


def _is_hexadecimal(value: bytes) -> bool:
    return not value.translate(None, _NO_BASE64)


def decoded(value: bytes) -> bytes:
    """Decode a value of `runs`: hexadecimal, else base64."""
    packed = value.translate(None, _BETWEEN)
    if _is_hexadecimal(packed):
        return bytes.fromhex(packed[: len(packed) // 2 * 2].decode("ascii"))
    # The last character of four cannot stand alone.
    packed = packed[:-1] if len(packed) % 4 == 1 else packed
    return binascii.a2b_base64(packed + b"=" * (-len(packed) % 4))
