"""The policy for client GUIDs, signatures, encrypted messages and replies."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class CertificateRenewal(StrEnum):
    """The certificates that may replace the one that a client GUID is bound to."""

    SAME_KEY = "same-key"
    SAME_NAME = "same-name"
    """Also a certificate with another key and the same name. So every trusted authority can issue
    certificates for every client."""


class Enforcement(StrEnum):
    """The treatment of a message that violates a check that some real clients may also violate."""

    OBSERVE = "observe"
    """It is allowed, and the audit has the refusal that `enforce` would cause."""
    ENFORCE = "enforce"


class UnknownGuids(StrEnum):
    """The treatment of a client GUID without a binding, if `identity` is `enforce`."""

    LEARN = "learn"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class MessagePolicy:
    """The checks of ConfigMgr messages that depend on the policy."""

    identity: Enforcement = Enforcement.OBSERVE
    """A client GUID must be bound to the certificate of the connection (BRIDGE-IDENTITY)."""
    unknown_guids: UnknownGuids = UnknownGuids.LEARN
    renewal: CertificateRenewal = CertificateRenewal.SAME_KEY
    bindings_file: Path | None = None
    """SQLite file; None: in memory, lost on restart."""
    signatures: Enforcement = Enforcement.OBSERVE
    """Signatures must be the client's, with a recent timestamp."""
    clock_skew: datetime.timedelta = datetime.timedelta(minutes=15)
    """Maximum difference between a signed timestamp and the current time."""
    host_names: Enforcement = Enforcement.OBSERVE
    """Replies must not contain host names in `internal_domains`."""
    intranet_only: Enforcement = Enforcement.OBSERVE
    """Replies must not assign policies with the IntranetOnly flag."""
    internal_domains: frozenset[str] = frozenset()
    """In lower case, without a leading dot. They include their subdomains."""
    encrypted_because: str | None = None
    """The reason for allowing encrypted messages without inspection; None: they are refused."""
