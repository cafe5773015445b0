"""The requests that the cases of the demo send. `messages` has the ConfigMgr messages."""

from __future__ import annotations

import base64
import dataclasses
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from ibcm_bridge.lab.clients.device import Device, fallback_status, posted
from ibcm_bridge.lab.clients.life_cycle import SECRET_POLICY, listing
from ibcm_bridge.lab.protocol import ccm, documents
from ibcm_bridge.lab.protocol.client import Request
from ibcm_bridge.lab.protocol.reply_documents import LEAKY_SITE
from ibcm_bridge.lab.site_systems import clamd

CONTENT = "Content_5e2b7c1a-94d0-4b6e-8f3a-0c1d2e3f4a5b.1"
PACKAGE = f"/SMS_DP_SMSPKG$/{CONTENT}/sccm?/setup/application.msi"
POLICY = f"/SMS_MP/.sms_pol?{SECRET_POLICY}.1_00"
RANGE = (1_048_576, 3_145_727)
"""First and last byte of the range (RFC 9110 §14.1.2: both included)."""

TICKET = ("Authorization", "Negotiate bGFi")
"""A fake Kerberos token; the demo's site systems accept any (`user_authentication`)."""


@dataclass(frozen=True)
class Senders:
    """The client that sends a request, and another client that the request can name."""

    me: Device
    other: Device


type MakeRequest = Callable[[Senders], Request]


def plain(
    method: str, target: str, *headers: tuple[str, str], version: str = "HTTP/1.1"
) -> MakeRequest:
    """A request without body, with the User-Agent of ConfigMgr clients and these header fields."""
    fields = (("User-Agent", "SMS CCM 5.0"), *headers)
    return lambda _who: Request(method, target, fields, version=version)


def inventory(who: Senders) -> Request:
    return posted(_report(who))


def inventory_with_header(who: Senders) -> Request:
    more = ("X-Original-URL", "/ccm_system_altauth/request")
    return posted(_report(who), "ccmhttp", more)


def inventory_to(target: str) -> MakeRequest:
    """The inventory report with another request target."""
    return lambda who: dataclasses.replace(inventory(who), target=target)


def policy_download(who: Senders) -> Request:
    """5: client GUID and timestamp, with signatures, in the header fields of Microsoft's list."""
    return who.me.get(POLICY, signed=True)


def download(*more: tuple[str, str]) -> MakeRequest:
    """A range of a package file, as BITS requests it."""
    first, last = RANGE
    fields = (("User-Agent", "Microsoft BITS/7.8"), ("Range", f"bytes={first}-{last}"), *more)
    return lambda _who: Request("GET", PACKAGE, fields)


def overlapping_ranges(_who: Senders) -> Request:
    """RFC 9110 §17.15."""
    ranges = ",".join(f"{first}-{RANGE[1]}" for first in range(8))
    fields = (("User-Agent", "Microsoft BITS/7.8"), ("Range", f"bytes={ranges}"))
    return Request("GET", PACKAGE, fields)


def package_listing(_who: Senders) -> Request:
    """7."""
    return listing("/SMS_DP_SMSPKG$/LAB00001")


def without_signature(who: Senders) -> Request:
    """RFC 9110 §7.6.1: Connection lists a field that the management point needs."""
    signed = policy_download(who)
    return dataclasses.replace(
        signed, headers=(*signed.headers, ("Connection", "CCMClientIDSignature"))
    )


def body_of_a_get(_who: Senders) -> Request:
    hidden = b"GET /SMS_MP_AltAuth/.sms_aut?MPLIST HTTP/1.1\r\nHost: x\r\n\r\n"
    return Request("GET", "/SMS_MP/.sms_aut?MPLIST", (("User-Agent", "SMS CCM 5.0"),), hidden)


def wrong_media_type(who: Senders) -> Request:
    fields = (("User-Agent", "ccmhttp"), ("Content-Type", "text/xml"))
    return dataclasses.replace(inventory(who), headers=fields)


def malware(who: Senders) -> Request:
    xml = documents.inventory_report(who.me.guid).replace(
        "</Report>", f"<!-- {eicar()} --></Report>"
    )
    return posted(_report(who, xml))


def malware_in_base64(who: Senders) -> Request:
    value = base64.b64encode(f"{eicar()}{' ' * 40}".encode()).decode()
    xml = documents.inventory_report(who.me.guid).replace(
        "</Report>", f"<Value>{value}</Value></Report>"
    )
    return posted(_report(who, xml))


def known_to_clamav(who: Senders) -> Request:
    return posted(_report(who, f"<Report>{clamd.MARKER}</Report>"))


def deadly_to_clamav(who: Senders) -> Request:
    return posted(_report(who, f"<Report>{clamd.DEADLY}</Report>"))


def external_entity(who: Senders) -> Request:
    declaration = '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///C:/Windows/win.ini">]>'
    return posted(_report(who, declaration + "<Report>&x;</Report>"))


def bomb(who: Senders) -> Request:
    header = ccm.message_header("MP_HinvEndpoint", BOMB, client_guid=who.me.guid)
    return posted(ccm.raw_message(header, zip_bomb()))


BOMB = 200_000_000
"""Bytes of the inflated zip bomb."""


def zip_bomb() -> bytes:
    """Return zeros as a zlib stream of 200 KB. It is quick: one block is repeated (RFC 1951)."""
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    block = packer.compress(bytes(1_000_000)) + packer.flush(zlib.Z_FULL_FLUSH)
    # RFC 1950 §2.2: a head, and Adler-32, here of zeros only.
    checksum = struct.pack(">HH", BOMB % 65_521, 1)
    return b"\x78\xda" + block * (BOMB // 1_000_000) + packer.flush() + checksum


def unclosed(who: Senders) -> Request:
    whole = _report(who)
    return posted(whole[: whole.rindex(b"\r\n--")])


def wrong_part(who: Senders) -> Request:
    return posted(_report(who, inner_type=b"text/html"))


def leaky_listing(_who: Senders) -> Request:
    """protocol.md 7: a package whose listing contains intranet names."""
    return listing(f"/SMS_DP_SMSPKG$/{LEAKY_SITE}00001")


def smuggled(who: Senders) -> Request:
    """Two lengths for two parsers: another request follows the last chunk."""
    hidden = b"GET /SMS_MP_AltAuth/.sms_aut?MPLIST HTTP/1.1\r\nHost: x\r\n\r\n"
    body = b"0\r\n\r\n" + hidden
    lengths = (("Content-Length", str(len(body))), ("Transfer-Encoding", "chunked"))
    return Request("CCM_POST", "/ccm_system/request", (*inventory(who).headers, *lengths), body)


def plaintext(_who: Senders) -> Request:
    return Request("GET", "/SMS_MP/.sms_aut?MPLIST", plaintext=True)


def state_message(who: Senders) -> Request:
    return fallback_status(who.me.guid)


def state_malware(who: Senders) -> Request:
    """8.1: in UTF-16, with EICAR."""
    report = state_message(who)
    assert report.body is not None
    text = report.body.decode().replace("utf-8", "utf-16").replace("UTF-8", "UTF-16")
    begin = text.rindex("</")
    body = f"\ufeff{text[:begin]}<!-- {eicar()} -->{text[begin:]}".encode("utf-16-le")
    return dataclasses.replace(report, body=body)


def state_question(_who: Senders) -> Request:
    return Request("GET", "/SMS_FSP/.sms_fsp", plaintext=True)


def enrollment(_who: Senders) -> Request:
    """8.4."""
    return _soap("/EnrollmentServer/Discovery.svc", "urn:lab/IDiscoveryService/Discover")


def scep(_who: Senders) -> Request:
    """RFC 8894, 4.2: a device first requests the certificates to encrypt its request for."""
    return Request("GET", "/certsrv/mscep/mscep.dll/pkiclient.exe?operation=GetCACert&message=0")


def eicar() -> str:
    """Return the EICAR test file, assembled so that no file of the project contains it."""
    return "".join(
        ("X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-", "ANTIVIRUS-TEST-FILE!$H+H*")
    )


def _report(who: Senders, xml: str = "", inner_type: bytes = b"application/octet-stream") -> bytes:
    xml = xml or documents.inventory_report(who.me.guid)
    return who.me.message("MP_HinvEndpoint", xml, reply_mode="ASync", inner_type=inner_type)


def _soap(target: str, action: str) -> Request:
    namespace, _, name = action.rpartition("/")
    body = (
        '<?xml version="1.0" encoding="utf-8"?>'
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
        f'<{name} xmlns="{namespace}"></{name}></s:Body></s:Envelope>'
    )
    fields = (("Content-Type", "text/xml; charset=utf-8"), ("SOAPAction", f'"{action}"'))
    return Request("POST", target, fields, body.encode())
