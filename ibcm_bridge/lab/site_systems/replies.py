"""What the stand-in management point answers to messages (protocol.md 1.7, 2 and 3).

It remembers who registered with which key and checks signatures with it, as a real one would; an
answer it would not give is empty.
"""

from __future__ import annotations

import zlib
from xml.etree import ElementTree as ET

from ibcm_bridge.lab.protocol import answers, ccm
from ibcm_bridge.lab.site_systems.registered import Registered


class MessageReplies:
    """What a management point answers to messages; `leaks` is explained in `answers`."""

    def __init__(self, *, leaks: bool = False) -> None:
        self.clients = Registered()
        self.leaks = leaks

    def reply(self, data: bytes, user: str = "") -> bytes:
        """The answer; empty where a management point says 200 and nothing else (1.7).

        `user` is whom Windows has authenticated.
        """
        try:
            message = ccm.read_message(data)
            header = ET.fromstring(message.header_xml)
            text = message.body_text() or ""
            endpoint = header.findtext("TargetEndpoint", "").lower()
            if not self._may_ask(message, header.findtext("SourceID", ""), endpoint):
                return b""
            answer = self._answer(endpoint, text, user)
        except (ValueError, LookupError, zlib.error, ET.ParseError):
            return b""
        if not answer:
            return ccm.NO_REPLY if endpoint in TAKEN_IN else b""
        plain = answer.encode("utf-16-le") + b"\0\0"
        if header.get("ReplyCompression") == "zlib":
            reply_header = ccm.message_header("SccmMessaging", len(plain))
            return ccm.raw_message(reply_header, zlib.compress(plain))
        reply_header = ccm.message_header("SccmMessaging", len(plain), hooks="")
        return ccm.raw_message(reply_header, plain, inner_type=b"text/plain; charset=UTF-16")

    def _may_ask(self, message: ccm.Message, guid: str, endpoint: str) -> bool:
        if endpoint == REGISTRATION:
            return True  # it is signed in itself, with the key that it is about (3.1)
        # Generous: a real one wants to know who sends a report, too (1.6).
        unsigned = not message.hook_properties() and endpoint not in WANT_SIGNATURES
        return unsigned or self.clients.signed(message, guid)

    def _answer(self, endpoint: str, text: str, user: str) -> str:
        """The document, or nothing."""
        if endpoint == REGISTRATION:
            return self.clients.register(text)
        if endpoint == "mp_policymanager":
            request = ET.fromstring(text)
            source = request.findtext("PolicySource")
            whose = request.findtext("Identification/User/NT4UserName", "")
            if whose:  # USER-WINDOWS-AUTH
                return answers.user_assignments() if same_account(whose, user) else ""
            leaks = self.leaks and source == f"SMS:{answers.LEAKY_SITE}"
            more = {answers.INTRANET_POLICY: answers.INTRANET_ONLY} if leaks else None
            return answers.assignments(more)
        if endpoint in TAKEN_IN and ccm.root(text) != "UploadRequest":
            return ""
        request = ET.fromstring(text)
        if endpoint in TAKEN_IN:
            return answers.upload_reply(request.findtext("MessageID", ""), self._names(request))
        if endpoint == "mp_locationmanager" and request.tag in answers.LOCATIONS:
            return answers.LOCATIONS[request.tag](request, self._names(request))
        return f"<{answers.BARE[endpoint, request.tag]}/>"

    def _names(self, request: ET.Element) -> answers.Names:
        site = request.find("AssignedSite")
        asked = site.get("SiteCode") if site is not None else None
        leaks = self.leaks and asked == answers.LEAKY_SITE
        return answers.INTRANET if leaks or _inside(request) else answers.INTERNET


def _inside(request: ET.Element) -> bool:
    """Whether a client says that it is in the intranet (3.4, 3.6)."""
    client = request.find("ClientLocationInfo")
    said = client.get("OnInternet") if client is not None else request.findtext("NetworkType")
    return said == "0"


def same_account(one: str, other: str) -> bool:
    r"""Whether two names are one account: CORP\alice (3.2, NTLM), alice@CORP.EXAMPLE (Kerberos)."""
    return bool(other) and _account(one) == _account(other)


def _account(name: str) -> tuple[str, str]:
    domain, _, user = name.rpartition("\\")
    if not domain:
        user, _, domain = name.partition("@")
    return domain.partition(".")[0].lower(), user.lower()


REGISTRATION = "mp_clientregistration"

TAKEN_IN = frozenset(
    ["mp_ddrendpoint", "mp_hinvendpoint", "mp_sinvendpoint", "mp_relayendpoint", "statusreceiver"]
)
"""Endpoints whose messages are asynchronous (2.1): `NoReply`."""

WANT_SIGNATURES = frozenset(["mp_policymanager"])
"""Endpoints for clients that sign (2.1, ClientSigned)."""
