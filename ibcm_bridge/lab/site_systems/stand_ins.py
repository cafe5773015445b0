"""The simulated site systems: names, client authentication, and responses.

How it works (section numbers are those of protocol.md):

1. A row of `STAND_INS` is a site system. If it authenticates clients per directory, as IIS does, a
   directory returns 403 without a client certificate. Its dangerous sibling directories (1.1, 7,
   8.2) respond to everybody; the bridge must refuse requests to them.
2. Paths are decoded and case-insensitive, as in IIS.
3. An unknown method gets a 200, so that a test detects a request that the bridge did not refuse.

Complex roles are in separate files: `update_point`, `policy_module`; for the management point
`message_replies`, `reply_documents` and `registrations`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import unquote
from xml.sax.saxutils import escape

from ibcm_bridge.lab.protocol import ccm, reply_documents, wsus
from ibcm_bridge.lab.protocol.content import VALIDATORS, ServerResponse, listed, named, paced
from ibcm_bridge.lab.protocol.uploads import UploadServer
from ibcm_bridge.lab.site_systems.cloud_distribution_point import CloudContent
from ibcm_bridge.lab.site_systems.message_replies import MessageReplies
from ibcm_bridge.lab.site_systems.policy_module import policy_module
from ibcm_bridge.lab.site_systems.published import SIGN_IN_INSIDE
from ibcm_bridge.lab.site_systems.scep import Enrollment
from ibcm_bridge.lab.site_systems.server_request import (
    ACCEPTED,
    HTML,
    NOT_FOUND,
    READ_METHODS,
    TEXT,
    XML,
    ServerRequest,
)
from ibcm_bridge.lab.site_systems.update_point import software_update_point

ANONYMOUS_DIRECTORIES = re.compile(
    r"(nocert|ccmtokenauth)_.*|.*_(altauth|tokenauth)|ccm_(client|sts)"
)
"""Directories that require no certificate (1.1, 4, 7)."""

WINDOWS_DIRECTORIES = re.compile(r".*_windowsauth")
"""Directories of a management point that require an authenticated user (1.1, 4)."""


class ClientAuthentication(StrEnum):
    """The client authentication of a site system."""

    PER_DIRECTORY = "requested in the handshake, required by directories"
    ALWAYS = "required in the handshake"
    IGNORED = "not requested"
    PLAINTEXT = "no TLS"


@dataclass
class Site:
    """The shared state of the site systems of a lab."""

    download_bytes: int
    leaks: bool = False
    """True if replies about `LEAKY_SITE` contain intranet names and policies."""
    enrollment: Enrollment | None = None
    """Issues certificates for NDES; None without NDES."""
    names: reply_documents.SiteNames = reply_documents.LAB
    """The names in replies."""
    cloud: CloudContent | None = None
    """The content that only a cloud distribution point has."""
    messages: MessageReplies = field(init=False)
    uploads: UploadServer = field(init=False)

    def __post_init__(self) -> None:
        self.messages = MessageReplies(leaks=self.leaks, site=self.names, cloud=self.cloud)
        self.uploads = UploadServer("mp01.corp.example" if self.leaks else "")


@dataclass(frozen=True)
class StandIn:
    """A simulated site system. `port` is its loopback port in the shipped policy."""

    role: str
    port: int
    names: tuple[str, ...]
    client_authentication: ClientAuthentication
    respond: Callable[[ServerRequest, Site], ServerResponse]
    foreign: bool = False
    """True if its certificate is from an untrusted CA."""
    users: re.Pattern[str] | None = None
    """Directories with Windows authentication (10)."""
    delay: float = 0.0
    """Seconds before each response, as over a slow line."""
    verifies_users: bool = False
    """True if it accepts only users of the lab's domain, whatever `SiteSystems` does."""


def management_point(request: ServerRequest, site: Site) -> ServerResponse:
    """1 to 6."""
    if request.method == "CCM_POST" and request.directory.startswith("ccm_system"):
        reply = site.messages.reply(request.body, request.user)
        return ServerResponse(200, reply, {"Content-Type": ccm.CONTENT_TYPE})
    if request.method == "BITS_POST":
        return site.uploads.respond(
            f"{request.directory}/{request.rest}", request.headers, request.body
        )
    if request.method not in READ_METHODS:
        return ACCEPTED
    if request.directory.startswith("sms_mp") and request.query:
        return _policy_or_authority(request, site.messages)
    if request.directory == "ccm_client" and request.rest:
        return ServerResponse(200, b"MZ: client setup files", VALIDATORS)
    unpublished = _UNPUBLISHED.get(request.directory)
    return NOT_FOUND if unpublished is None else ServerResponse(200, unpublished, TEXT)


_UNPUBLISHED = {  # 4
    "ccm_sts": b"simulated token",
    "cmuserservice": b"simulated applications of users",
    "cmuserservice_windowsauth": b"simulated applications of a user",
    "bgb": b"simulated client notification",
}
"""Directories of a management point that are not published."""


def _policy_or_authority(request: ServerRequest, messages: MessageReplies) -> ServerResponse:
    query = unquote(request.query)
    if request.rest == ".sms_pol":
        policy = query.rpartition(".")[0].upper()
        flags = reply_documents.POLICIES.get(policy, 0)
        wants = flags & (reply_documents.REQUIRES_AUTH | reply_documents.SECRET)
        unknown = wants and not messages.clients.signed_fields(request.headers)
        if unknown or (policy == reply_documents.USER_POLICY and not request.user):
            return ServerResponse(200, reply_documents.ERROR_PAGE, HTML)
    return ServerResponse(200, reply_documents.authority(query, messages.site.internet), XML)


def distribution_point(request: ServerRequest, site: Site) -> ServerResponse:
    """7."""
    if request.method == "PROPFIND":
        return ServerResponse(207, _multistatus(request, site), XML)
    if request.method not in READ_METHODS:
        return ACCEPTED
    if request.rest.endswith("/sccm") and request.query.startswith("/"):
        if (file := paced(request.query) or named(request.query)) is not None:
            return file
        update = request.rest.startswith(wsus.CONTENT.lower())
        return ServerResponse(200, range(wsus.SIZE if update else site.download_bytes), VALIDATORS)
    if request.rest.startswith(("datalib", "filelib")):
        return ServerResponse(200, b"content library, which must not be published", TEXT)
    if request.directory.endswith("sms_dp_smssig$") and request.rest.endswith(".tar"):
        return ServerResponse(200, range(4096), VALIDATORS)
    return NOT_FOUND


def fallback_status_point(request: ServerRequest, _site: Site) -> ServerResponse:
    """8.1."""
    if (request.directory, request.rest) == ("sms_fsp", ".sms_fsp"):
        return ServerResponse(200, b"", TEXT)
    return ACCEPTED if request.method not in READ_METHODS else NOT_FOUND


def application_catalog(request: ServerRequest, _site: Site) -> ServerResponse:
    """8.3."""
    if request.directory == "cmapplicationcatalog" and request.method in READ_METHODS:
        return ServerResponse(200, b"<html>Application Catalog</html>", HTML)
    return ACCEPTED if request.method not in READ_METHODS else NOT_FOUND


def enrollment_by_scep(request: ServerRequest, site: Site) -> ServerResponse:
    """8.4."""
    return NOT_FOUND if site.enrollment is None else policy_module(request, site.enrollment)


def enrollment_proxy_point(request: ServerRequest, _site: Site) -> ServerResponse:
    """8.4."""
    if request.directory == "enrollmentserver":
        return ServerResponse(200, _DISCOVERED, XML)
    return ACCEPTED if request.method not in READ_METHODS else NOT_FOUND


_DISCOVERED = (
    b'<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/'
    b'envelope/"><s:Body><DiscoverResponse/></s:Body></s:Envelope>'
)


def _multistatus(request: ServerRequest, site: Site) -> bytes:
    """7: URLs are absolute, with the name in Host or, if it leaks, the intranet name."""
    leaks = site.leaks and request.rest.startswith(reply_documents.LEAKY_SITE.lower())
    name = "dp01.corp.example" if leaks else request.headers.get("host", "")
    url = f"https://{name}/{request.directory}/{request.rest}"
    responses = (
        f"<D:response><D:href>{escape(url)}/sccm?{escape(query)}</D:href><D:propstat>"
        f"<D:status>HTTP/1.1 200 OK</D:status><D:prop><D:getcontentlength>{size}"
        "</D:getcontentlength><D:iscollection>0</D:iscollection></D:prop></D:propstat>"
        "</D:response>"
        for query, size in listed(site.download_bytes)
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?><D:multistatus xmlns:D="DAV:">'
        f"{''.join(responses)}</D:multistatus>"
    ).encode()


STAND_INS = {
    stand_in.role: stand_in
    for stand_in in (
        StandIn(
            "management-point",
            9443,
            ("mp01.corp.example", "mp-tunnel.internet.example"),
            ClientAuthentication.PER_DIRECTORY,
            management_point,
            users=WINDOWS_DIRECTORIES,
        ),
        StandIn(
            "distribution-point",
            9444,
            ("dp01.corp.example", "dp-tunnel.internet.example"),
            ClientAuthentication.PER_DIRECTORY,
            distribution_point,
        ),
        StandIn(
            "software-update-point",
            9445,
            ("sup01.corp.example", "sup-tunnel.internet.example"),
            ClientAuthentication.IGNORED,
            lambda request, _site: software_update_point(request),
        ),
        StandIn(
            "fallback-status-point",
            9446,
            ("fsp01.corp.example",),
            ClientAuthentication.PLAINTEXT,
            fallback_status_point,
        ),
        StandIn(
            "enrollment-proxy-point",
            9447,
            ("enroll01.corp.example", "enroll.internet.example"),
            ClientAuthentication.ALWAYS,
            enrollment_proxy_point,
        ),
        StandIn(
            "policy-module",
            9448,
            ("ndes01.corp.example", "ndes.internet.example"),
            ClientAuthentication.IGNORED,
            enrollment_by_scep,
        ),
        StandIn(
            "application-catalog-website-point",
            9449,
            ("catalog01.corp.example", "catalog-tunnel.internet.example"),
            ClientAuthentication.IGNORED,
            application_catalog,
            users=re.compile(".*"),  # for each request
        ),
        StandIn(
            "management-point-of-users",
            9450,
            (SIGN_IN_INSIDE,),
            ClientAuthentication.PER_DIRECTORY,
            management_point,
            users=WINDOWS_DIRECTORIES,
            verifies_users=True,
        ),
        StandIn(
            "impostor",  # a server that claims to be the management point
            9440,
            ("mp01.corp.example", "mp-forged-tunnel.internet.example"),
            ClientAuthentication.IGNORED,
            lambda _request, _site: ACCEPTED,
            foreign=True,
        ),
    )
}
