"""Targets: uploads by BITS, and what is asked of distribution and software update points."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from xml.etree import ElementTree

from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.decisions.rules import Rule
from ibcm_bridge.inspection.scan import read_and_scan
from ibcm_bridge.inspection.subject import CleanBody, Subject
from ibcm_bridge.inspection.uploaded_object import object_views
from ibcm_bridge.lab.protocol import documents, wsus
from ibcm_bridge.messages.propfind import read_propfind
from ibcm_bridge.policy_file import shipped_roles
from ibcm_bridge.request.bits_packet import Packet, PacketType, read_packet
from ibcm_bridge.request.head import RequestHead, read_request_head
from ibcm_bridge.uploads.acknowledgement import read_acknowledgement
from tests.uploads.model import FATES, MISHAPS, OBJECTS, PLACES, SENDERS, SIZE, Step, play

from .target import Target, bounded

ROLES = shipped_roles().roles
SOAP = ROLES["software-update-point"].bodies[b"POST"]
PROPERTIES = ROLES["distribution-point"].bodies[b"PROPFIND"].properties
LIMIT = 1_000_000
WSUS = wsus.NAMESPACES[wsus.CLIENT]


def packet(data: bytes) -> None:
    """A packet that is read has what its type needs, and nothing of another's."""
    head = read_request_head(b"BITS_POST /x HTTP/1.1\r\n" + data + b"\r\n\r\n")
    if not isinstance(head, RequestHead):
        return
    read_acknowledgement(200, [(name.lower(), value) for name, value in head.fields])
    read = read_packet(head)
    if isinstance(read, Deny):
        bounded(read)
        return
    assert (read.range is not None) == (read.type is PacketType.FRAGMENT)
    assert (read.range.length if read.range else 0) == (head.length or 0)
    assert read.range is None or head.length is not None
    assert read.session or read.type in (PacketType.PING, PacketType.CREATE_SESSION)
    assert isinstance(read, Packet)
    assert len(read.describe()) < 300


def _packets() -> Iterator[bytes]:
    session = b"BITS-Session-Id: {7B1AB5AC-1C6D-4B5F-9D8B-1B5E2C9E0A11}"
    yield b"BITS-Packet-Type: Ping\r\nContent-Length: 0"
    yield b"BITS-Packet-Type: Ping"
    yield (
        b"BITS-Packet-Type: Create-Session\r\nContent-Length: 0\r\n"
        b"BITS-Supported-Protocols: {7df0354d-249b-430f-820d-3d2a9bef4931}"
    )
    yield b"\r\n".join(
        (b"BITS-Packet-Type: Fragment", session, b"Content-Range: bytes 0-9/100",
         b"Content-Name: x", b"Content-Length: 10")
    )  # fmt: skip
    yield b"\r\n".join((b"BITS-Packet-Type: Close-Session", session, b"Content-Length: 0"))


def uploads(data: bytes) -> None:
    """No order of packets makes a file that was not inspected whole."""
    play([_step(data[at : at + 4]) for at in range(0, min(len(data), 400) - 3, 4)])


def _step(four: bytes) -> Step:
    kind, who, what, fate = four
    session = kind & 1
    sender = SENDERS[who % len(SENDERS)]
    if kind < 160:
        whole, place = OBJECTS[what % len(OBJECTS)], PLACES[what // 8 % len(PLACES)]
        total = SIZE if fate < 250 else SIZE + 1
        return Step("fragment", session, sender, whole, place, total, FATES[fate % len(FATES)])
    if kind < 230:
        return Step("close", session, sender, fate=FATES[fate % len(FATES)])
    others = ("create", "cancel", *MISHAPS)
    return Step(others[what % len(others)], session, sender)


def _orders() -> Iterator[bytes]:
    yield bytes((0, 0, 16, 0, 0, 0, 32, 0, 200, 0, 0, 0))
    yield bytes((0, 0, 17, 0, 240, 0, 2, 0, 0, 0, 0, 0, 200, 0, 0, 0)) * 3


def uploaded(data: bytes) -> None:
    """Every view is bounded, and what is packed is looked at unpacked."""
    seen = object_views(data, LIMIT, Rule("x"))
    if isinstance(seen, Deny):
        bounded(seen)
        return
    views = seen.views
    assert views["sent"] == data
    assert len(views.get("inflated", b"")) <= LIMIT
    if "parsed-text" in views:
        assert "text" in views
    assert seen.opened <= views.keys()
    unpacked = [content for name, content in views.items() if name.startswith("member")]
    assert sum(map(len, unpacked)) <= 2 * LIMIT  # in UTF-16 and in UTF-8
    if seen.opened == {"sent"} and data.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            assert sorted(unpacked) == sorted(archive.read(member) for member in archive.infolist())


def _objects() -> Iterator[bytes]:
    report = documents.inventory_report("GUID:5E2B7C1A-94D0-4B6E-8F3A-0C1D2E3F4A5B", rows=1)
    yield report.encode("utf-16-le")
    yield zlib.compress(report.encode("utf-16-le"))
    yield zlib.compress(b"<a/>\0\r\n<b/>")
    yield b"MZ"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.log", "x" * 200)
        archive.writestr("b.gz", gzip.compress(b"y"), zipfile.ZIP_STORED)
    yield buffer.getvalue()
    yield gzip.compress(buffer.getvalue())


def soap(data: bytes) -> None:
    """What is let pass asks, as another reader has it, for what its head says."""
    action, _, body = data.partition(b"\n")
    path = wsus.REPORTING if b"Report" in action else wsus.CLIENT
    subject = Subject(SOAP, b"text/xml; charset=utf-8", body, path=path, soap_action=(action,))
    seen = read_and_scan(subject, [])
    if isinstance(seen, Deny):
        bounded(seen)
        return
    assert isinstance(seen, CleanBody)
    (asked,) = next(
        element for element in ElementTree.fromstring(body) if element.tag.endswith("}Body")
    )
    name = action.strip(b'"').decode("ascii").rpartition("/")[2]
    assert asked.tag.rpartition("}")[2] == name


def _requests() -> Iterator[bytes]:
    envelope = (
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
        '<{0} xmlns="{1}">{2}</{0}></s:Body></s:Envelope>'
    )
    cookie = "<oldCookie><Expiration>2026-01-01T00:00:00Z</Expiration><EncryptedData>AAAA"
    cookie += "</EncryptedData></oldCookie>"
    for name, inner in (
        ("GetConfig", "<protocolVersion>1.8</protocolVersion>"),
        ("GetCookie", cookie),
    ):
        yield f'"{WSUS}/{name}"\n{envelope.format(name, WSUS, inner)}'.encode()
    for request in (wsus.synchronization("AAAA"), wsus.report("AAAA")):
        yield dict(request.headers)["SOAPAction"].encode() + b"\n" + (request.body or b"")


def propfind(data: bytes) -> None:
    """What is let pass asks, as another reader has it, for known properties alone."""
    text = data.decode("utf-8", "ignore")
    read = read_propfind(text, "x", PROPERTIES)
    if isinstance(read, Deny):
        bounded(read)
        return
    root = ElementTree.fromstring(text.encode())
    assert root.tag == "{DAV:}propfind"
    for kind in root:
        assert kind.tag in ("{DAV:}prop", "{DAV:}allprop", "{DAV:}propname")
        assert {element.tag for element in kind} <= {f"{{DAV:}}{name}" for name in PROPERTIES}


def _questions() -> Iterator[bytes]:
    yield b'<propfind xmlns="DAV:"><prop><iscollection/><getcontentlength/></prop></propfind>'
    yield b'<?xml version="1.0"?><a:propfind xmlns:a="DAV:"><a:allprop/></a:propfind>'


UPLOADS = {
    "packet": Target(packet, _packets, ("bytes ", "BITS-Packet-Type: ", "\r\n", "Fragment")),
    "uploads": Target(uploads, _orders),
    "uploaded": Target(uploaded, _objects, ("\0", "<!DOCTYPE a>", "\ufeff", "\r\n")),
    "soap": Target(
        soap,
        _requests,
        (
            *("<s:Header/>", "GetCookie", "SyncUpdates", " xmlns='", "<EncryptedData>", "<!--x-->"),
            *("&lt;&lt;PROCESS&gt;&gt;: ", "<MiscData><string>", "Synchronization"),
        ),
        is_xml=True,
    ),
    "propfind": Target(
        propfind, _questions, ("<prop>", "allprop", "propname", " xmlns:x='DAV:'"), is_xml=True
    ),
}
