"""Certificates and private keys of a policy file: PEM or PFX, with or without passphrase."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import (
    CertificatePublicKeyTypes,
    PrivateKeyTypes,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)

from ibcm_bridge.policy.trust import Credential, CredentialFiles
from ibcm_bridge.policy_file import yaml_tree
from ibcm_bridge.policy_file.reading import Reading
from ibcm_bridge.policy_file.rows.trust import CertificateRow, PassphraseRow

_NOT_OPENED = "wrong or missing passphrase, or another file format"
_WRITE = "write passphrase: {file: PATH} or {environment: NAME}"
_NONE = NoEncryption()


def read_credential(
    reading: Reading, where: yaml_tree.Place, row: CertificateRow
) -> Credential | None:
    """Return a certificate with its key; None if there is a problem."""
    if row.pfx is not None and row.chain is None and row.key is None:
        return _read_pfx(reading, where, row.pfx, row.passphrase)
    return _read_pair(reading, where, row)


def _read_pair(reading: Reading, where: yaml_tree.Place, row: CertificateRow) -> Credential | None:
    if row.pfx is not None:
        reading.report((*where, "pfx"), "write either pfx, or chain and key")
        return None
    if row.chain is None or row.key is None:
        for name, value in (("chain", row.chain), ("key", row.key)):
            if value is None:
                reading.report((*where, name), "this key is missing; write chain and key, or pfx")
        return None
    passphrase = _passphrase(reading, where, row.passphrase)
    chain, key = reading.read((*where, "chain"), row.chain), reading.read((*where, "key"), row.key)
    if chain is None or key is None or passphrase is False:
        return None
    certified = _certified(chain)
    private = _private(key, passphrase)
    if certified is None:
        reading.report((*where, "chain"), f"{row.chain} contains no valid PEM certificate")
    if isinstance(private, str):
        reading.report((*where, "key"), f"{row.key} {private}")
    if certified is None or isinstance(private, str):
        return None
    if private.public_key() != certified:
        reading.report((*where, "key"), f"{row.key} does not match the certificate in {row.chain}")
        return None
    files: CredentialFiles | None = CredentialFiles(
        reading.relative(row.chain), reading.relative(row.key)
    )
    if passphrase is not None:
        key = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, _NONE)
        files = None
    return Credential(chain, key, _if_exposed(reading.relative(row.key)), files)


def _certified(chain: bytes) -> CertificatePublicKeyTypes | None:
    try:
        return x509.load_pem_x509_certificates(chain)[0].public_key()
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        return None


def _private(key: bytes, passphrase: bytes | None) -> PrivateKeyTypes | str:
    """Return the key, or the problem. The library's message may quote the file; ours must not."""
    try:
        return load_pem_private_key(key, passphrase)
    except TypeError:  # encrypted without a passphrase, or a passphrase without encryption
        return (
            f"is encrypted; {_WRITE}"
            if passphrase is None
            else "is not encrypted; remove passphrase"
        )
    except (ValueError, UnsupportedAlgorithm):
        kind = "" if passphrase is None else f" ({_NOT_OPENED})"
        return f"is not a PEM private key{kind}"


def _read_pfx(
    reading: Reading, where: yaml_tree.Place, name: str, row: PassphraseRow | None
) -> Credential | None:
    passphrase = _passphrase(reading, where, row)
    data = reading.read((*where, "pfx"), name)
    if data is None or passphrase is False:
        return None
    try:
        key, certificate, others = pkcs12.load_key_and_certificates(data, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion):
        write = f"; {_WRITE}" if passphrase is None else ""
        reading.report((*where, "pfx"), f"{name} cannot be opened: {_NOT_OPENED}{write}")
        return None
    if key is None or certificate is None:
        reading.report((*where, "pfx"), f"{name} contains no certificate with its private key")
        return None
    chain = b"".join(member.public_bytes(Encoding.PEM) for member in _in_order(certificate, others))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, _NONE)
    return Credential(chain, pem, _if_exposed(reading.relative(name)))


def _in_order(
    certificate: x509.Certificate, others: Sequence[x509.Certificate]
) -> list[x509.Certificate]:
    """Return the certificate and its issuers, without the root. PFX files have no fixed order."""
    chain, left = [certificate], list(others)
    while issuer := next((other for other in left if other.subject == chain[-1].issuer), None):
        left.remove(issuer)
        if issuer.subject == issuer.issuer:
            break
        chain.append(issuer)
    return chain


def _passphrase(
    reading: Reading, where: yaml_tree.Place, row: PassphraseRow | None
) -> bytes | Literal[False] | None:
    """Return the passphrase; None if not configured, False if there is a problem."""
    here = (*where, "passphrase")
    if row is None:
        return None
    if (row.file is None) == (row.environment is None):
        reading.report(here, "write either file or environment")
        return False
    if row.environment is not None:
        value = os.environ.get(row.environment)
        if value is None:
            reading.report(
                (*here, "environment"), f"environment variable {row.environment} is not set"
            )
            return False
        return value.encode("utf-8")
    data = reading.read((*here, "file"), row.file or "")
    if data is None:
        return False
    return data.split(b"\n", 1)[0].rstrip(b"\r")


def _if_exposed(path: Path) -> Path | None:
    exposed = os.name == "posix" and path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH)
    return path if exposed else None
