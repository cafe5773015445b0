"""Writes the copyright file of the package: licenses.py LICENSE, with the package's interpreter.

Each library states its license in its metadata, or has a file with its text there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

NOTE = """
The libraries in /opt/ibcm-bridge/lib are separate works, and not changed. Their licenses:

"""

LGPL = """
The texts of the LGPL are /usr/share/common-licenses/LGPL-3 and LGPL-2.1. You may replace a library
that is under it by another version, also by a changed one:

  python3 -m pip --python /opt/ibcm-bridge/bin/python install LIBRARY==VERSION

psycopg_binary.libs has compiled libraries that psycopg-binary uses: libpq (PostgreSQL License),
OpenSSL (Apache-2.0), OpenLDAP (OpenLDAP Public License), Cyrus SASL (BSD), MIT Kerberos and
libcom_err (MIT), keyutils and libcrypt (LGPL-2.1).
"""


def main() -> None:
    """Write everything to standard output."""
    license_file = Path(sys.argv[1]).read_text("utf-8")
    libraries = sorted(set(_lines()), key=str.lower)
    sys.stdout.write(license_file + NOTE + "\n".join(libraries) + "\n" + LGPL)


def _lines() -> Iterator[str]:
    for found in distributions():
        if found.name != "ibcm-bridge":
            yield f"  {found.name} {found.version}: {_license(found)}"


def _license(library: Distribution) -> str:
    """The license, in the four forms that metadata can have."""
    metadata = library.metadata
    stated = metadata.get("License-Expression") or metadata.get("License") or ""
    classified = [
        value.rpartition(" :: ")[2]
        for value in metadata.get_all("Classifier", [])
        if value.startswith("License :: ")
    ]
    # Some have the whole text as `License`.
    if stated and "\n" not in stated:
        return stated
    if classified:
        return ", ".join(classified)
    if texts := metadata.get_all("License-File"):
        folder = f"{library.name}-{library.version}.dist-info/licenses"
        return ", ".join(f"see {folder}/{text}" for text in texts)
    raise SystemExit(f"deploy/debian/licenses.py: {library.name} states no license")


if __name__ == "__main__":
    main()
