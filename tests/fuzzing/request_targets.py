"""Targets: heads, what they say of a client, a worker's lines, and the policy."""

from __future__ import annotations

import dataclasses
import ntpath
import sys
import unicodedata
import uuid
from collections.abc import Iterator
from contextlib import suppress
from importlib.resources import files
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import h11

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.rules import Rule
from ibcm_bridge.identity.claims import Claim, read_claim, read_timestamp
from ibcm_bridge.inspection.message_facts import MessageFacts
from ibcm_bridge.inspection.reports import Report, ReportError, read_report, write_report
from ibcm_bridge.inspection.subject import CleanBody
from ibcm_bridge.inspection.verdict import Inspected
from ibcm_bridge.messages.client_guid import read_guid
from ibcm_bridge.messages.registration import Registration
from ibcm_bridge.policy_file import shipped_roles
from ibcm_bridge.policy_file.reading import PolicyError, Reading
from ibcm_bridge.policy_file.shape import read_shape
from ibcm_bridge.policy_file.yaml_tree import read_yaml
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.request.head import RequestHead, read_request_head
from ibcm_bridge.request.target import read_request_target
from ibcm_bridge.routing.proxy_header import MAX_BYTES, read_proxy_header
from ibcm_bridge.site_system_leg.received_head import read_usual_head
from ibcm_bridge.site_system_leg.response_reader import next_response, response_reader
from tests.site_system_leg.as_h11 import assert_read_as_by_h11
from tests.site_system_leg.responses import request

from .target import Target, bounded

GUID = "GUID:5E2B7C1A-94D0-4B6E-8F3A-0C1D2E3F4A5B"
NOW = "2026-01-01T00:00:00Z"


def head(data: bytes) -> None:
    """Written and read it is the same, and h11 reads no other request in it."""
    read = read_request_head(data)
    if isinstance(read, Deny):
        bounded(read)
        return
    assert read_request_head(read.to_bytes()) == read
    assert b"\r\n" not in b"".join((read.method, read.target.raw, *map(b"".join, read.fields)))
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError:
        return
    assert isinstance(event, h11.Request), event
    assert (event.method, event.target) == (read.method, read.target.raw)
    ours = [(name.lower(), value.strip(b" \t")) for name, value in read.fields]
    assert [(name, value) for name, value in event.headers if name != b"content-length"] == [
        field for field in ours if field[0] != b"content-length"
    ]
    length = dict(event.headers).get(b"content-length")
    assert (None if length is None else int(length)) == read.length


def _heads() -> Iterator[bytes]:
    for line in (b"GET /SMS_MP/.sms_aut?MPLIST", b"CCM_POST /ccm_system/request", b"HEAD /%7b%7d"):
        yield line + b" HTTP/1.1\r\nHost: a\r\n\r\n"
        yield line + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nAccept: */*\r\n\r\n"


def response(data: bytes) -> None:
    """A head that is not left to h11 is read as h11 reads it; any bytes come to an end."""
    if (read := read_usual_head(data)) is not None:
        for method in ("GET", "HEAD"):
            assert_read_as_by_h11(data, read, request(method))
    reader = response_reader(request("GET"), b"")
    reader.receive_data(data)
    result = next_response(reader)
    if isinstance(result, Deny):
        bounded(result)
    elif result is None:
        reader.receive_data(b"")
        assert isinstance(next_response(reader), Deny)


def _responses() -> Iterator[bytes]:
    for start in (b"200 OK", b"204 No Content", b"304 ", b"401", b"503 x"):
        for line in (b"Content-Length: 5", b"ETag: x", b"Transfer-Encoding: chunked"):
            yield b"HTTP/1.1 " + start + b"\r\nConnection: close\r\n" + line + b"\r\n\r\n"
    yield b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"


def target(data: bytes) -> None:
    """No reader goes anywhere else with it."""
    read = read_request_target(data)
    if isinstance(read, Deny):
        bounded(read)
        return
    text = data.decode("ascii")
    path = unquote(text.partition("?")[0])
    # Two slashes at the beginning would be a host.
    assert urlsplit(text)[:2] == ("", "")
    assert path == "/" + "/".join(read.segments) + "/" * (read.trailing_slash and path != "/")
    for normal in (ntpath.normpath(path).replace("\\", "/"), unquote(path)):
        assert normal.rstrip("/") == path.rstrip("/"), normal
    name = read.query_text or ""
    assert name == unquote(read.query.decode("ascii") if read.query else "", errors="strict")
    if name.startswith("/") and sys.version_info >= (3, 13):
        assert not any(map(ntpath.isreserved, name.split("/")))
    for form in (name, unicodedata.normalize("NFKC", name)):
        assert unquote(form) == form
        if name.startswith("/"):
            assert ntpath.normpath(form).replace("\\", "/").rstrip("/") == form.rstrip("/")
            assert [*map(form.count, "/\\.:")] == [*map(name.count, "/\\.:")]
        assert not {"..", "."} & set(form.split("/"))


def _targets() -> Iterator[bytes]:
    yield b"/SMS_MP/.sms_pol?%7bLAB00001%7D.1_00"
    yield b"/SMS_DP_SMSPKG$/Content_1.1/sccm?/dir/a%20b.msi"
    yield b"/SMS_DP_SMSPKG$/CAS00015/sccm?/Espa%C3%B1ol/100%25%20C%23;x~31bf~.cab"
    yield b"/certsrv/mscep/mscep.dll?operation=PKIOperation&message=MIIB%2B/=="
    yield b"/certsrv/mscep/mscep.dll?operation=PKIOperation&message=MIIB%0D%0AMII="
    yield b"/a/b/"


def _facts(
    named: list[str], source_id: str, signature: tuple[tuple[str, str], ...]
) -> MessageFacts:
    return MessageFacts(
        endpoint="MP_X",
        roots=("Report",),
        anonymous=False,
        encrypted=False,
        source_id=source_id,
        client_guids=tuple(("ClientID", text) for text in named),
        mentioned=(),
        signature=signature,
        payload=(0, 1),
        registration=Registration(b"", proven=False),
    )


def _inspected(read: RequestHead, message: MessageFacts | None) -> Inspected:
    authorized = cast("Authorized", _Authorized(read))
    return Inspected(authorized, b"x", (), message)


@dataclasses.dataclass
class _Authorized:
    """All that claims are read from."""

    head: RequestHead


def claims(data: bytes) -> None:
    """A claim names a valid client GUID, and a worker's report leads to the same claim.

    The input is a head, then lines: the header's SourceID, and the GUIDs of the payload.
    """
    start, _, rest = data.partition(b"\r\n\r\n")
    read = read_request_head(start + b"\r\n\r\n")
    if isinstance(read, Deny):
        return
    source_id, *named = rest.decode("utf-8", "ignore").split("\n")[:64]
    message = _facts(named, source_id, (("PublicKey", source_id), ("Token", "0")))
    line = write_report(Report("d", CleanBody((), message, ())))
    seen = read_report(line).result
    assert isinstance(seen, CleanBody)
    claim, reported = (read_claim(_inspected(read, facts)) for facts in (message, seen.message))
    alone = read_claim(_inspected(read, None))
    for result in (claim, alone):
        if isinstance(result, Deny):
            bounded(result)
        else:
            _is_one_client(result, read)
    assert type(claim) is type(reported)
    if isinstance(claim, Claim):
        assert claim.guid in ("", *(read_guid(text) for text in (source_id, *named))) or alone
        assert isinstance(reported, Claim)
        assert (claim.guid, claim.times) == (reported.guid, reported.times)


def _is_one_client(claim: Claim, read: RequestHead) -> None:
    assert not claim.guid or f"GUID:{uuid.UUID(claim.guid[5:])}".upper() == claim.guid
    for value in read.values(b"ccmclientid"):
        assert read_guid(value.decode("latin-1")) == claim.guid
    for text in claim.times:
        time = read_timestamp(text)
        assert time is None or time.isoformat()[:19] == text[:19]


def _claims() -> Iterator[bytes]:
    fields = (
        f"CCMClientID: {GUID}\r\nCCMClientIDSignature: 00\r\n"
        f"CCMClientTimestamp: {NOW}\r\nCCMClientTimestampSignature: 00"
    )
    for lines in (fields, f"ClientToken: {GUID};{NOW};2\r\nClientTokenSignature: 00", "Host: a"):
        for rest in ("", GUID, f"\n{GUID}", f"{GUID}\n{GUID.lower().replace('guid', 'GUID')}"):
            yield f"GET / HTTP/1.1\r\n{lines}\r\n\r\n{rest}".encode()


def report(data: bytes) -> None:
    """What is taken for a report is written as it was read."""
    try:
        read = read_report(data)
    except ReportError:
        return
    assert read_report(write_report(read)) == read


def _reports() -> Iterator[bytes]:
    facts = _facts([GUID], GUID, (("PublicKey", "00"),))
    yield write_report(Report("d", CleanBody(("sent:1",), facts, ("engine",))))
    yield write_report(Report("d", CleanBody((), None, ())))
    yield write_report(Report("d", Deny(Reason.XML, Rule("rule"), "detail")))


ROLES = shipped_roles()


def policy(data: bytes) -> None:
    """Every text comes to rows, or to problems that can be told on a line each."""
    tree = read_yaml(data.decode("utf-8", "ignore"))
    reading = Reading(Path("bridge.yaml"), tree)
    if tree.value is not None or not tree.problems:
        with suppress(PolicyError):
            read_shape(reading, ROLES)
    assert all(problem.isprintable() for problem in reading.sorted_problems())


def _policies() -> Iterator[bytes]:
    text = files("ibcm_bridge.config").joinpath("bridge.yaml").read_text("utf-8")
    lines = [line for line in text.splitlines() if line.strip() and line.strip()[0] != "#"]
    yield "\n".join(lines).encode()
    yield b"publications:\n- name: a.example\n  mode: tunnel\n"
    yield b"messages: &a\n  identity: enforce\nlimits: {connections: 1_000}\nrules: [a, 'b', *a]\n"


FIELDS = ("\r\n", "Host: ", "Content-Length: ", "Transfer-Encoding: chunked", " HTTP/1.1", ": ")
NAMES = ("CCMClientID: ", "ClientToken: ", "CCMClientTimestamp: ", "Signature", GUID, NOW, ";2")
KEYS: tuple[Any, ...] = ("publications:", "mode: bridge", "roles:", "- ", ": ", "&a ", "*a", "!!")

TRICKS = (
    *("%2e", "%5c", "%25", "/..", "?/", "~1", "::$DATA", "//", "con", "%c2%b9", "%ef%bc%8f"),
    *("%e2%80%8b", "%cc%81", "%c2%a0", "%ef%bc%85"),
)


def proxy_header(data: bytes) -> None:
    """It has its length, needs every byte of it, and does not depend on what follows."""
    read = read_proxy_header(data)
    if isinstance(read, Deny):
        bounded(read)
    elif read is None:
        assert len(data) < MAX_BYTES
    else:
        assert read.length <= MAX_BYTES
        assert read_proxy_header(data[: read.length]) == read
        assert read_proxy_header(data[: read.length - 1]) is None
        if read.source is not None:
            host, port = read.source
            assert ip_address(host).compressed == host
            assert 0 <= port <= 65_535


def _proxy_headers() -> Iterator[bytes]:
    for text in (b"TCP4 203.0.113.7 192.0.2.1 51000 443", b"TCP6 ::1 ::2 1 2", b"UNKNOWN"):
        yield b"PROXY " + text + b"\r\nGET"
    for rest in (b"\x21\x11\0\x0c" + bytes(12), b"\x21\x21\0\x24" + bytes(36), b"\x20\0\0\0"):
        yield b"\r\n\r\n\0\r\nQUIT\n" + rest + b"\x16"


REQUESTS = {
    "proxy_header": Target(proxy_header, _proxy_headers, ("TCP6 ", "::ffff:1.2.3.4", " 65536")),
    "head": Target(head, _heads, FIELDS),
    "response": Target(response, _responses, FIELDS),
    "target": Target(target, _targets, TRICKS),
    "claims": Target(claims, _claims, (*FIELDS, *NAMES)),
    "report": Target(report, _reports, ('"deny"', '"message"', "null", "[", "{", "1e9", "\\ud800")),
    "policy": Target(policy, _policies, KEYS),
}
