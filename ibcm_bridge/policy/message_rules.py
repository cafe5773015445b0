"""What a policy says about client GUIDs, signatures and encrypted messages."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class CertificateRenewal(StrEnum):
    """What may take the place of a certificate."""

    SAME_KEY = "same-key"
    SAME_NAME = "same-name"
    """Another key as well, if the certificate has the same name. Every authority that the policy
    trusts is then trusted with every name."""


class Enforcement(StrEnum):
    """What becomes of a message that breaks a rule which some real client may break, too."""

    OBSERVE = "observe"
    """It passes, and the audit says that it would be refused."""
    ENFORCE = "enforce"


class UnknownGuids(StrEnum):
    """What becomes of a client GUID that nothing is known of, where identity is enforced."""

    LEARN = "learn"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class MessageRules:
    """What the policy makes of ConfigMgr's messages, beyond what is always refused."""

    identity: Enforcement = Enforcement.OBSERVE
    """Whether a client GUID belongs to the certificate of the connection (BRIDGE-IDENTITY)."""
    unknown_guids: UnknownGuids = UnknownGuids.LEARN
    renewal: CertificateRenewal = CertificateRenewal.SAME_KEY
    bindings_file: Path | None = None
    """SQLite; None: kept in memory, forgotten at the end."""
    signatures: Enforcement = Enforcement.OBSERVE
    """Whether what is signed is signed by the client, and not long ago."""
    clock_skew: datetime.timedelta = datetime.timedelta(minutes=15)
    """How far a signed timestamp may be from now, before or after."""
    host_names: Enforcement = Enforcement.OBSERVE
    """Whether replies name hosts of `internal_domains`."""
    intranet_only: Enforcement = Enforcement.OBSERVE
    """Whether replies assign policies that are flagged for the intranet."""
    internal_domains: frozenset[str] = frozenset()
    """In lower case, without a dot before; hosts of these and below are internal."""
    encrypted_because: str | None = None
    """Why encrypted messages are let through unread; None: they are refused."""
