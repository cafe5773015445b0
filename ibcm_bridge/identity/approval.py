"""May this client use the client GUID that the request names? The only maker of `Approved`.

1. What the request says of its sender must be one thing (`claims`); always.
2. The client GUID must be bound to the certificate of the connection, or not be bound yet
   (`bindings`); by the policy's `identity`.
3. What is signed must be signed by that client, and not long ago; by the policy's `signatures`.

Where the policy says to observe, what 2 and 3 would refuse is kept for the audit, and passes.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from ibcm_bridge.authentication.client import AuthenticatedClient, Client
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, NotATruthValue, Reason
from ibcm_bridge.identity.bindings import Binding, PresentedCertificate, Standing, judge_standing
from ibcm_bridge.identity.claims import Claim, read_claim, read_timestamp
from ibcm_bridge.inspection.body import Inspected
from ibcm_bridge.messages.signatures import rsa_key, verifies
from ibcm_bridge.policy.message_rules import Enforcement, MessageRules, UnknownGuids
from ibcm_bridge.request.authorization import Authorized


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """The client GUID that a request names, and how it was established."""

    guid: str = ""
    """As `client_guid` has it; empty where it names nobody."""
    standing: Standing | None = None
    """What the client's certificate is to that client GUID."""
    signature: str = ""
    """By which key it is signed (`identity.approval.Signature`); empty where it is not."""
    signing_key: bytes = field(default=b"", repr=False)
    """SubjectPublicKeyInfo, DER, of the key by which it verified."""


@dataclass(frozen=True, slots=True)
class Approved(NotATruthValue):
    """This very head and this very body may be sent. Made by `identity.approve` only."""

    inspected: Inspected
    identity: ClientIdentity
    observed: tuple[Deny, ...] = ()
    """What it would be refused for, did the policy not say to observe."""

    @property
    def authorized(self) -> Authorized:
        """The head that may be sent, and where to."""
        return self.inspected.authorized

    @property
    def body(self) -> bytes:
        """The body that may be sent."""
        return self.inspected.body


FindBinding = Callable[[str], Binding | None]
"""Client GUID -> what it is bound to."""


class Signature(StrEnum):
    """By which key a request is signed."""

    REGISTERED = "registered-key"
    """The one that is known to be this client's."""
    REGISTERING = "registering-key"
    """The one that a registration is about."""
    CERTIFICATE = "certificate-key"
    """That of the connection's certificate."""
    OWN = "own-key"
    """One that the message itself names: whether it is the client's, the site knows."""


def presented_certificate(client: Client) -> PresentedCertificate | None:
    """The certificate of a client, by what a binding holds of it."""
    if not isinstance(client, AuthenticatedClient):
        return None
    return PresentedCertificate(
        client.certificate.key_sha256, client.certificate.sha256, client.name
    )


def approve(
    inspected: Inspected,
    client: Client,
    find: FindBinding,
    terms: MessageRules,
    now: datetime.datetime,
) -> Approved | Deny:
    """Let a request pass, or refuse it. `now` in UTC."""
    claim = read_claim(inspected)
    if isinstance(claim, Deny):
        return claim
    binding = find(claim.guid) if claim.guid else None
    standing = _standing(claim, binding, client, terms)
    signed = _verify(claim, binding, client, now, terms.clock_skew)
    observed = [*_unread(inspected)]
    for doubt, enforcement in (
        (_doubt(claim, standing, terms), terms.identity),
        (signed, terms.signatures),
    ):
        if isinstance(doubt, Deny):
            if enforcement is Enforcement.ENFORCE:
                return doubt
            observed.append(doubt)
    signature, key = signed if isinstance(signed, tuple) else ("", b"")
    identity = ClientIdentity(claim.guid, standing, signature, key)
    return Approved(inspected, identity, tuple(observed))


def _unread(inspected: Inspected) -> Iterator[Deny]:
    """The mark of a message that passes encrypted, because the policy says why."""
    if inspected.message is not None and inspected.message.encrypted:
        detail = "encrypted, so its payload is not read"
        yield Deny(Reason.BODY_NOT_INSPECTABLE, rules.MESSAGES_ENCRYPTED, detail)


def _standing(
    claim: Claim, binding: Binding | None, client: Client, terms: MessageRules
) -> Standing | None:
    if not claim.guid:
        return None
    certificate = presented_certificate(client)
    if certificate is not None:
        return judge_standing(binding, certificate, terms.renewal)
    return Standing.UNKNOWN if binding is None else Standing.OTHER


def _doubt(claim: Claim, standing: Standing | None, terms: MessageRules) -> Deny | None:
    if standing is None and claim.needed:
        detail = "neither SourceID nor the payload names a client"
        return Deny(Reason.IDENTITY_MISSING, rules.IDENTITY.of("SourceID"), detail)
    if standing is Standing.OTHER:
        detail = f"{claim.guid} is bound to another certificate"
        return Deny(Reason.IDENTITY_OF_ANOTHER, rules.MESSAGES_IDENTITY, detail)
    if standing is Standing.UNKNOWN and terms.unknown_guids is UnknownGuids.REFUSE:
        detail = f"{claim.guid} is bound to no certificate"
        return Deny(Reason.IDENTITY_UNKNOWN, rules.MESSAGES_UNKNOWN_GUIDS, detail)
    return None


def _verify(
    claim: Claim,
    binding: Binding | None,
    client: Client,
    now: datetime.datetime,
    skew: datetime.timedelta,
) -> Deny | tuple[Signature, bytes] | None:
    """What is wrong with how it is signed; or by which key it is; None for what is not signed."""
    registration = claim.registration
    if registration is not None and not registration.proven:
        detail = "the registration is not signed with the key it registers"
        return _forged("SignatureValue", detail)
    missing = next((signed.name for signed in claim.signed if not signed.signature), None)
    if missing is not None:
        return Deny(Reason.SIGNATURE_MISSING, rules.SIGNATURE.of(missing), f"no {missing}")
    for text in claim.times:
        time = read_timestamp(text)
        if time is None or abs(time - now) > skew:
            detail = "a signed time that is too far from now, or none"
            return Deny(Reason.TIMESTAMP_STALE, rules.MESSAGES_CLOCK_SKEW, detail)
    if not claim.signed:
        return None
    name = claim.signed[0].name
    for kind, key in _keys(claim, binding, client):
        public_key = rsa_key(key)
        if public_key is None:
            continue
        wrong = (
            signed.name
            for signed in claim.signed
            if not verifies(public_key, signed.signature, signed.data)
        )
        name = next(wrong, "")
        if not name:
            return kind, key
    return _forged(name, f"{name} is not by a key of this client")


def _keys(
    claim: Claim, binding: Binding | None, client: Client
) -> Iterator[tuple[Signature, bytes]]:
    """The keys that may have signed. Only the registered one, where it is known (§1.6)."""
    if binding is not None and binding.signing_key and claim.registration is None:
        yield Signature.REGISTERED, binding.signing_key
        return
    if claim.registration is not None:
        yield Signature.REGISTERING, claim.registration.key
    if isinstance(client, AuthenticatedClient):
        yield Signature.CERTIFICATE, client.certificate.public_key
    if claim.own_key:
        yield Signature.OWN, claim.own_key


def _forged(name: str, detail: str) -> Deny:
    return Deny(Reason.SIGNATURE_FORGED, rules.SIGNATURE.of(name), detail)
