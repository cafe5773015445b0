"""Who the client is: from a verified certification path to an `AuthenticatedClient`.

OpenSSL builds and verifies the path during the handshake (RFC 5280 §6: signatures, validity,
basic constraints, revocation of every certificate in it). This room judges what OpenSSL does not:
that the end-entity certificate says it is for client authentication at all, and that it names
what the publication authenticates: a computer (BRIDGE-AUTH-COMPUTER) or a user
(BRIDGE-AUTH-USER). `authenticate` is the only maker of `AuthenticatedClient`, and `admit_anonymous`
of `AnonymousClient`.
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
"""A DNS name or a NetBIOS computer name; no spaces, so no person's name."""

_PRINCIPAL_NAME = re.compile(r"[^\s@\x00-\x1f\x7f]{1,104}@[A-Za-z0-9_.-]{1,151}")
"""user@domain, bounded as Active Directory bounds it (256 characters in all)."""

_COMPUTER_ACCOUNT = re.compile(r"([A-Za-z0-9_-]{1,63})\$@[A-Za-z0-9_.-]{1,151}")
"""The principal name of a computer's account: its name, "$", and the domain ([MS-SAMR])."""


class ClientKind(StrEnum):
    """What a client certificate names."""

    COMPUTER = "computer"
    USER = "user"


@dataclass(frozen=True, slots=True)
class AuthenticatedClient:
    """A client whose certificate was verified in the handshake and accepted for a publication."""

    publication: str
    certificate: CertificateFacts
    kind: ClientKind
    name: str
    """In lower case. A computer's first DNS name, else its common name (protocol.md §9.2), which
    must then be that of its account if it has a principal name; a user's principal name."""


@dataclass(frozen=True, slots=True)
class AnonymousClient:
    """A client of a publication that lets in clients without a certificate."""

    publication: str


Client = AuthenticatedClient | AnonymousClient


def authenticate(
    publication: BridgePublication, certificate: CertificateFacts
) -> AuthenticatedClient | Deny:
    """Accept the end-entity certificate of a path that OpenSSL has verified, or refuse it."""
    # OpenSSL refuses an extKeyUsage without clientAuth but accepts none at all; the page demands
    # certificates made for client authentication (protocol.md §9.2, RFC 5280 §4.2.1.12).
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
    """Whether a client needs no certificate."""
    return publication.certificate_policy in (CertificatePolicy.OPTIONAL, CertificatePolicy.NONE)


def admit_anonymous(publication: HttpPublication) -> AnonymousClient | Deny:
    """Let in a client that presented no certificate, or refuse it."""
    if may_be_anonymous(publication):
        return AnonymousClient(publication.name)
    rule = rules.CLIENTS_OF.of(publication.name)
    return Deny(Reason.CERTIFICATE_MISSING, rule, "no certificate was presented")


def _computer(certificate: CertificateFacts) -> str | None:
    # protocol.md §9.2: a unique name in Subject CN or SAN; only the first SAN value is used.
    name = certificate.dns_names[0] if certificate.dns_names else certificate.common_name
    if not name or not _HOST_NAME.fullmatch(name):
        return None
    # With a user's principal name it is a user's, whatever other names it has.
    if not all(map(is_computer_account, certificate.principal_names)):
        return None
    return name if _contradiction(certificate) is None else None


def _contradiction(certificate: CertificateFacts) -> str | None:
    """What keeps a common name from being that of the computer in the principal name.

    A computer's account has the first label of its name, and "$" ([MS-SAMR]). Without a DNS name
    nothing else says that both are the same computer.
    """
    accounts = certificate.principal_names
    if certificate.dns_names or certificate.common_name is None or not accounts:
        return None
    if len(accounts) > 1:
        return "several principal names in it, and no DNS name"
    account = _COMPUTER_ACCOUNT.fullmatch(accounts[0])
    label = certificate.common_name.partition(".")[0]
    if account is None or account[1].lower() != label.lower():
        return "its common name is not that of the computer in its principal name"
    return None


def _user(certificate: CertificateFacts) -> str | None:
    # With several names nobody can tell which of them the site system will take.
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
_DEMANDS = {
    CertificatePolicy.COMPUTER: _Demand(
        frozenset({ClientKind.COMPUTER}), "BRIDGE-AUTH-COMPUTER", "no computer name in it"
    ),
    CertificatePolicy.USER: _Demand(
        frozenset({ClientKind.USER}), "BRIDGE-AUTH-USER", "no user principal name in it"
    ),
    CertificatePolicy.EITHER: _Demand(_BOTH, "BRIDGE-AUTH-COMPUTER", "it names nobody"),
    CertificatePolicy.OPTIONAL: _Demand(_BOTH, "BRIDGE-AUTH-COMPUTER", "it names nobody"),
    CertificatePolicy.NONE: _Demand(frozenset(), "BRIDGE-AUTH-COMPUTER", "none was asked for"),
}
