"""Cases about the head of a request: fields, ranges and the announced body."""

from __future__ import annotations

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.cases import requests
from ibcm_bridge.lab.cases.case import DP_TUNNEL, Case, accepted, refused

HEADS = (
    Case(
        "overlapping-ranges",
        "overlapping byte ranges (CVE-2011-3192)",
        "HEADER-DP",
        "A small request that asks for the same bytes many times. BITS never asks twice for a "
        "byte, so the bridge refuses it.",
        requests.overlapping_ranges,
        refused(403, Reason.HEADER, "head.range"),
        tunnel_to=DP_TUNNEL,
        other_requirements=("HEADER-MP",),
    ),
    Case(
        "credentials",
        "user's credentials on a computer publication",
        "USER-WINDOWS-AUTH",
        "This publication does not opt in to Windows authentication. The bridge removes "
        "Authorization, so a site system cannot take the computer for a user.",
        requests.plain("GET", "/SMS_MP/.sms_aut?MPLIST", requests.TICKET),
        accepted("management-point.verbs.GET"),
        dropped=("Authorization",),
    ),
    Case(
        "removed-by-connection",
        "Connection that lists a signature field",
        "HTTP-1.1",
        "A proxy removes the fields that Connection lists. A client must not remove its signature "
        "in this way.",
        requests.without_signature,
        refused(403, Reason.HEADER, "head.connection"),
    ),
    Case(
        "body-of-a-get",
        "GET with a body",
        "BRIDGE-INSPECT",
        "Some servers ignore the body, and read it as the next request.",
        requests.body_of_a_get,
        refused(400, Reason.BODY_NOT_ALLOWED, "bodies.none.limit"),
    ),
    Case(
        "wrong-media-type",
        "message of type text/xml",
        "HTTP-MULTIPART",
        "A message is multipart/mixed. The bridge inspects a body by its type, so another type is "
        "refused.",
        requests.wrong_media_type,
        refused(415, Reason.MEDIA_TYPE, "bodies.ccm-message.media_types"),
    ),
)
