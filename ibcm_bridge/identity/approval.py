"""Decide whether a client may use the client GUID of its request. The only maker of `Approved`.

1. Client GUIDs must be well-formed, and equal where a client writes its own (`claims`). Always
   enforced.
2. All client GUIDs of a request must be equal, and bound to the connection's certificate, or not
   bound yet (`bindings`). Enforced by the policy's `identity`.
3. Signatures must be this client's, and their times recent. Enforced by the policy's `signatures`.

If bindings cannot be read, that is the result of 2 and 3 for a request that needs one.

With `observe`, a request that 2 or 3 would refuse is allowed, and the audit lists the refusals. A
publication with `observe` also allows what 2 or 3 with `enforce` would refuse (`observing`). The
audit also lists the client GUIDs of other clients at places where no client GUID is expected.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ibcm_bridge.authentication.client import AuthenticatedClient, Client
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, NotATruthValue, Reason
from ibcm_bridge.decisions.observing import Observation, Observed
from ibcm_bridge.identity.bindings import (
    Binding,
    BindingStatus,
    PresentedCertificate,
    binding_status,
)
from ibcm_bridge.identity.claims import Claim, read_claim, read_timestamp
from ibcm_bridge.inspection.verdict import Inspected
from ibcm_bridge.messages.signatures import rsa_key, verifies, verifies_again
from ibcm_bridge.policy.message_policy import Enforcement, MessagePolicy, UnknownGuids
from ibcm_bridge.request.authorization import Authorized


class SigningKey(StrEnum):
    """The kind of key that a request is signed with."""

    REGISTERED = "registered-key"
    """The client's registered key."""
    IN_REGISTRATION = "key-in-registration"
    """The key that this registration registers."""
    CERTIFICATE = "certificate-key"
    """The key of the client's TLS certificate."""
    IN_MESSAGE = "key-in-message"
    """A key in the message itself. Only the site knows if it is the client's."""


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """The client GUID of a request, and the evidence for it."""

    guid: str = ""
    """In the form of `client_guid.read_guid`; empty if the request has none, or unequal ones."""
    binding_status: BindingStatus | None = None
    """The relation of the client's certificate to the client GUID; None without a client GUID."""
    signed_with: SigningKey | None = None
    """The kind of the signing key; None if there is no valid signature."""
    signing_key: bytes = field(default=b"", repr=False)
    """SubjectPublicKeyInfo, DER, of the key that verified the signatures."""
    names_another: tuple[str, ...] = ()
    """Client GUIDs that the message only mentions and that are bound to another certificate."""


@dataclass(frozen=True, slots=True)
class Approved(NotATruthValue):
    """This head and this body may be sent. Made by `approve_claim` only."""

    inspected: Inspected
    identity: ClientIdentity
    observed: tuple[Deny, ...] = ()
    """The refusals that `enforce` would cause."""
    would_refuse: tuple[Observed, ...] = ()
    """The refusals that only the publication's `observe` does not enforce, of all stages."""

    @property
    def authorized(self) -> Authorized:
        """The head that may be sent, and its site system."""
        return self.inspected.authorized

    @property
    def body(self) -> bytes:
        """The body that may be sent."""
        return self.inspected.body


FindBinding = Callable[[str], Binding | None]
"""Client GUID -> its binding, or None."""

type FoundBindings = Mapping[str, Binding | None]
"""Bindings that were read: client GUID -> its binding, or None if it is not bound."""


def presented_certificate(client: Client) -> PresentedCertificate | None:
    """The values of the client's certificate that a binding contains; None without one."""
    if not isinstance(client, AuthenticatedClient):
        return None
    return PresentedCertificate(
        client.certificate.key_sha256, client.certificate.sha256, client.name
    )


def approve(
    inspected: Inspected,
    client: Client,
    find: FindBinding,
    terms: MessagePolicy,
    now: datetime.datetime,
) -> Approved | Deny:
    """Read what a request claims, and decide on it. `now` in UTC."""
    claim = read_claim(inspected)
    return claim if isinstance(claim, Deny) else approve_claim(claim, client, find, terms, now)


def approve_claim(
    claim: Claim,
    client: Client,
    find: FindBinding | Deny,
    terms: MessagePolicy,
    now: datetime.datetime,
) -> Approved | Deny:
    """Decide on a request with this claim. `now` in UTC.

    `find` can also be why bindings are unavailable. Without its binding, neither the client
    GUID nor a signature of a request can be judged.
    """
    if isinstance(find, Deny):
        unavailable, find = (find if claim.guid else None), _find_nothing
    else:
        unavailable = None
    inspected = claim.inspected
    binding = find(claim.guid) if claim.guid else None
    bound: Deny | None = unavailable
    status = None
    if bound is None:
        status = _binding_status(binding, client, terms) if claim.guid else None
        bound = _check_binding(claim, status, terms)
    signed: Deny | tuple[SigningKey, bytes] | None = unavailable if claim.signed else None
    if signed is None:
        signed = _verify(claim, binding, client, now, terms.clock_skew)
    observed = [*_uninspected(inspected)]
    observation = Observation(inspected.authorized.observing)
    for result, enforcement in (
        (claim.contradiction, terms.identity),
        (bound, terms.identity),
        (signed, terms.signatures),
    ):
        if isinstance(result, Deny):
            if enforcement is Enforcement.OBSERVE:
                if result not in observed:
                    observed.append(result)
            elif (refusal := observation.enforce(result)) is not None:
                return refusal
    signed_with, key = signed if isinstance(signed, tuple) else (None, b"")
    # Nothing is learned for any of several client GUIDs.
    guid, status = (claim.guid, status) if claim.contradiction is None else ("", None)
    names_another = _names_another(claim, find, client, terms)
    identity = ClientIdentity(guid, status, signed_with, key, names_another)
    would_refuse = inspected.would_refuse + observation.found
    return Approved(inspected, identity, tuple(observed), would_refuse)


def _find_nothing(_: str) -> Binding | None:
    return None


def _uninspected(inspected: Inspected) -> Iterator[Deny]:
    """Record an encrypted message that the policy allows."""
    if inspected.message is not None and inspected.message.encrypted:
        detail = "the payload is encrypted and was not inspected"
        yield Deny(Reason.BODY_NOT_INSPECTABLE, rules.MESSAGES_ENCRYPTED, detail)


def _names_another(
    claim: Claim, find: FindBinding, client: Client, terms: MessagePolicy
) -> tuple[str, ...]:
    return tuple(
        guid
        for guid in claim.mentioned
        if _binding_status(find(guid), client, terms) is BindingStatus.ANOTHER_CLIENT
    )


def _binding_status(binding: Binding | None, client: Client, terms: MessagePolicy) -> BindingStatus:
    certificate = presented_certificate(client)
    if certificate is not None:
        return binding_status(binding, certificate, terms.renewal)
    return BindingStatus.UNBOUND if binding is None else BindingStatus.ANOTHER_CLIENT


def _check_binding(claim: Claim, status: BindingStatus | None, terms: MessagePolicy) -> Deny | None:
    if status is None and claim.required:
        detail = "neither SourceID nor the payload has a client GUID"
        return Deny(Reason.IDENTITY_MISSING, rules.IDENTITY.of("SourceID"), detail)
    if status is BindingStatus.ANOTHER_CLIENT:
        detail = f"{claim.guid} is bound to another certificate"
        return Deny(Reason.IDENTITY_OF_ANOTHER, rules.MESSAGES_IDENTITY, detail)
    if status is BindingStatus.UNBOUND and terms.unknown_guids is UnknownGuids.REFUSE:
        detail = f"{claim.guid} is not bound to a certificate"
        return Deny(Reason.IDENTITY_UNKNOWN, rules.MESSAGES_UNKNOWN_GUIDS, detail)
    return None


def _verify(
    claim: Claim,
    binding: Binding | None,
    client: Client,
    now: datetime.datetime,
    skew: datetime.timedelta,
) -> Deny | tuple[SigningKey, bytes] | None:
    """Verify the signatures. Return the refusal, or the signing key, or None without signatures."""
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
            detail = "the signed time is malformed, or too far from the current time"
            return Deny(Reason.TIMESTAMP_STALE, rules.MESSAGES_CLOCK_SKEW, detail)
    if not claim.signed:
        return None
    name = claim.signed[0].name
    for kind, key in _keys(claim, binding, client):
        public_key = rsa_key(key)
        if public_key is None:
            continue
        invalid = (
            signed.name
            for signed in claim.signed
            if not (
                verifies_again(key, signed.signature, signed.data)
                if signed.repeated
                else verifies(public_key, signed.signature, signed.data)
            )
        )
        name = next(invalid, "")
        if not name:
            return kind, key
    return _forged(name, f"{name} does not verify with any key of this client")


def _keys(
    claim: Claim, binding: Binding | None, client: Client
) -> Iterator[tuple[SigningKey, bytes]]:
    """The keys that may have signed; only the registered key if it is known (§1.6)."""
    if binding is not None and binding.signing_key and claim.registration is None:
        yield SigningKey.REGISTERED, binding.signing_key
        return
    if claim.registration is not None:
        yield SigningKey.IN_REGISTRATION, claim.registration.key
    if isinstance(client, AuthenticatedClient):
        yield SigningKey.CERTIFICATE, client.certificate.public_key
    if claim.key_in_message:
        yield SigningKey.IN_MESSAGE, claim.key_in_message


def _forged(name: str, detail: str) -> Deny:
    return Deny(Reason.SIGNATURE_FORGED, rules.SIGNATURE.of(name), detail)
