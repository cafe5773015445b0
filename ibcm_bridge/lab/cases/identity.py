"""Cases about the client GUID of a message, and how it is verified (BRIDGE-IDENTITY)."""

from __future__ import annotations

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.cases import messages
from ibcm_bridge.lab.cases.case import (
    Case,
    ClientCertificate,
    Disposition,
    accepted,
    identified,
    refused,
)

REGISTERED = ((ClientCertificate.COMPUTER, messages.registration),)
"""The preceding request of cases that need a bound client GUID."""

OTHER_REGISTERED = ((ClientCertificate.OTHER, messages.registration),)

IDENTITY = (
    Case(
        "registration",
        "client registration",
        "BRIDGE-IDENTITY",
        "Signed with the key that it registers. From the reply the bridge learns the client GUID, "
        "and binds it to the certificate of this connection.",
        messages.registration,
        accepted("management-point.verbs.CCM_POST", signed_with="key-in-registration"),
    ),
    Case(
        "policy-request",
        "policy request",
        "BRIDGE-IDENTITY",
        "Header and payload have the same GUID. It is bound to the certificate of the connection, "
        "and the message is signed with the registered key.",
        messages.policy_request,
        identified("management-point.verbs.CCM_POST"),
        before=REGISTERED,
    ),
    Case(
        "heartbeat",
        "heartbeat discovery with attachments",
        "BRIDGE-IDENTITY",
        "Header and body are two documents in one payload. The bridge inspects both.",
        messages.heartbeat,
        identified("management-point.verbs.CCM_POST"),
        before=REGISTERED,
    ),
    Case(
        "spoofed-guid",
        "another client's GUID",
        "BRIDGE-IDENTITY",
        "Another client registered this GUID. Through the tunnel, the management point detects the "
        "wrong signature and returns an empty reply.",
        messages.with_guid_of_another,
        refused(403, Reason.IDENTITY_OF_ANOTHER, "messages.identity"),
        Disposition.REFUSED_BY_SITE_SYSTEM,
        before=OTHER_REGISTERED,
    ),
    Case(
        "spoofed-payload",
        "another client's GUID, in the payload only",
        "BRIDGE-IDENTITY",
        "The header has no GUID, as before registration. This simulated management point checks "
        "only the header, and returns the policy.",
        messages.with_guid_of_another_in_payload,
        refused(403, Reason.IDENTITY_OF_ANOTHER, "messages.identity"),
        before=OTHER_REGISTERED,
    ),
    Case(
        "two-guids",
        "one GUID in the header, another in the payload",
        "BRIDGE-IDENTITY",
        "The client in the header signed the message, to get the policy of the client in the "
        "payload.",
        messages.with_two_guids,
        refused(403, Reason.IDENTITY_AMBIGUOUS, "identity.payload"),
    ),
    Case(
        "injected-guid",
        "SQL injection in the client GUID",
        "BRIDGE-IDENTITY",
        "Management points executed SQL after `GUID:` in a header (CVE-2024-43468). The bridge "
        "requires the exact format of a GUID.",
        messages.injected_guid,
        refused(403, Reason.IDENTITY_MALFORMED, "identity.SourceID"),
    ),
    Case(
        "forged-signature",
        "payload changed after signing",
        "BRIDGE-IDENTITY",
        "The same text, compressed differently. A signature covers the compressed bytes. This "
        "management point also detects it.",
        messages.with_payload_changed_after_signing,
        refused(403, Reason.SIGNATURE_FORGED, "signatures.PayloadSignature"),
        Disposition.REFUSED_BY_SITE_SYSTEM,
    ),
    Case(
        "unsigned-message",
        "message without signature",
        "BRIDGE-IDENTITY",
        "The client signs every message after its registration, so this policy requires it.",
        messages.unsigned_policy_request,
        refused(403, Reason.SIGNATURE_MISSING, "signatures.ClientIDSignature"),
        Disposition.REFUSED_BY_SITE_SYSTEM,
        before=REGISTERED,
    ),
    Case(
        "registration-of-another",
        "registration of another client's key",
        "BRIDGE-IDENTITY",
        "A registration is signed with the key that it registers. The sender does not have it.",
        messages.registration_of_another,
        refused(403, Reason.SIGNATURE_FORGED, "signatures.SignatureValue"),
        Disposition.REFUSED_BY_SITE_SYSTEM,
    ),
    Case(
        "replayed-download",
        "replayed policy download",
        "BRIDGE-IDENTITY",
        "The signatures are valid, but the timestamp is old. Without this check, an attacker could "
        "replay captured header fields indefinitely.",
        messages.replayed_policy_download,
        refused(403, Reason.TIMESTAMP_STALE, "messages.clock_skew"),
        before=REGISTERED,
    ),
)
