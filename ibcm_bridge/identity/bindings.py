"""Which certificate a client GUID belongs to, and whether the one that comes is it.

A binding is learned from what a management point has accepted, or imported by an administrator. An
imported one says little (a name, or a certificate); the first client that has what it says is the
one, and from then on its key counts.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from enum import StrEnum

from ibcm_bridge.policy.message_rules import CertificateRenewal


class Source(StrEnum):
    """How a binding came to be."""

    REGISTRATION = "registration"
    """A management point answered a registration with this client GUID."""
    POLICY = "policy"
    """A management point gave policy for a message signed by this client GUID."""
    IMPORT = "import"
    """An administrator imported it."""
    RENEWAL = "renewal"
    """As before, with another key: the policy allows it for the same name."""


@dataclass(frozen=True, slots=True)
class PresentedCertificate:
    """The client certificate of a connection, by what a binding can hold of it."""

    key: str
    """SHA-256 of its SubjectPublicKeyInfo, in hexadecimal."""
    certificate: str
    """SHA-256 of the whole certificate, in hexadecimal."""
    name: str
    """The computer's name or the user's principal name, in lower case."""


@dataclass(frozen=True, slots=True)
class Binding:
    """What is known of a client GUID. Of `key`, `certificate` and `name` one at least is there."""

    guid: str
    """As `client_guid.read_guid` has it."""
    source: Source
    since: datetime.datetime
    """In UTC."""
    key: str = ""
    """SHA-256 of the SubjectPublicKeyInfo of the client certificate; empty for an import."""
    certificate: str = ""
    """SHA-256 of a client certificate: the last that was seen, or the one that was imported."""
    name: str = ""
    """In lower case; a name without dots stands for the first label of one that has them."""
    signing_key: bytes = b""
    """SubjectPublicKeyInfo, DER, of the key that signs the client's messages; empty: not known."""

    def __post_init__(self) -> None:
        if not (self.key or self.certificate or self.name):
            raise ValueError("a binding to nothing")


class Standing(StrEnum):
    """What a certificate is to a client GUID."""

    UNKNOWN = "unknown"
    """Nothing is known of the GUID."""
    BOUND = "bound"
    FIRST = "first"
    """The first that has what was imported."""
    RENEWED = "renewed"
    """Another key under the same name, which the policy allows."""
    OTHER = "other"
    """The GUID is another client's."""


def judge_standing(
    binding: Binding | None, presented: PresentedCertificate, renewal: CertificateRenewal
) -> Standing:
    """Whether the client that came is the one a GUID is bound to."""
    if binding is None:
        return Standing.UNKNOWN
    if binding.key == presented.key:
        return Standing.BOUND
    named = bool(binding.name) and _same_name(binding.name, presented.name)
    if not binding.key:
        exactly = binding.certificate == presented.certificate if binding.certificate else named
        return Standing.FIRST if exactly else Standing.OTHER
    if named and renewal is CertificateRenewal.SAME_NAME:
        return Standing.RENEWED
    return Standing.OTHER


def confirms(stored: Binding, imported: Binding) -> bool:
    """Whether an imported binding has nothing that the stored one does not have."""
    return (
        imported.key in ("", stored.key)
        and imported.certificate in ("", stored.certificate)
        and imported.signing_key in (b"", stored.signing_key)
        and (not imported.name or _same_name(imported.name, stored.name))
    )


def _same_name(bound: str, presented: str) -> bool:
    # `Get-CMDevice | Select SMSID,Name` gives NetBIOS names: the first label, cut at 15 characters.
    if "." in bound:
        return bound == presented
    label = presented.partition(".")[0]
    return bound == label or (len(bound) == 15 and bound == label[:15])
