"""Authentication of a client: from a verified certification path to an `AuthenticatedClient`.

OpenSSL builds and verifies the path in the handshake (RFC 5280 §6: signatures, validity, basic
constraints). This module checks the end-entity certificate: it must be for client authentication,
and must name a computer (BRIDGE-AUTH-COMPUTER) or a user (BRIDGE-AUTH-USER), as the publication
requires. Only `authenticate` makes an `AuthenticatedClient`, and only `admit_anonymous` makes an
`AnonymousClient`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from cryptography.x509.oid import ExtendedKeyUsageOID

from ibcm_bridge.authentication.certificate import CertificateFacts, is_computer_account
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.policy.publications import BridgePublication, HttpPublication
from ibcm_bridge.policy.roles import CertificatePolicy

_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*")
"""A DNS name or a NetBIOS computer name. It has no space, unlike most names of people."""

_PRINCIPAL_NAME = re.compile(r"[^\s@\x00-\x1f\x7f]{1,104}@[A-Za-z0-9_.-]{1,151}")
"""user@domain, with the limits of Active Directory (256 characters in total)."""

_COMPUTER_ACCOUNT = re.compile(r"([A-Za-z0-9_-]{1,63})\$@[A-Za-z0-9_.-]{1,151}")
"""The principal name of a computer account: its name, "$", and the domain ([MS-SAMR])."""


class ClientKind(StrEnum):
    """The kind of subject that a client certificate names."""

    COMPUTER = "computer"
    USER = "user"


@dataclass(frozen=True, slots=True)
class AuthenticatedClient:
    """A client whose certificate was verified in the handshake and accepted for a publication."""

    publication: str
    certificate: CertificateFacts
    kind: ClientKind
    name: str
    """In lower case. For a computer: the first DNS name, else the common name (protocol.md §9.2),
    which must match the principal name, if any. For a user: the principal name."""


@dataclass(frozen=True, slots=True)
class AnonymousClient:
    """A client without a certificate, of a publication that does not require one."""

    publication: str


Client = AuthenticatedClient | AnonymousClient


def authenticate(
    publication: BridgePublication, certificate: CertificateFacts
) -> AuthenticatedClient | Deny:
    """Accept or refuse the end-entity certificate of a path that OpenSSL has verified."""
    # OpenSSL refuses an extKeyUsage without clientAuth, but accepts a certificate without an
    # extKeyUsage. ConfigMgr requires clientAuth (protocol.md §9.2, RFC 5280 §4.2.1.12).
    client_auth = ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string
    if certificate.purposes is None or client_auth not in certificate.purposes:
        return Deny(
            Reason.CERTIFICATE_PURPOSE,
            rules.CLIENTS_OF.of(publication.name),
            "extKeyUsage does not have id-kp-clientAuth",
        )
    demand = _DEMANDS[publication.certificate_policy]
    for kind, read_name in _NAME_READERS:
        name = read_name(certificate) if kind in demand.kinds else None
        if name is not None:
            return AuthenticatedClient(publication.name, certificate, kind, name.lower())
    contradiction = _contradiction(certificate) if ClientKind.COMPUTER in demand.kinds else None
    return Deny(
        Reason.CERTIFICATE_NAME,
        rules.CLIENTS_OF.of(publication.name),
        contradiction or demand.missing,
        demand.requirement,
    )


def may_be_anonymous(publication: HttpPublication) -> bool:
    """Return whether the publication accepts clients without a certificate."""
    return publication.certificate_policy in (CertificatePolicy.OPTIONAL, CertificatePolicy.NONE)


def admit_anonymous(publication: HttpPublication) -> AnonymousClient | Deny:
    """Accept or refuse a client that presented no certificate."""
    if may_be_anonymous(publication):
        return AnonymousClient(publication.name)
    return certificate_missing(publication.name)


def certificate_missing(publication: str) -> Deny:
    """Return the denial for a client without a certificate, of a publication that requires one."""
    rule = rules.CLIENTS_OF.of(publication)
    return Deny(Reason.CERTIFICATE_MISSING, rule, "no certificate was presented")


def _computer(certificate: CertificateFacts) -> str | None:
    # protocol.md §9.2: a unique name in Subject CN or SAN; only the first SAN value is used.
    name = certificate.dns_names[0] if certificate.dns_names else certificate.common_name
    if not name or not _HOST_NAME.fullmatch(name):
        return None
    # A certificate with a user's principal name is a user's, whatever other names it has.
    if not all(map(is_computer_account, certificate.principal_names)):
        return None
    return name if _contradiction(certificate) is None else None


def _contradiction(certificate: CertificateFacts) -> str | None:
    """The reason that the common name and the principal name are not of one computer, if any.

    The name of a computer account is the first label of the computer's name, and "$" ([MS-SAMR]).
    Without a DNS name, nothing else shows that both names are of one computer.
    """
    accounts = certificate.principal_names
    if certificate.dns_names or certificate.common_name is None or not accounts:
        return None
    if len(accounts) > 1:
        return "the certificate has several principal names and no DNS name"
    account = _COMPUTER_ACCOUNT.fullmatch(accounts[0])
    label = certificate.common_name.partition(".")[0]
    if account is None or account[1].lower() != label.lower():
        return "the common name does not match the computer in the principal name"
    return None


def _user(certificate: CertificateFacts) -> str | None:
    # With several names, it is unknown which one the site system would use.
    if len(certificate.principal_names) != 1:
        return None
    (name,) = certificate.principal_names
    if is_computer_account(name) or not _PRINCIPAL_NAME.fullmatch(name) or not name.isprintable():
        return None
    return name


_NAME_READERS: tuple[tuple[ClientKind, Callable[[CertificateFacts], str | None]], ...] = (
    (ClientKind.COMPUTER, _computer),
    (ClientKind.USER, _user),
)


@dataclass(frozen=True, slots=True)
class _Demand:
    kinds: frozenset[ClientKind]
    requirement: str
    missing: str


_BOTH = frozenset(ClientKind)
_NO_NAME = "the certificate names neither a computer nor a user"
_DEMANDS = {
    CertificatePolicy.COMPUTER: _Demand(
        frozenset({ClientKind.COMPUTER}),
        "BRIDGE-AUTH-COMPUTER",
        "the certificate does not name a computer",
    ),
    CertificatePolicy.USER: _Demand(
        frozenset({ClientKind.USER}),
        "BRIDGE-AUTH-USER",
        "the certificate has no valid user principal name",
    ),
    CertificatePolicy.EITHER: _Demand(_BOTH, "BRIDGE-AUTH-COMPUTER", _NO_NAME),
    CertificatePolicy.OPTIONAL: _Demand(_BOTH, "BRIDGE-AUTH-COMPUTER", _NO_NAME),
    CertificatePolicy.NONE: _Demand(
        frozenset(), "BRIDGE-AUTH-COMPUTER", "the policy requires no certificate"
    ),
}
