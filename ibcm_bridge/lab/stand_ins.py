"""The site systems of the lab: their names, whom they let in, and what they answer.

How it works (section numbers are those of protocol.md):

1. A row of `STAND_INS` is a site system. Where it authenticates clients per directory, as IIS
   does, a directory wants a certificate for client authentication or answers 403; its dangerous
   siblings (1.1, 7, 8.2) answer everybody: that is what the bridge is there for.
2. As in IIS, paths are decoded and case does not matter.
3. A method nobody knows is answered 200, so that what gets through is seen to get through.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from posixpath import normpath
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape

from ibcm_bridge.lab import answers, ccm
from ibcm_bridge.lab.content import VALIDATORS, Answer
from ibcm_bridge.lab.replies import MessageReplies
from ibcm_bridge.lab.uploads import UploadServer

ANYBODY = re.compile(r"(nocert|ccmtokenauth)_.*|.*_(altauth|tokenauth)|ccm_(client|sts)")
"""Directories that ask for no certificate (1.1, 4, 7)."""

READING = {"GET", "HEAD"}
XML = {"Content-Type": "text/xml"}
TEXT = {"Content-Type": "text/plain"}
ANYTHING = Answer(200, b"stand-in accepts anything", TEXT)
NOT_FOUND = Answer(404, b"Not found", TEXT)
WHO_ARE_YOU = Answer(401, b"Unauthorized", TEXT | {"WWW-Authenticate": "Negotiate, NTLM"})
"""Windows authentication (10): whatever then comes as Authorization is believed."""


class Demand(StrEnum):
    """What a site system makes of client certificates."""

    BY_DIRECTORY = "asked for; directories insist on it"
    ALWAYS = "no connection without one"
    IGNORED = "not asked for"
    PLAINTEXT = "no TLS"


@dataclass(frozen=True)
class Asked:
    """A request, as IIS would understand its target."""

    method: str
    directory: str
    rest: str
    """What follows the directory."""
    query: str
    body: bytes
    headers: dict[str, str]
    """By name in lower case."""


@dataclass
class Site:
    """What the site systems of one lab have in common."""

    download_bytes: int
    leaks: bool = False
    """Whether it tells names of the intranet, and policy for it, to who asks (`answers`)."""
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


def place(target: str) -> tuple[str, str, str]:
    """Directory, what is below it, and query, as IIS would understand the target."""
    path, _, query = re.sub(r"^https?://[^/]*", "", target).partition("?")
    plain = normpath(unquote(path, "latin-1").replace("\\", "/")).lower().strip("/")
    directory, _, rest = plain.partition("/")
    return directory, rest, query


def management_point(asked: Asked, site: Site) -> Answer:
    """1 to 6."""
    if asked.directory.endswith("_windowsauth") and "authorization" not in asked.headers:
        return WHO_ARE_YOU
    if asked.method == "CCM_POST" and asked.directory.startswith("ccm_system"):
        return Answer(200, site.messages.reply(asked.body), {"Content-Type": ccm.CONTENT_TYPE})
    if asked.method == "BITS_POST":
        return site.uploads.answer(f"{asked.directory}/{asked.rest}", asked.headers, asked.body)
    if asked.method not in READING:
        return ANYTHING
    if asked.directory.startswith("sms_mp") and asked.query:
        return _policy_or_authority(asked, site.messages)
    if asked.directory == "ccm_client" and asked.rest:
        return Answer(200, b"MZ: the client's setup files", VALIDATORS)
    return NOT_FOUND


def _policy_or_authority(asked: Asked, messages: MessageReplies) -> Answer:
    query = unquote(asked.query)
    if asked.rest == ".sms_pol":
        flags = answers.POLICIES.get(query.rpartition(".")[0].upper(), 0)
        wants = flags & (answers.REQUIRES_AUTH | answers.SECRET)
        if wants and not messages.clients.signed_fields(asked.headers):
            return Answer(200, answers.ERROR_PAGE, {"Content-Type": "text/html"})
    return Answer(200, answers.authority(query), XML)


def distribution_point(asked: Asked, site: Site) -> Answer:
    """7."""
    if asked.method == "PROPFIND":
        return Answer(207, _multistatus(asked, site), XML)
    if asked.method not in READING:
        return ANYTHING
    if asked.rest.endswith("/sccm") and asked.query.startswith("/"):
        return Answer(200, range(site.download_bytes), VALIDATORS)
    if asked.rest.startswith(("datalib", "filelib")):
        return Answer(200, b"what a distribution point should not list", TEXT)
    if asked.directory.endswith("sms_dp_smssig$") and asked.rest.endswith(".tar"):
        return Answer(200, range(4096), VALIDATORS)
    return NOT_FOUND


def software_update_point(asked: Asked, _site: Site) -> Answer:
    """8.2: the services of clients and those of administrators, which answer just as readily."""
    service = f"{asked.directory}/{asked.rest}"
    if asked.method == "POST" and asked.rest.endswith(".asmx"):
        action = asked.headers.get("soapaction", "").strip('"').rpartition("/")[2] or "Unnamed"
        return Answer(200, _soap(f"{action}Response"), XML)
    if asked.method not in READING:
        return ANYTHING
    if asked.directory == "selfupdate" and service.endswith(".cab"):
        return Answer(200, range(4096), VALIDATORS)
    return Answer(200, _soap(asked.directory), XML) if ".asmx" in service else NOT_FOUND


def fallback_status_point(asked: Asked, _site: Site) -> Answer:
    """8.1."""
    if (asked.directory, asked.rest) == ("sms_fsp", ".sms_fsp"):
        return Answer(200, b"", TEXT)
    return ANYTHING if asked.method not in READING else NOT_FOUND


def application_catalog(asked: Asked, _site: Site) -> Answer:
    """8.3: it wants to know the user, whatever the request."""
    if "authorization" not in asked.headers:
        return WHO_ARE_YOU
    if asked.directory == "cmapplicationcatalog" and asked.method in READING:
        return Answer(200, b"<html>Application Catalog</html>", {"Content-Type": "text/html"})
    return ANYTHING if asked.method not in READING else NOT_FOUND


def enrollment_proxy_point(asked: Asked, _site: Site) -> Answer:
    """8.4."""
    if asked.directory == "enrollmentserver":
        return Answer(200, _soap("DiscoverResponse"), XML)
    return ANYTHING if asked.method not in READING else NOT_FOUND


def policy_module(asked: Asked, _site: Site) -> Answer:
    """8.4; RFC 8894: the device has no certificate yet, and comes for one."""
    operation = parse_qs(asked.query).get("operation", [""])[0]
    if (asked.directory, asked.rest) == ("certsrv", "mscep/mscep.dll") and operation in _SCEP:
        kind, body = _SCEP[operation]
        return Answer(200, body, {"Content-Type": kind})
    return ANYTHING if asked.method not in READING else NOT_FOUND


_SCEP = {  # RFC 8894, 3.5 and 4
    "GetCACaps": ("text/plain", b"POSTPKIOperation\nSHA-256\nAES\n"),
    "GetCACert": ("application/x-x509-ca-cert", b"stand-in for a certificate"),
    "PKIOperation": ("application/x-pki-message", b"stand-in for a signed answer"),
}


def _soap(name: str) -> bytes:
    return (
        '<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/'
        f'soap/envelope/"><s:Body><{escape(name)}/></s:Body></s:Envelope>'
    ).encode()


def _multistatus(asked: Asked, site: Site) -> bytes:
    """7: the names in it are absolute, with the name that was asked for or the intranet's."""
    name = "dp01.corp.example" if site.leaks else asked.headers.get("host", "")
    where = f"https://{name}/{asked.directory}/{asked.rest}"
    return (
        '<?xml version="1.0" encoding="utf-8"?><D:multistatus xmlns:D="DAV:"><D:response>'
        f"<D:href>{escape(where)}/sccm?/setup.exe</D:href><D:propstat>"
        f"<D:status>HTTP/1.1 200 OK</D:status><D:prop><D:getcontentlength>{site.download_bytes}"
        "</D:getcontentlength><D:iscollection>0</D:iscollection></D:prop></D:propstat>"
        "</D:response></D:multistatus>"
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
            software_update_point,
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
            policy_module,
        ),
        StandIn(
            "application-catalog-website-point",
            9449,
            ("catalog01.corp.example", "catalog-tunnel.internet.example"),
            Demand.IGNORED,
            application_catalog,
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
