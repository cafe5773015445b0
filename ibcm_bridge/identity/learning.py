"""What the bridge learns of who a client GUID belongs to.

Only from the site: a management point verifies what clients sign before it answers
(protocol.md §1.7, §2.1). So a client GUID is bound

1. when a registration that was signed with the key it registers is answered with one;
2. when a signed request for policy is answered with policy, for clients that registered before the
   bridge was there;
3. when the certificate comes that an import named, or that the policy takes for a renewal.

A client GUID that is bound to another key stays bound to it.
"""

from __future__ import annotations

import datetime

from ibcm_bridge.authentication.client import Client
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.identity.approval import Approved, Signature, presented_certificate
from ibcm_bridge.identity.bindings import (
    Binding,
    PresentedCertificate,
    Source,
    Standing,
    judge_standing,
)
from ibcm_bridge.policy.message_rules import CertificateRenewal

_SOURCES = {Standing.FIRST: Source.IMPORT, Standing.RENEWED: Source.RENEWAL}


def updated_binding(
    binding: Binding, client: Client, renewal: CertificateRenewal, now: datetime.datetime
) -> Binding | None:
    """What takes the binding's place now that this client has come; None where nothing does."""
    certificate = presented_certificate(client)
    if certificate is None:
        return None
    source = _SOURCES.get(judge_standing(binding, certificate, renewal))
    # The key that a renewed client signs with is not known yet.
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
    """The binding that a management point's reply confirms; None where it says nothing new.

    `registered` is the client GUID that a registration was answered with, `binding` what stands for
    it, or for the one that the request speaks for. Refused where it is another client's.
    """
    certificate = presented_certificate(client)
    message = approved.inspected.message
    if certificate is None or message is None:
        return None
    registration = message.registration
    identity = approved.identity
    if registered and registration is not None and registration.proven:
        guid, source, signing_key = registered, Source.REGISTRATION, registration.key
    elif gives_policy and identity.guid and identity.signature in _LEARNED_FROM:
        guid, source, signing_key = identity.guid, Source.POLICY, identity.signing_key
    else:
        return None
    if binding is None:
        return _binding(guid, certificate, source, now, signing_key)
    standing = judge_standing(binding, certificate, renewal)
    if standing is Standing.OTHER:
        detail = f"{guid} is bound to another certificate, and stays so"
        return Deny(Reason.IDENTITY_OF_ANOTHER, rules.MESSAGES_IDENTITY, detail)
    if standing is Standing.BOUND and binding.signing_key == signing_key:
        return None
    if source is Source.POLICY and binding.signing_key:
        return None
    return _binding(guid, certificate, source, now, signing_key)


_LEARNED_FROM = frozenset((Signature.CERTIFICATE, Signature.OWN))


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
