"""Trust anchors, revocation settings and credentials of a TLS leg."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509

from ibcm_bridge.decisions import rules


@dataclass(frozen=True, slots=True)
class CredentialFiles:
    """The PEM files of a credential. The key has no passphrase."""

    chain: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate with its intermediates, and its private key, in PEM. repr() omits the key."""

    chain_pem: bytes
    key_pem: bytes = field(repr=False)
    exposed_file: Path | None = None
    """The file of the key if all users of this machine may read or write it."""
    files: CredentialFiles | None = None
    """The files for other programs; None for a PFX file or a key with a passphrase."""

    @property
    def chain(self) -> list[x509.Certificate]:
        """The certificate, and its intermediates. They are parsed at each call."""
        return x509.load_pem_x509_certificates(self.chain_pem)


WARN_CERTIFICATE = datetime.timedelta(days=14)
"""How long before the end of the bridge's own certificates `check` and a running bridge warn."""


@dataclass(frozen=True, slots=True)
class CrlFetch:
    """The URLs and the interval for fetching revocation lists, and the folder that stores them."""

    urls: tuple[str, ...]
    every: datetime.timedelta
    folder: Path


type Authority = tuple[x509.Name, bytes]
"""The name and the public key of an authority (RFC 5280 §4.1.2.7). Two may share either one."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """The sources of revocation lists, and the exceptions for missing or expired lists."""

    sources: tuple[Path, ...] = ()
    """Watched files and folders."""
    fetch: CrlFetch | None = None
    warn_before: datetime.timedelta = datetime.timedelta(days=1)
    grace: datetime.timedelta = datetime.timedelta(0)
    """The time for which an expired list is still accepted."""
    without_crl: Mapping[Authority, str] = field(default_factory=dict)
    """Authorities that need no list -> the reason."""


@dataclass(frozen=True, slots=True)
class Trust:
    """The trust anchors and issuing authorities for one leg, and their revocation lists."""

    anchors: tuple[x509.Certificate, ...]
    intermediates: tuple[x509.Certificate, ...]
    crls: tuple[x509.CertificateRevocationList, ...]
    """The lists at load time; `revocation` has the sources of newer ones."""
    revocation: Revocation = Revocation()
    unread_files: tuple[str, ...] = ()
    """Unreadable files in folders of lists, each with the error."""
    awaited: tuple[x509.Name, ...] = ()
    """Authorities whose list is not fetched yet."""
    rule: rules.Rule = rules.CLIENTS_TRUST
    """The rule by which a path is refused; it depends on the leg."""
