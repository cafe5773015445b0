"""Files and folders with revocation lists, read at the start and after each change."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509

from ibcm_bridge.policy_file.folders import is_folder
from ibcm_bridge.policy_file.reading import why

SUFFIXES = (".crl", ".pem")
"""The files of a folder to read. Authorities write .crl; administrators convert to .pem."""

MAX_BYTES = 64 * 1024 * 1024
"""64 MiB: more than a million entries. Larger files are a mistake."""

_PEM = re.compile(rb"-----BEGIN X509 CRL-----[^-]*-----END X509 CRL-----")
"""Linear time for untrusted files: base64 has no hyphen, so each BEGIN line is tried once."""


@dataclass(slots=True)
class CrlFiles:
    """The lists, each with the name of its file, and the problems."""

    lists: list[tuple[str, x509.CertificateRevocationList]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_crl_files(sources: Iterable[Path]) -> CrlFiles:
    """Read all lists of files and folders. Problems are collected; none stops the reading."""
    found = CrlFiles()
    for source in sources:
        if is_folder(source) and not _in_folder(source):
            found.problems.append(f"{source} is a folder without {' or '.join(SUFFIXES)} files")
    for path in crl_files(sources):
        try:
            if path.stat().st_size > MAX_BYTES:
                found.problems.append(f"{path} is larger than {MAX_BYTES // 2**20} MiB")
                continue
            data = path.read_bytes()
        except OSError as error:
            found.problems.append(f"{path} cannot be read: {why(error)}")
            continue
        try:
            found.lists += [(str(path), crl) for crl in parse_crls(data)]
        except ValueError:
            found.problems.append(f"{path} is not a revocation list")
    return found


def parse_crls(data: bytes) -> list[x509.CertificateRevocationList]:
    """Return all lists of a file: one DER list, as Windows authorities write, or PEM lists."""
    blocks = _PEM.findall(data)
    if not blocks:
        return [x509.load_der_x509_crl(data)]
    return [x509.load_pem_x509_crl(block) for block in blocks]


def crl_files(sources: Iterable[Path]) -> Iterator[Path]:
    """Return the files to read: named files, and files in named folders."""
    for source in sources:
        if is_folder(source):
            yield from _in_folder(source)
        else:
            yield source


def _in_folder(folder: Path) -> list[Path]:
    try:
        return sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")
        )
    except OSError:
        return []
