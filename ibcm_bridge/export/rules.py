"""What the bridge enforces, as far as a configuration of another proxy could.

Every proxy has a `Statement` for every rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class ExportRule(Enum):
    """A rule: the requirement (docs/requirements.md), and what the bridge does."""

    SERVER_NAME = "DNS-INTERNET-FQDN", "A connection for an unknown server name (SNI) is refused."
    HOST = "DNS-INTERNET-FQDN", "Host has the server name of the connection."
    HTTPS_ONLY = "BRIDGE-HTTPS-ONLY", "Both legs use TLS, or neither."
    TLS = "BRIDGE-TERMINATE", "TLS 1.2 and 1.3, with the policy's cipher suites."
    RESUMPTION = "BRIDGE-TERMINATE", "A client resumes a TLS session only if the policy allows it."
    LEG = (
        "BRIDGE-TERMINATE",
        "The site-system leg is a new TLS connection with the proxy's own certificate.",
    )
    SLOW_LEG = "BRIDGE-TERMINATE", "A response that does not begin or stops ends in time."
    LEG_NAME = "BRIDGE-TERMINATE", "The site system proves its name, and is not revoked."
    FAILOVER = (
        "BRIDGE-TERMINATE",
        "A site system that cannot be connected is replaced by the next one of its list, and then "
        "left out for a time. No request is sent twice.",
    )
    SPREAD = (
        "BRIDGE-TERMINATE",
        "With order: by-client, the key of a client's certificate selects its site system.",
    )
    STAY = "BRIDGE-TERMINATE", "An upload stays with the site system that has its session."
    CERTIFICATE = (
        "BRIDGE-AUTH-COMPUTER",
        "A client presents a valid certificate of a trusted authority.",
    )
    REVOCATION = "BRIDGE-AUTH-COMPUTER", "A revoked client certificate is refused."
    RENEWAL = "BRIDGE-AUTH-COMPUTER", "New revocation lists apply without a restart."
    KIND = (
        "BRIDGE-AUTH-USER",
        "A computer certificate is not accepted as a user certificate, nor the reverse.",
    )
    PURPOSE = "PKI-BOTH-ENDS", "A client certificate is for client authentication."
    HTTP_VERSION = "HTTP-1.1", "Requests are HTTP/1.1."
    FRAMING = "HTTP-1.1", "A head that two parsers could read differently is refused."
    HEAD_SIZE = "HTTP-1.1", "The size of a head and the number of its fields are limited."
    SLOW_CLIENT = "HTTP-1.1", "A handshake, a head, a body and an idle connection end in time."
    CODING = "HTTP-1.1", "A request has no transfer coding."
    CONNECTION = "HTTP-1.1", "Connection does not name a field that is forwarded."
    MEDIA_TYPE = "HTTP-MULTIPART", "Only the listed media types of a verb are forwarded."
    MULTIPART = "HTTP-MULTIPART", "The parts of a message are inspected."
    VERBS_MP = "VERB-MP", "Only the listed verbs reach a management point."
    VERBS_DP = "VERB-DP", "Only the listed verbs reach a distribution point."
    VERBS_FSP = "VERB-FSP", "Only POST reaches a fallback status point."
    VERBS_CATALOG = "VERB-APPCATALOG", "Only the listed verbs reach an application catalog."
    FIELDS_MP = "HEADER-MP", "Only the listed header fields are forwarded."
    FIELDS_DP = "HEADER-DP", "Only the listed header fields are forwarded."
    UNLISTED = "HEADER-MP", "With unlisted_headers: refuse, an unlisted field refuses the request."
    REPEATED = "HEADER-MP", "A field that is not a list occurs once."
    RANGES = "HEADER-DP", "Byte ranges do not overlap, and have at most 15 digits."
    DIRECTORIES = "BRIDGE-INSPECT", "Only the listed directories, paths and queries are forwarded."
    SPELLING = "BRIDGE-INSPECT", "A target that two parsers could read differently is refused."
    BODY_SIZE = "BRIDGE-INSPECT", "The size of a body is limited for each verb."
    CONTENT = "BRIDGE-INSPECT", "Bodies are parsed and scanned for malware."
    UPLOADS = "BRIDGE-INSPECT", "The fragments of an upload are reassembled and inspected."
    RESPONSES = "BRIDGE-INSPECT", "Replies with intranet names or content are refused or changed."
    RESPONSE_FIELDS = "BRIDGE-INSPECT", "Response fields about the site system are removed."
    SOURCES = "BRIDGE-INSPECT", "Connections and handshakes of one source are limited."
    IDENTITY = (
        "BRIDGE-IDENTITY",
        "The client GUID and the signatures of a message are the client's.",
    )
    PAYLOAD = "BRIDGE-IDENTITY", "The body arrives unchanged."
    OSD = "NO-OSD", "Requests for operating system deployment are refused."
    SETUP = "NO-CLIENT-DEPLOYMENT", "Requests for client setup are refused."
    ASSIGNMENT = "NO-SITE-ASSIGNMENT", "Requests for the assigned site are refused."
    WAKE = "NO-WAKE-ON-LAN", "Messages for out-of-band management are refused."
    USER_POLICY = "NO-USER-DEPLOYMENT", "Requests for user policy need an authenticated user."
    SUP_PATHS = "SUP-WSUS", "Only the services and files of a scan are forwarded."
    SOAP = "SUP-WSUS", "SOAP operations and cookies are inspected."
    SIGN_IN = "USER-WINDOWS-AUTH", "The sign-in of a user belongs to one client connection."
    ENROLLED = "BRIDGE-NOT-ENROLLED", "The site system of enrolled mobile devices is never bridged."
    TUNNEL = "TUNNEL-PASS", "A tunnel passes TLS to the site system without termination."
    TUNNEL_CERTIFICATE = "TUNNEL-NO-CERT", "A tunnel needs no certificate."
    TUNNEL_ENROLLED = (
        "TUNNEL-ENROLLED",
        "Enrolled mobile devices reach their site system by a tunnel.",
    )
    TUNNEL_BLIND = "TUNNEL-BLIND", "The content of a tunnel is not inspected, and this is stated."

    @property
    def requirement(self) -> str:
        """The id of the requirement."""
        return self.value[0]

    @property
    def text(self) -> str:
        """What the bridge does."""
        return self.value[1]


class Extent(Enum):
    """How far an exported configuration enforces a rule."""

    YES = "yes"
    PART = "in part"
    NO = "no"


@dataclass(frozen=True, slots=True)
class Statement:
    """How a proxy enforces a rule, or why not."""

    extent: Extent
    sentence: str


def yes(sentence: str) -> Statement:
    """The exported configuration enforces the rule, in this way."""
    return Statement(Extent.YES, sentence)


def part(sentence: str) -> Statement:
    """It enforces the rule in part; the sentence says what is missing."""
    return Statement(Extent.PART, sentence)


def no(sentence: str) -> Statement:
    """It does not enforce the rule, for this reason."""
    return Statement(Extent.NO, sentence)


type Statements = Mapping[ExportRule, Statement]
"""The statement of a proxy for each rule."""


def statements(why_no_bodies: str, rows: Statements) -> Statements:
    """Return the statements of a proxy that reads no bodies, in the order of the rules.

    `rows` are those that depend on the proxy. The sentence says why it reads no bodies.
    """
    targets_only = part(f"targets only; {why_no_bodies}")
    whole = {
        ExportRule.CONTENT: no(
            f"{why_no_bodies}; malware, XML entities and compression bombs pass"
        ),
        ExportRule.UPLOADS: no(why_no_bodies),
        ExportRule.OSD: targets_only,
        ExportRule.SETUP: targets_only,
        ExportRule.ASSIGNMENT: no(why_no_bodies),
        ExportRule.WAKE: no(why_no_bodies),
        ExportRule.USER_POLICY: targets_only,
        ExportRule.SOAP: no(f"{why_no_bodies}: SOAP operations and serialized objects pass"),
        **rows,
    }
    return {rule: whole[rule] for rule in ExportRule}
