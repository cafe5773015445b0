"""The site systems of the lab: their names, whom they let in, and how they respond.

How it works (section numbers are those of protocol.md):

1. A row of `STAND_INS` is a site system. Where it authenticates clients per directory, as IIS
   does, a directory wants a certificate for client authentication or answers 403; its dangerous
   siblings (1.1, 7, 8.2) answer everybody: that is what the bridge is there for.
2. As in IIS, paths are decoded and case does not matter.
3. A method nobody knows is answered 200, so that what gets through is seen to get through.

Roles with more to say have a file of their own: `update_point`, `policy_module`; for the management
point `message_replies`, `reply_documents` and `registrations`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import unquote
from xml.sax.saxutils import escape

from ibcm_bridge.lab.protocol import ccm, reply_documents, wsus
from ibcm_bridge.lab.protocol.content import VALIDATORS, ServerResponse, listed, named
from ibcm_bridge.lab.protocol.uploads import UploadServer
from ibcm_bridge.lab.site_systems.message_replies import MessageReplies
from ibcm_bridge.lab.site_systems.policy_module import policy_module
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
"""Directories that ask for no certificate (1.1, 4, 7)."""

WINDOWS_DIRECTORIES = re.compile(r".*_windowsauth")
"""Directories of a management point that ask for a user (1.1, 4)."""


class ClientAuthentication(StrEnum):
    """What a site system makes of client certificates."""

    PER_DIRECTORY = "asked for; directories insist on it"
    ALWAYS = "no connection without one"
    IGNORED = "not asked for"
    PLAINTEXT = "no TLS"


@dataclass
class Site:
    """What the site systems of one lab have in common."""

    download_bytes: int
    leaks: bool = False
    """Whether it tells names of the intranet, and policy for it, to who asks (`answers`)."""
    enrollment: Enrollment | None = None
    """Issues certificates to who asks NDES for one; None where nobody does."""
    messages: MessageReplies = field(init=False)
    uploads: UploadServer = field(init=False)

    def __post_init__(self) -> None:
        self.messages = MessageReplies(leaks=self.leaks)
        self.uploads = UploadServer("mp01.corp.example" if self.leaks else "")


@dataclass(frozen=True)
class StandIn:
    """A site system. `port` is where the shipped policy looks for it, on loopback."""

    role: str
    port: int
    names: tuple[str, ...]
    client_authentication: ClientAuthentication
    respond: Callable[[ServerRequest, Site], ServerResponse]
    foreign: bool = False
    """Whether its certificate is from an authority that nobody here trusts."""
    users: re.Pattern[str] | None = None
    """Directories in which Windows authentication says who the user is (10)."""


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
        return ServerResponse(200, b"MZ: the client's setup files", VALIDATORS)
    unpublished = _UNPUBLISHED.get(request.directory)
    return NOT_FOUND if unpublished is None else ServerResponse(200, unpublished, TEXT)


_UNPUBLISHED = {  # 4
    "ccm_sts": b"stand-in for a token",
    "cmuserservice": b"stand-in for the applications of users",
    "cmuserservice_windowsauth": b"stand-in for the applications of a user",
    "bgb": b"stand-in for client notification",
}
"""What a management point has beside what is published."""


def _policy_or_authority(request: ServerRequest, messages: MessageReplies) -> ServerResponse:
    query = unquote(request.query)
    if request.rest == ".sms_pol":
        policy = query.rpartition(".")[0].upper()
        flags = reply_documents.POLICIES.get(policy, 0)
        wants = flags & (reply_documents.REQUIRES_AUTH | reply_documents.SECRET)
        unknown = wants and not messages.clients.signed_fields(request.headers)
        if unknown or (policy == reply_documents.USER_POLICY and not request.user):
            return ServerResponse(200, reply_documents.ERROR_PAGE, HTML)
    return ServerResponse(200, reply_documents.authority(query), XML)


def distribution_point(request: ServerRequest, site: Site) -> ServerResponse:
    """7."""
    if request.method == "PROPFIND":
        return ServerResponse(207, _multistatus(request, site), XML)
    if request.method not in READ_METHODS:
        return ACCEPTED
    if request.rest.endswith("/sccm") and request.query.startswith("/"):
        if (file := named(request.query)) is not None:
            return file
        update = request.rest.startswith(wsus.CONTENT.lower())
        return ServerResponse(200, range(wsus.SIZE if update else site.download_bytes), VALIDATORS)
    if request.rest.startswith(("datalib", "filelib")):
        return ServerResponse(200, b"what a distribution point should not list", TEXT)
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
    """7: the names in it are absolute, with the name that was asked for or the intranet's."""
    leaks = site.leaks and request.rest.startswith(reply_documents.LEAKY_SITE.lower())
    name = "dp01.corp.example" if leaks else request.headers.get("host", "")
    where = f"https://{name}/{request.directory}/{request.rest}"
    responses = (
        f"<D:response><D:href>{escape(where)}/sccm?{escape(query)}</D:href><D:propstat>"
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
            users=re.compile(".*"),  # it wants to know the user, whatever the request
        ),
        StandIn(
            "impostor",  # someone who says to be the management point
            9440,
            ("mp01.corp.example", "mp-forged-tunnel.internet.example"),
            ClientAuthentication.IGNORED,
            lambda _asked, _site: ACCEPTED,
            foreign=True,
        ),
    )
}
