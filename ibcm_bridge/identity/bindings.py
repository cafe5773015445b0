"""Bindings of client GUIDs to client certificates.

The bridge learns a binding when a management point accepts a message, or an administrator imports
it. An imported binding may have only a name or a certificate. The first client that matches it is
bound, and from then on the binding requires this client's key.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from enum import StrEnum

from ibcm_bridge.policy.message_policy import CertificateRenewal


class Source(StrEnum):
    """The origin of a binding."""

    REGISTRATION = "registration"
    """A management point replied to a registration with this client GUID."""
    POLICY = "policy"
    """A management point returned policy for a message that this client signed."""
    IMPORT = "import"
    """An administrator imported it."""
    RENEWAL = "renewal"
    """A certificate with the same name and another key replaced the bound one, as the policy
    allows."""


@dataclass(frozen=True, slots=True)
class PresentedCertificate:
    """The values of a connection's client certificate that a binding contains."""

    key: str
    """SHA-256 of its SubjectPublicKeyInfo, in hexadecimal."""
    certificate: str
    """SHA-256 of the whole certificate, in hexadecimal."""
    name: str
    """The computer name or the user principal name, in lower case."""


@dataclass(frozen=True, slots=True)
class Binding:
    """A client GUID and its client; at least one of `key`, `certificate` and `name` is set."""

    guid: str
    """In the form of `client_guid.read_guid`."""
    source: Source
    since: datetime.datetime
    """In UTC."""
    key: str = ""
    """SHA-256 of the SubjectPublicKeyInfo of the client certificate; empty for an import."""
    certificate: str = ""
    """SHA-256 of the client certificate that was presented last or imported."""
    name: str = ""
    """In lower case; a name without dots matches the first label of a DNS name."""
    signing_key: bytes = b""
    """SubjectPublicKeyInfo, DER, of the key that signs the client's messages; empty if unknown."""

    def __post_init__(self) -> None:
        if not (self.key or self.certificate or self.name):
            raise ValueError("a binding requires a key, a certificate or a name")


class BindingStatus(StrEnum):
    """The relation of a certificate to a client GUID."""

    UNBOUND = "unbound"
    """The client GUID has no binding."""
    BOUND = "bound"
    NEWLY_BOUND = "newly-bound"
    """The certificate is the first that matches an imported binding."""
    RENEWED = "renewed"
    """The certificate has the bound name and another key, and the policy allows this."""
    ANOTHER_CLIENT = "another-client"
    """The client GUID is bound to another client's certificate."""


def binding_status(
    binding: Binding | None, presented: PresentedCertificate, renewal: CertificateRenewal
) -> BindingStatus:
    """Compare a certificate with the binding of a client GUID."""
    if binding is None:
        return BindingStatus.UNBOUND
    if binding.key == presented.key:
        return BindingStatus.BOUND
    named = bool(binding.name) and _same_name(binding.name, presented.name)
    if not binding.key:
        matches = binding.certificate == presented.certificate if binding.certificate else named
        return BindingStatus.NEWLY_BOUND if matches else BindingStatus.ANOTHER_CLIENT
    if named and renewal is CertificateRenewal.SAME_NAME:
        return BindingStatus.RENEWED
    return BindingStatus.ANOTHER_CLIENT


def confirms(stored: Binding, imported: Binding) -> bool:
    """Return whether the stored binding already contains all values of an imported one."""
    return (
        imported.key in ("", stored.key)
        and imported.certificate in ("", stored.certificate)
        and imported.signing_key in (b"", stored.signing_key)
        and (not imported.name or _same_name(imported.name, stored.name))
    )


def _same_name(bound: str, presented: str) -> bool:
    # `Get-CMDevice | Select SMSID,Name` returns NetBIOS names: the first label, at most 15
    # characters of it.
    if "." in bound:
        return bound == presented
    label = presented.partition(".")[0]
    return bound == label or (len(bound) == 15 and bound == label[:15])
