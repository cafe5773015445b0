"""The replies of the simulated management point to messages (protocol.md 1.7, 2 and 3).

It stores the key of each registration, and verifies signatures with it. A refusal is an empty
reply.
"""

from __future__ import annotations

import zlib
from xml.etree import ElementTree as ET

from ibcm_bridge.lab.protocol import ccm, reply_documents
from ibcm_bridge.lab.site_systems.cloud_distribution_point import CloudContent
from ibcm_bridge.lab.site_systems.registrations import Registrations


class MessageReplies:
    """Replies to messages; `reply_documents` explains `leaks`."""

    def __init__(
        self,
        *,
        leaks: bool = False,
        site: reply_documents.SiteNames = reply_documents.LAB,
        cloud: CloudContent | None = None,
    ) -> None:
        self.clients = Registrations()
        self.leaks = leaks
        self.site = site
        self.cloud = cloud

    def reply(self, data: bytes, user: str = "") -> bytes:
        """Return the reply; empty if the message is refused (1.7).

        `user` is the user that Windows authenticated.
        """
        try:
            message = ccm.read_message(data)
            header = ET.fromstring(message.header_xml)
            text = message.body_text() or ""
            endpoint = header.findtext("TargetEndpoint", "").lower()
            if not self._is_authorized(message, header.findtext("SourceID", ""), endpoint):
                return b""
            document = self._reply_document(endpoint, text, user)
        except (ValueError, LookupError, zlib.error, ET.ParseError):
            return b""
        if not document:
            return ccm.NO_REPLY if endpoint in ASYNCHRONOUS else b""
        plain = document.encode("utf-16-le") + b"\0\0"
        if header.get("ReplyCompression") == "zlib":
            reply_header = ccm.message_header("SccmMessaging", len(plain))
            return ccm.raw_message(reply_header, zlib.compress(plain))
        reply_header = ccm.message_header("SccmMessaging", len(plain), hooks="")
        return ccm.raw_message(reply_header, plain, inner_type=b"text/plain; charset=UTF-16")

    def _is_authorized(self, message: ccm.Message, guid: str, endpoint: str) -> bool:
        if endpoint == REGISTRATION:
            return True  # its document is signed with the registered key (3.1)
        # A real management point also requires signed reports (1.6).
        unsigned = not message.hook_properties() and endpoint not in SIGNATURE_REQUIRED
        return unsigned or self.clients.signed(message, guid)

    def _reply_document(self, endpoint: str, text: str, user: str) -> str:
        """Return the document of the reply; empty if there is none."""
        if endpoint == REGISTRATION:
            return self.clients.register(text)
        if endpoint == "mp_policymanager":
            request = ET.fromstring(text)
            source = request.findtext("PolicySource")
            account = request.findtext("Identification/User/NT4UserName", "")
            if account:  # USER-WINDOWS-AUTH
                is_user = same_account(account, user)
                return reply_documents.user_assignments() if is_user else ""
            leaks = self.leaks and source == f"SMS:{reply_documents.LEAKY_SITE}"
            more = (
                {reply_documents.INTRANET_POLICY: reply_documents.INTRANET_ONLY} if leaks else None
            )
            return reply_documents.assignments(more)
        if endpoint in ASYNCHRONOUS and ccm.root(text) != "UploadRequest":
            return ""
        request = ET.fromstring(text)
        if endpoint in ASYNCHRONOUS:
            return reply_documents.upload_reply(
                request.findtext("MessageID", ""), self._names(request)
            )
        if self.cloud is not None and self.cloud.is_requested(request):
            names = self._names(request)._replace(distribution_points=(self.cloud.name,))
            token = self.cloud.tokens.issue(self.cloud.package)
            return reply_documents.content_location(request, names, token)
        if endpoint == "mp_locationmanager" and request.tag in reply_documents.LOCATIONS:
            return reply_documents.LOCATIONS[request.tag](request, self._names(request))
        return f"<{reply_documents.BARE[endpoint, request.tag]}/>"

    def _names(self, request: ET.Element) -> reply_documents.Names:
        site = request.find("AssignedSite")
        site_code = site.get("SiteCode") if site is not None else None
        leaks = self.leaks and site_code == reply_documents.LEAKY_SITE
        inside = leaks or _on_intranet(request)
        return self.site.intranet if inside else self.site.internet


def _on_intranet(request: ET.Element) -> bool:
    """Return whether the request names the intranet as the client's network (3.4, 3.6)."""
    client = request.find("ClientLocationInfo")
    on_internet = (
        client.get("OnInternet") if client is not None else request.findtext("NetworkType")
    )
    return on_internet == "0"


def same_account(name: str, other: str) -> bool:
    r"""Return whether CORP\alice (3.2, NTLM) and alice@CORP.EXAMPLE (Kerberos) are one account."""
    return bool(other) and _account(name) == _account(other)


def _account(name: str) -> tuple[str, str]:
    domain, _, user = name.rpartition("\\")
    if not domain:
        user, _, domain = name.partition("@")
    return domain.partition(".")[0].lower(), user.lower()


REGISTRATION = "mp_clientregistration"

ASYNCHRONOUS = frozenset(
    ["mp_ddrendpoint", "mp_hinvendpoint", "mp_sinvendpoint", "mp_relayendpoint", "statusreceiver"]
)
"""Endpoints with asynchronous messages (2.1); the reply is `NoReply`."""

SIGNATURE_REQUIRED = frozenset(["mp_policymanager"])
"""Endpoints that require signed messages (2.1, ClientSigned)."""
