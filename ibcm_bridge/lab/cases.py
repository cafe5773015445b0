"""What the demonstration sends: good and bad, each with the requirement it shows.

A case is data. `bridge` is what the requirement demands of the bridge; `tunnel` says how far the
same thing gets through a tunnel, which cannot look inside and so has no opinion.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ibcm_bridge.lab import ccm
from ibcm_bridge.lab.pki import Credential, LabPki

GUID = "5E2B7C1A-94D0-4B6E-8F3A-0C1D2E3F4A5B"
PACKAGE = f"/SMS_DP_SMSPKG$/Content_{GUID.lower()}.1/sccm?/setup/application.msi"
RANGE = (1_048_576, 3_145_727)
"""First and last byte asked for (RFC 9110 §14.1.2: both included)."""


class Far(StrEnum):
    """How far something got."""

    ANSWERED = "answered by the site system"
    REFUSED_THERE = "refused by the site system"
    REFUSED_BY_PROXY = "refused by the proxy"


class Client(StrEnum):
    """With which certificate a client comes."""

    COMPUTER = "a computer certificate"
    REVOKED = "a revoked certificate"
    NOBODY = "no certificate"


@dataclass(frozen=True)
class Request:
    """What is sent; `plaintext` sends it without TLS."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    plaintext: bool = False


@dataclass(frozen=True)
class Case:
    """One row of the demonstration."""

    id: str
    title: str
    requirement: str
    lesson: str
    role: str
    client: Client
    request: Request
    bridge: Far
    bridge_status: int | None
    """The status to be answered with; None where the handshake is refused."""
    tunnel: Far
    bridge_alert: str | None = None
    dropped: tuple[str, ...] = field(default=())
    """Fields that the bridge must take out on the way."""


def credentials(pki: LabPki) -> dict[Client, Credential | None]:
    """The certificates that the cases use."""
    return {
        Client.COMPUTER: pki.computer("pc1.corp.example"),
        Client.REVOKED: pki.revoked_computer("pc2.corp.example"),
        Client.NOBODY: None,
    }


def eicar() -> str:
    """The EICAR test file, put together so that it stands whole in no file of the project."""
    return "".join(
        ("X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-", "ANTIVIRUS-TEST-FILE!$H+H*")
    )


def cases(credential: Credential) -> list[Case]:
    """All cases. `credential` is the computer's, which also signs its messages."""
    return [_case(row, credential) for row in _ROWS]


@dataclass(frozen=True)
class _Row:
    id: str
    title: str
    requirement: str
    lesson: str
    request: Callable[[Credential], Request]
    bridge: tuple[Far, int | None, str | None]
    tunnel: Far = Far.ANSWERED
    client: Client = Client.COMPUTER
    role: str = "management-point"
    dropped: tuple[str, ...] = ()


def _case(row: _Row, credential: Credential) -> Case:
    far, status, alert = row.bridge
    return Case(
        id=row.id,
        title=row.title,
        requirement=row.requirement,
        lesson=row.lesson,
        role=row.role,
        client=row.client,
        request=row.request(credential),
        bridge=far,
        bridge_status=status,
        bridge_alert=alert,
        tunnel=row.tunnel,
        dropped=row.dropped,
    )


def _report(credential: Credential, xml: str | None = None) -> bytes:
    assert isinstance(credential.key, RSAPrivateKey)
    return ccm.ccm_post_body(
        endpoint="MP_HinvEndpoint",
        body_xml=xml if xml is not None else ccm.inventory_report(GUID),
        client_guid=GUID,
        key=credential.key,
        reply_mode="ASync",
    )


def _ccm_post(body: bytes, *more: tuple[str, str]) -> Request:
    headers = (("User-Agent", "ccmhttp"), ("Content-Type", ccm.CONTENT_TYPE), *more)
    return Request("CCM_POST", "/ccm_system/request", headers, body)


def _inventory(credential: Credential) -> Request:
    return _ccm_post(_report(credential))


def _download(_credential: Credential) -> Request:
    first, last = RANGE
    headers = (("User-Agent", "Microsoft BITS/7.8"), ("Range", f"bytes={first}-{last}"))
    return Request("GET", PACKAGE, headers)


def _delete(_credential: Credential) -> Request:
    return Request("DELETE", "/SMS_MP/.sms_pol", (("User-Agent", "SMS CCM 5.0"),))


def _rewriting_header(credential: Credential) -> Request:
    return _ccm_post(_report(credential), ("X-Original-URL", "/ccm_system_altauth/request"))


def _alternate_directory(credential: Credential) -> Request:
    return Request(
        "CCM_POST",
        "/ccm_system_altauth/request",
        _inventory(credential).headers,
        _report(credential),
    )


def _malware(credential: Credential) -> Request:
    xml = ccm.inventory_report(GUID).replace("</Report>", f"<!-- {eicar()} --></Report>")
    return _ccm_post(_report(credential, xml))


def _external_entity(credential: Credential) -> Request:
    declaration = '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///C:/Windows/win.ini">]>'
    return _ccm_post(_report(credential, declaration + "<Report>&x;</Report>"))


def _bomb(_credential: Credential) -> Request:
    header = ccm.message_header("MP_HinvEndpoint", 200_000_000, client_guid=GUID)
    packer = zlib.compressobj(9)
    pieces = [packer.compress(bytes(1_000_000)) for _ in range(200)]
    return _ccm_post(ccm.raw_message(header, b"".join([*pieces, packer.flush()])))


def _unclosed(credential: Credential) -> Request:
    whole = _report(credential)
    return _ccm_post(whole[: whole.rindex(b"\r\n--")])


def _plaintext(_credential: Credential) -> Request:
    return Request("GET", "/SMS_MP/.sms_aut?MPLIST", plaintext=True)


_ANSWERED = (Far.ANSWERED, 200, None)


def _refused(status: int) -> tuple[Far, int | None, str | None]:
    return (Far.REFUSED_BY_PROXY, status, None)


def _alert(name: str) -> tuple[Far, int | None, str | None]:
    return (Far.REFUSED_BY_PROXY, None, name)


_ROWS = (
    _Row(
        "inventory-report",
        "inventory report",
        "BRIDGE-IDENTITY",
        "Read by the bridge, and forwarded byte for byte: its signatures still hold.",
        _inventory,
        _ANSWERED,
    ),
    _Row(
        "package-download",
        "package download with Range",
        "HEADER-DP",
        "Streamed as asked for; the bridge knows what was fetched, the tunnel how much.",
        _download,
        (Far.ANSWERED, 206, None),
        role="distribution-point",
    ),
    _Row(
        "forbidden-verb",
        "forbidden verb (DELETE)",
        "VERB-MP",
        "Only the role's verbs pass the bridge. Through the tunnel every verb arrives.",
        _delete,
        _refused(405),
    ),
    _Row(
        "forbidden-header",
        "forbidden header (X-Original-URL)",
        "HEADER-MP",
        "A field some servers obey. The bridge takes it out; the tunnel cannot.",
        _rewriting_header,
        _ANSWERED,
        dropped=("X-Original-URL",),
    ),
    _Row(
        "malware-in-zlib",
        "malware (EICAR) in the zlib part",
        "BRIDGE-INSPECT",
        "Compressed and UTF-16: it is only there for whoever inflates and decodes.",
        _malware,
        _refused(403),
    ),
    _Row(
        "external-entity",
        "external entity in the XML",
        "BRIDGE-INSPECT",
        "A document type has no place in a ConfigMgr message.",
        _external_entity,
        _refused(403),
    ),
    _Row(
        "zip-bomb",
        "200 MB packed into 200 KB",
        "BRIDGE-INSPECT",
        "Inflated only up to a limit; whoever is behind a tunnel inflates all of it.",
        _bomb,
        _refused(403),
    ),
    _Row(
        "unclosed-multipart",
        "multipart that is never closed",
        "HTTP-MULTIPART",
        "What two readers could split in two ways is refused.",
        _unclosed,
        _refused(403),
    ),
    _Row(
        "alternate-directory",
        "AltAuth directory",
        "BRIDGE-AUTH-COMPUTER",
        "A sibling directory that would answer without any certificate, HTTPS or not.",
        _alternate_directory,
        _refused(404),
    ),
    _Row(
        "no-certificate",
        "no certificate",
        "BRIDGE-AUTH-COMPUTER",
        "The bridge ends the handshake. Through the tunnel, the site system has to say no.",
        _inventory,
        _alert("certificate required"),
        Far.REFUSED_THERE,
        client=Client.NOBODY,
    ),
    _Row(
        "revoked-certificate",
        "revoked certificate",
        "BRIDGE-AUTH-COMPUTER",
        "Refused in both: at the perimeter by the bridge, on the internal network otherwise.",
        _inventory,
        _alert("certificate revoked"),
        Far.REFUSED_THERE,
        client=Client.REVOKED,
    ),
    _Row(
        "plaintext",
        "plaintext HTTP on the TLS port",
        "BRIDGE-HTTPS-ONLY",
        "No server name, so no publication: both columns are the same listener's answer.",
        _plaintext,
        _refused(403),
        Far.REFUSED_BY_PROXY,
    ),
)
