"""Whom a leg trusts, and with what it shows itself."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509

from ibcm_bridge.decisions import rules


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate with its intermediates, and its private key. PEM; the key is never shown."""

    chain_pem: bytes
    key_pem: bytes = field(repr=False)
    exposed_file: Path | None = None
    """The file of the key, where every user of this machine may read or write it."""


@dataclass(frozen=True, slots=True)
class CrlFetch:
    """Where revocation lists are fetched from, how often, and the folder that keeps them."""

    urls: tuple[str, ...]
    every: datetime.timedelta
    folder: Path


type Authority = tuple[x509.Name, bytes]
"""An authority: its name and its public key (RFC 5280 §4.1.2.7). Either may be another's too."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """Where revocation lists come from, and what holds while there is no current one."""

    sources: tuple[Path, ...] = ()
    """Files and folders, which are watched."""
    fetch: CrlFetch | None = None
    warn_before: datetime.timedelta = datetime.timedelta(days=1)
    grace: datetime.timedelta = datetime.timedelta(0)
    """How long after its end a list is still accepted."""
    without_crl: Mapping[Authority, str] = field(default_factory=dict)
    """Authorities that need no list, and why."""


@dataclass(frozen=True, slots=True)
class Trust:
    """The trust anchors and issuing authorities of one side, and their revocation lists."""

    anchors: tuple[x509.Certificate, ...]
    intermediates: tuple[x509.Certificate, ...]
    crls: tuple[x509.CertificateRevocationList, ...]
    """Those it was loaded with; `revocation` says where newer ones come from."""
    revocation: Revocation = Revocation()
    unread_files: tuple[str, ...] = ()
    """Files in folders of lists that could not be read, each with why."""
    awaited: tuple[x509.Name, ...] = ()
    """Authorities whose list has yet to be fetched."""
    rule: rules.Rule = rules.CLIENTS_TRUST
    """The rule that refuses a path: that of the side it is for."""
