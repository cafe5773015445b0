"""Cases about whose a message is, and how that is shown (BRIDGE-IDENTITY)."""

from __future__ import annotations

from ibcm_bridge.lab.cases import messages as say
from ibcm_bridge.lab.cases.case import OK, Case, ClientCertificate, Disposition, refused

_REGISTERED = ((ClientCertificate.COMPUTER, say.registration),)
_OTHER_REGISTERED = ((ClientCertificate.OTHER, say.registration),)

IDENTITY = (
    Case(
        "registration",
        "registration",
        "BRIDGE-IDENTITY",
        "Signed with the key that it registers. From the answer the bridge learns whose the client "
        "GUID is; from then on it is this certificate's.",
        say.registration,
        OK,
    ),
    Case(
        "policy-request",
        "request for policy",
        "BRIDGE-IDENTITY",
        "The GUID stands in its header and in its payload, the certificate it is bound to is the "
        "connection's, and the registered key has signed it.",
        say.policy_request,
        OK,
        before=_REGISTERED,
    ),
    Case(
        "heartbeat",
        "heartbeat with attachments",
        "BRIDGE-IDENTITY",
        "Header and body are slices of one payload, each a document; both are read.",
        say.heartbeat,
        OK,
    ),
    Case(
        "spoofed-guid",
        "GUID of another client",
        "BRIDGE-IDENTITY",
        "Another client has registered it. Through the tunnel it reaches the management point, "
        "which knows that client's key, and answers nothing.",
        say.in_the_name_of_another,
        refused(403),
        Disposition.REFUSED_THERE,
        before=_OTHER_REGISTERED,
    ),
    Case(
        "spoofed-payload",
        "GUID of another client, in the payload only",
        "BRIDGE-IDENTITY",
        "A header without GUID, as before a registration. This stand-in goes by the header, and "
        "hands out the policy.",
        say.only_the_payload_names_another,
        refused(403),
        before=_OTHER_REGISTERED,
    ),
    Case(
        "two-guids",
        "one GUID in the header, another in the payload",
        "BRIDGE-IDENTITY",
        "Signed well by whom the header names, to get the policy of whom the payload names.",
        say.header_and_payload_disagree,
        refused(403),
    ),
    Case(
        "injected-guid",
        "SQL in place of a GUID",
        "BRIDGE-IDENTITY",
        "A management point has run what followed `GUID:` in a header (CVE-2024-43468). What is "
        "not exactly a GUID is none.",
        say.injected_guid,
        refused(403),
    ),
    Case(
        "forged-signature",
        "payload other than the signed one",
        "BRIDGE-IDENTITY",
        "The same text, compressed again: signatures are of the bytes as sent. This management "
        "point finds out too, once it has it.",
        say.another_payload_than_was_signed,
        refused(403),
        Disposition.REFUSED_THERE,
    ),
    Case(
        "replayed-download",
        "policy download, replayed",
        "BRIDGE-IDENTITY",
        "Good signatures of another day. Whoever has once read them could send them for ever.",
        say.replayed_policy_download,
        refused(403),
        before=_REGISTERED,
    ),
)
