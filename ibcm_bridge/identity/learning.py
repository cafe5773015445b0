"""Learn bindings of client GUIDs from a management point's replies.

A management point verifies signatures before it replies (protocol.md §1.7, §2.1). The bridge binds
a client GUID

1. if the reply to a registration has it, and the registration is signed with the key it registers;
2. if a signed policy request receives policy; this covers clients that registered before the
   bridge was installed;
3. if a certificate matches an imported binding, or is a renewal that the policy allows.

A client GUID that is bound to another client's key remains bound to it.
"""

from __future__ import annotations

import datetime

from ibcm_bridge.authentication.client import Client
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.identity.approval import Approved, SigningKey, presented_certificate
from ibcm_bridge.identity.bindings import (
    Binding,
    BindingStatus,
    PresentedCertificate,
    Source,
    binding_status,
)
from ibcm_bridge.policy.message_policy import CertificateRenewal

_SOURCES = {BindingStatus.NEWLY_BOUND: Source.IMPORT, BindingStatus.RENEWED: Source.RENEWAL}


def changes_bindings(approved: Approved) -> bool:
    """Return whether a binding may be learned from, or updated by, an approved request.

    A request with unequal client GUIDs changes nothing, and neither does one that only the
    publication's `observe` allowed.
    """
    if approved.would_refuse:
        return False
    return all(deny.reason is not Reason.IDENTITY_AMBIGUOUS for deny in approved.observed)


def updated_binding(
    binding: Binding, client: Client, renewal: CertificateRenewal, now: datetime.datetime
) -> Binding | None:
    """The binding that replaces `binding` when this client connects; None if nothing changes."""
    certificate = presented_certificate(client)
    if certificate is None:
        return None
    source = _SOURCES.get(binding_status(binding, certificate, renewal))
    # The new signing key of a renewed client is not known yet.
    return _binding(binding.guid, certificate, source, now) if source is not None else None


def learned_binding(
    approved: Approved,
    client: Client,
    binding: Binding | None,
    *,
    registered: str,
    gives_policy: bool,
    renewal: CertificateRenewal,
    now: datetime.datetime,
) -> Binding | Deny | None:
    """The binding that a management point's reply confirms; None if it confirms nothing new.

    `registered` is the client GUID in the reply to a registration. `binding` is the binding of
    that client GUID, or else of the request's. A client GUID of another client is refused.
    """
    certificate = presented_certificate(client)
    message = approved.inspected.message
    if certificate is None or message is None or not changes_bindings(approved):
        return None
    registration = message.registration
    identity = approved.identity
    if registered and registration is not None and registration.proven:
        guid, source, signing_key = registered, Source.REGISTRATION, registration.key
    elif gives_policy and identity.guid and identity.signed_with in _LEARNED_FROM:
        guid, source, signing_key = identity.guid, Source.POLICY, identity.signing_key
    else:
        return None
    if binding is None:
        return _binding(guid, certificate, source, now, signing_key)
    status = binding_status(binding, certificate, renewal)
    if status is BindingStatus.ANOTHER_CLIENT:
        detail = f"{guid} remains bound to another certificate"
        return Deny(Reason.IDENTITY_OF_ANOTHER, rules.MESSAGES_IDENTITY, detail)
    if status is BindingStatus.BOUND and binding.signing_key == signing_key:
        return None
    if source is Source.POLICY and binding.signing_key:
        return None
    return _binding(guid, certificate, source, now, signing_key)


_LEARNED_FROM = frozenset((SigningKey.CERTIFICATE, SigningKey.IN_MESSAGE))


def _binding(
    guid: str,
    certificate: PresentedCertificate,
    source: Source,
    now: datetime.datetime,
    signing_key: bytes = b"",
) -> Binding:
    return Binding(
        guid=guid,
        source=source,
        since=now,
        key=certificate.key,
        certificate=certificate.certificate,
        name=certificate.name,
        signing_key=signing_key,
    )
