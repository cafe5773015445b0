"""The authorities of a lab as files, so that a later process issues from the same ones."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import (
    Authority,
    LabCredential,
    PrivateKey,
    issuing_authority,
    root_authority,
)

MIN_RSA_BITS, MIN_EC_BITS = 2_048, 256
"""Shorter keys are refused, as by most TLS libraries."""


class AuthorityFilesError(Exception):
    """The files are missing or of another kind. The message is one sentence with a solution."""


def write_authorities(pki: LabPki, folder: Path) -> None:
    """Write NAME.pem and NAME.key of each authority to a new folder."""
    folder.mkdir(mode=0o700)
    for name, authority in pki.authorities.items():
        LabCredential(authority.certificate, authority.key, ()).write(folder, name)


def read_authorities(folder: Path, now: datetime) -> LabPki:
    """Read `root` and `issuing`; make the foreign authorities if the folder has none.

    AuthorityFilesError.
    """
    foreign_root = _foreign(folder, "foreign-root") or root_authority("Lab Foreign Root CA", now)
    foreign_issuing = _foreign(folder, "foreign-issuing") or issuing_authority(
        "Lab Foreign Issuing CA", foreign_root, now
    )
    root, issuing = _authority(folder, "root"), _authority(folder, "issuing")
    try:
        issuing.certificate.verify_directly_issued_by(root.certificate)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise AuthorityFilesError(
            f"{folder / 'issuing.pem'} was not issued by {folder / 'root.pem'}"
        ) from error
    return LabPki(
        now=now,
        root=root,
        issuing=issuing,
        foreign_root=foreign_root,
        foreign_issuing=foreign_issuing,
    )


def _foreign(folder: Path, name: str) -> Authority | None:
    return _authority(folder, name) if (folder / f"{name}.pem").exists() else None


def _authority(folder: Path, name: str) -> Authority:
    pem_file, key_file = folder / f"{name}.pem", folder / f"{name}.key"
    try:
        certificate = x509.load_pem_x509_certificate(pem_file.read_bytes())
        key = read_key(key_file)
    except OSError as error:
        raise AuthorityFilesError(
            f"{error.filename}: {error.strerror}; the folder needs {name}.pem and {name}.key"
        ) from error
    except ValueError as error:
        raise AuthorityFilesError(f"{pem_file} and {name}.key are not PEM files") from error
    if certificate.public_key() != key.public_key():
        raise AuthorityFilesError(f"{pem_file} and {name}.key do not belong together")
    return Authority(certificate, key)


def read_key(file: Path) -> PrivateKey:
    """Read a key that is long enough to sign. OSError, ValueError, AuthorityFilesError."""
    try:
        key = load_pem_private_key(file.read_bytes(), None)
    except TypeError as error:  # of cryptography, for an encrypted key
        without = f"openssl pkey -in {file.name} -out {file.name}.new"
        raise AuthorityFilesError(
            f"the key in {file} has a password; write it without one: {without}"
        ) from error
    except UnsupportedAlgorithm as error:
        raise AuthorityFilesError(f"the key in {file} is neither an RSA nor an EC key") from error
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise AuthorityFilesError(f"the key in {file} is neither an RSA nor an EC key")
    minimum = MIN_RSA_BITS if isinstance(key, rsa.RSAPrivateKey) else MIN_EC_BITS
    if key.key_size < minimum:
        raise AuthorityFilesError(
            f"the key in {file} has {key.key_size} bits; use one of at least {minimum}"
        )
    return key
