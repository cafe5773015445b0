"""The profile of a count of instructions: the libraries in which they are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

_GROUPS = {
    r"/_rust\.|/_openssl|/libssl|/libcrypto": "OpenSSL and cryptography",
    r"/yara_x": "YARA-X",
    r"/pyexpat|/libexpat": "expat",
    r"/zlib\.|/libz\.": "zlib",
    r"/libpython|/python[0-9.]*$|/lib-dynload/|/_cffi_backend": "Python",
    r"/libc[.-]|/ld-linux|/libm[.-]|/libpthread": "C library",
}
"""Patterns for the file of a library -> its name in the profile."""

OTHERS = "others"

# "cob" is the library of a called function. The first line with a number also has the name.
_OBJECT = re.compile(r"(c?ob)=(\([0-9]+\))(?: (.*))?")
_COMPRESSED_POSITIONS = re.compile(r"[+*-]?[0-9]*(?: [+*-]?[0-9]+)* (?P<cost>[0-9]+)")


def by_library(dump: str) -> Counter[str]:
    """The instructions of each library in a dump of callgrind.

    The format: valgrind's manual, "Callgrind Format Specification".
    """
    found: Counter[str] = Counter()
    files: dict[str, str] = {}
    current = OTHERS
    of_a_call = False
    for line in dump.splitlines():
        if named := _OBJECT.fullmatch(line):
            key, number, file = named.groups()
            if file:
                files[number] = _group(file)
            if key == "ob":
                current = files[number]
        elif line.startswith("calls="):
            # The next line has the cost of the called function, which is counted there.
            of_a_call = True
        elif cost := _COMPRESSED_POSITIONS.fullmatch(line):
            if not of_a_call:
                found[current] += int(cost["cost"])
            of_a_call = False
    return found


def _group(file: str) -> str:
    names = (name for pattern, name in _GROUPS.items() if re.search(pattern, file))
    return next(names, OTHERS)


def profile(parts: Mapping[str, float]) -> Iterable[str]:
    """The lines of a table, the largest part first."""
    whole = sum(parts.values())
    for name, count in sorted(parts.items(), key=lambda part: -part[1]):
        yield f"  {name:26}{count:14,.0f}{count / whole:8.1%}"
