"""The site systems of the lab: their names, whom they let in, and what they answer.

How it works (section numbers are those of protocol.md):

1. A row of `STAND_INS` is a site system. Where it authenticates clients per directory, as IIS
   does, a directory wants a certificate for client authentication or answers 403; its dangerous
   siblings (1.1, 7, 8.2) answer everybody: that is what the bridge is there for.
2. As in IIS, paths are decoded and case does not matter.
3. A method nobody knows is answered 200, so that what gets through is seen to get through.

Roles with more to say have a file of their own: `update_point`, `policy_module`; for the management
point `replies`, `answers` and `registered`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import unquote
from xml.sax.saxutils import escape

from ibcm_bridge.lab.protocol import answers, ccm, updates
from ibcm_bridge.lab.protocol.content import VALIDATORS, Answer, listed, named
from ibcm_bridge.lab.protocol.uploads import UploadServer
from ibcm_bridge.lab.site_systems.asked import ANYTHING, HTML, NOT_FOUND, READING, TEXT, XML, Asked
from ibcm_bridge.lab.site_systems.policy_module import policy_module
from ibcm_bridge.lab.site_systems.replies import MessageReplies
from ibcm_bridge.lab.site_systems.scep import Enrollment
from ibcm_bridge.lab.site_systems.update_point import software_update_point

ANYBODY = re.compile(r"(nocert|ccmtokenauth)_.*|.*_(altauth|tokenauth)|ccm_(client|sts)")
"""Directories that ask for no certificate (1.1, 4, 7)."""

WINDOWS_USERS = re.compile(r".*_windowsauth")
"""Directories of a management point that ask for a user (1.1, 4)."""


class Demand(StrEnum):
    """What a site system makes of client certificates."""

    BY_DIRECTORY = "asked for; directories insist on it"
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
    demand: Demand
    answer: Callable[[Asked, Site], Answer]
    foreign: bool = False
    """Whether its certificate is from an authority that nobody here trusts."""
    users: re.Pattern[str] | None = None
    """Directories in which Windows authentication says who the user is (10)."""


def management_point(asked: Asked, site: Site) -> Answer:
    """1 to 6."""
    if asked.method == "CCM_POST" and asked.directory.startswith("ccm_system"):
        reply = site.messages.reply(asked.body, asked.user)
        return Answer(200, reply, {"Content-Type": ccm.CONTENT_TYPE})
    if asked.method == "BITS_POST":
        return site.uploads.answer(f"{asked.directory}/{asked.rest}", asked.headers, asked.body)
    if asked.method not in READING:
        return ANYTHING
    if asked.directory.startswith("sms_mp") and asked.query:
        return _policy_or_authority(asked, site.messages)
    if asked.directory == "ccm_client" and asked.rest:
        return Answer(200, b"MZ: the client's setup files", VALIDATORS)
    beside = _BESIDE.get(asked.directory)
    return NOT_FOUND if beside is None else Answer(200, beside, TEXT)


_BESIDE = {  # 4
    "ccm_sts": b"stand-in for a token",
    "cmuserservice": b"stand-in for the applications of users",
    "cmuserservice_windowsauth": b"stand-in for the applications of a user",
    "bgb": b"stand-in for client notification",
}
"""What a management point has beside what is published."""


def _policy_or_authority(asked: Asked, messages: MessageReplies) -> Answer:
    query = unquote(asked.query)
    if asked.rest == ".sms_pol":
        policy = query.rpartition(".")[0].upper()
        flags = answers.POLICIES.get(policy, 0)
        wants = flags & (answers.REQUIRES_AUTH | answers.SECRET)
        unknown = wants and not messages.clients.signed_fields(asked.headers)
        if unknown or (policy == answers.USER_POLICY and not asked.user):
            return Answer(200, answers.ERROR_PAGE, HTML)
    return Answer(200, answers.authority(query), XML)


def distribution_point(asked: Asked, site: Site) -> Answer:
    """7."""
    if asked.method == "PROPFIND":
        return Answer(207, _multistatus(asked, site), XML)
    if asked.method not in READING:
        return ANYTHING
    if asked.rest.endswith("/sccm") and asked.query.startswith("/"):
        if (file := named(asked.query)) is not None:
            return file
        update = asked.rest.startswith(updates.CONTENT.lower())
        return Answer(200, range(updates.SIZE if update else site.download_bytes), VALIDATORS)
    if asked.rest.startswith(("datalib", "filelib")):
        return Answer(200, b"what a distribution point should not list", TEXT)
    if asked.directory.endswith("sms_dp_smssig$") and asked.rest.endswith(".tar"):
        return Answer(200, range(4096), VALIDATORS)
    return NOT_FOUND


def fallback_status_point(asked: Asked, _site: Site) -> Answer:
    """8.1."""
    if (asked.directory, asked.rest) == ("sms_fsp", ".sms_fsp"):
        return Answer(200, b"", TEXT)
    return ANYTHING if asked.method not in READING else NOT_FOUND


def application_catalog(asked: Asked, _site: Site) -> Answer:
    """8.3."""
    if asked.directory == "cmapplicationcatalog" and asked.method in READING:
        return Answer(200, b"<html>Application Catalog</html>", HTML)
    return ANYTHING if asked.method not in READING else NOT_FOUND


def enrollment_by_scep(asked: Asked, site: Site) -> Answer:
    """8.4."""
    return NOT_FOUND if site.enrollment is None else policy_module(asked, site.enrollment)


def enrollment_proxy_point(asked: Asked, _site: Site) -> Answer:
    """8.4."""
    if asked.directory == "enrollmentserver":
        return Answer(200, _DISCOVERED, XML)
    return ANYTHING if asked.method not in READING else NOT_FOUND


_DISCOVERED = (
    b'<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/'
    b'envelope/"><s:Body><DiscoverResponse/></s:Body></s:Envelope>'
)


def _multistatus(asked: Asked, site: Site) -> bytes:
    """7: the names in it are absolute, with the name that was asked for or the intranet's."""
    leaks = site.leaks and asked.rest.startswith(answers.LEAKY_SITE.lower())
    name = "dp01.corp.example" if leaks else asked.headers.get("host", "")
    where = f"https://{name}/{asked.directory}/{asked.rest}"
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
    one.role: one
    for one in (
        StandIn(
            "management-point",
            9443,
            ("mp01.corp.example", "mp-tunnel.internet.example"),
            Demand.BY_DIRECTORY,
            management_point,
            users=WINDOWS_USERS,
        ),
        StandIn(
            "distribution-point",
            9444,
            ("dp01.corp.example", "dp-tunnel.internet.example"),
            Demand.BY_DIRECTORY,
            distribution_point,
        ),
        StandIn(
            "software-update-point",
            9445,
            ("sup01.corp.example", "sup-tunnel.internet.example"),
            Demand.IGNORED,
            lambda asked, _site: software_update_point(asked),
        ),
        StandIn(
            "fallback-status-point",
            9446,
            ("fsp01.corp.example",),
            Demand.PLAINTEXT,
            fallback_status_point,
        ),
        StandIn(
            "enrollment-proxy-point",
            9447,
            ("enroll01.corp.example", "enroll.internet.example"),
            Demand.ALWAYS,
            enrollment_proxy_point,
        ),
        StandIn(
            "policy-module",
            9448,
            ("ndes01.corp.example", "ndes.internet.example"),
            Demand.IGNORED,
            enrollment_by_scep,
        ),
        StandIn(
            "application-catalog-website-point",
            9449,
            ("catalog01.corp.example", "catalog-tunnel.internet.example"),
            Demand.IGNORED,
            application_catalog,
            users=re.compile(".*"),  # it wants to know the user, whatever the request
        ),
        StandIn(
            "impostor",  # someone who says to be the management point
            9440,
            ("mp01.corp.example", "mp-forged-tunnel.internet.example"),
            Demand.IGNORED,
            lambda _asked, _site: ANYTHING,
            foreign=True,
        ),
    )
}
