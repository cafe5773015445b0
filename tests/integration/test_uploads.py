"""BITS uploads through the bridge, as its own process, to the lab's server (BRIDGE-INSPECT)."""

from __future__ import annotations

import gzip
import io
import os
import random
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.decisions.refusals import REFUSALS
from ibcm_bridge.lab.cases.requests import eicar
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol.client import LabClient, Request, Response
from ibcm_bridge.lab.protocol.uploads import SESSION, Upload
from tests.integration.lab import Lab

REPORT = "<Report><x>%s</x></Report>"
LARGEST = 8_388_608
LAST = "/SMS_MP/.sms_aut?MPLIST"


@pytest.fixture(scope="module")
def change_policy(policy: dict[str, Any]) -> None:
    policy["uploads"] = {
        "spool": "uploads.sqlite",
        "max_bytes": LARGEST,
        "max_total_bytes": 16_777_216,
        "sessions": 6,
        "per_client_sessions": 2,
    }


class Sender:
    """A client with an upload, and what its packets were answered."""

    def __init__(self, client: LabClient, upload: Upload) -> None:
        self.client, self.upload, self.session = client, upload, ""

    def send(self, request: Request) -> Response:
        fields = [
            (name, self.session if value == SESSION else value) for name, value in request.headers
        ]
        reply = self.client.send(replace(request, headers=tuple(fields)))
        self.session = reply.header("BITS-Session-Id") or self.session
        return reply

    def begin(self, *, fragments: int = 0, of: int = 3) -> None:
        assert self.send(self.upload.create()).status == 200
        for packet in self.upload.fragments(of)[:fragments]:
            assert self.send(packet).status == 200


class Senders:
    """Makes them, and closes their connections."""

    def __init__(self, lab: Lab, stack: ExitStack) -> None:
        self._lab, self._stack = lab, stack
        self._numbers = iter(range(1_000))

    def __call__(self, data: bytes) -> Sender:
        path = f"/CCM_Incoming/{os.getpid()}-{id(self)}-{next(self._numbers)}.msg"
        return Sender(self._client(None), Upload(path, data))

    def again(self, one: Sender, credential: LabCredential | None = None) -> Sender:
        """The same session, on another connection."""
        other = Sender(self._client(credential), one.upload)
        other.session = one.session
        return other

    def _client(self, credential: LabCredential | None) -> LabClient:
        return self._stack.enter_context(self._lab.client(credential))


@pytest.fixture
def sender(lab: Lab) -> Iterator[Senders]:
    lab.site.uploads.clear()
    with ExitStack() as stack:
        yield Senders(lab, stack)
        # What is written down late would be taken for the next test's.
        with lab.client() as last:
            last.request("GET", LAST)
        lab.until(lambda: any(record["target"] == LAST for record in lab.audit()))


def report(text: str = "x") -> bytes:
    return zlib.compress((REPORT % text).encode("utf-16-le"), 0)


def noise(size: int) -> bytes:
    """Bytes that do not compress. Others could begin like an archive, which is inspected."""
    return random.Random(0).randbytes(size)


def large(size: int) -> bytes:
    """An inventory that does not shrink much."""
    return report(noise(size // 4).hex())


def assert_refused(reply: Response, reason: Reason, record: dict[str, Any]) -> None:
    row = REFUSALS[reason]
    assert (reply.status, record["reason"]) == (row.status, reason.value), (reply, record)
    assert reply.header("BITS-Packet-Type") == "Ack"


@pytest.mark.parametrize("fragments", [1, 2, 7])
@pytest.mark.parametrize("data", [report(), b"\x00\xff binary \x00" * 3, large(600_000)])
def test_an_upload_arrives_byte_for_byte(
    lab: Lab, sender: Senders, data: bytes, fragments: int
) -> None:
    one = sender(data)
    one.begin(fragments=fragments, of=fragments)
    assert lab.site.uploads.files == {}
    assert one.send(one.upload.close()).status == 200
    assert [*lab.site.uploads.files.values()] == [data]
    for record in lab.records(fragments + 2):
        assert (record["verdict"], record["role"]) == ("allow", "management-point")
    assert lab.site.uploads.open_sessions == 0


def without_length(packet: Request) -> Request:
    fields = tuple(field for field in packet.headers if field[0] != "Content-Length")
    return replace(packet, headers=fields, body=None)


def test_packets_without_a_body_need_no_length(lab: Lab, sender: Senders) -> None:
    one = sender(report())
    upload = one.upload
    packets = (
        without_length(upload.create()),
        *upload.fragments(2),
        without_length(upload.close()),
    )
    assert [one.send(packet).status for packet in packets] == [200] * 4
    assert [*lab.site.uploads.files.values()] == [upload.data]
    lengths = [dict(received.headers)["Content-Length"] for received in lab.site.received()]
    assert [int(length) for length in lengths] == [len(packet.body or b"") for packet in packets]
    assert [record["verdict"] for record in lab.records(4)] == ["allow"] * 4


def test_a_fragment_needs_a_length(lab: Lab, sender: Senders) -> None:
    one = sender(report())
    one.begin()
    reply = one.send(without_length(one.upload.fragments(2)[0]))  # and its body is still to come
    assert reply.status == 411
    lab.check_denied(lab.records(2)[-1], Reason.LENGTH_REQUIRED, "head.content-length")
    assert len(lab.site.received()) == 1


def test_the_audit_has_the_inspected_upload(lab: Lab, sender: Senders) -> None:
    one = sender(report())
    one.begin(fragments=2, of=2)
    _, first, last = lab.records(3)
    size = len(one.upload.data)
    assert first["inspected"] == [f"sent:{-(-size // 2)}"]
    inflated, text = len(REPORT % "x") * 2, len(REPORT % "x")
    assert last["inspected"] == [
        f"sent:{size}",
        f"inflated:{inflated}",
        f"text:{text}",
        "parsed-text:1",
    ]
    assert last["upload"] == f"fragment {-(-size // 2)}-{size - 1}/{size} of {one.session}"


@pytest.mark.parametrize("size", [0, 700_000])
def test_malware_across_fragments_is_refused(lab: Lab, sender: Senders, size: int) -> None:
    one = sender(zlib.compress((REPORT % (eicar() + noise(size).hex())).encode("utf-16-le")))
    one.begin(fragments=2)
    assert lab.site.uploads.open_sessions == 1
    reply = one.send(one.upload.fragments(3)[2])
    *_, cancelled, refused = lab.records(5)
    assert_refused(reply, Reason.MALICIOUS_CONTENT, refused)
    assert reply.header("BITS-Error-Code") == "0x80070005"
    assert reply.header("BITS-Error-Context") == "0x5"
    # The site system has thrown away what it had.
    assert lab.site.uploads.open_sessions == 0
    assert lab.site.uploads.files == {}
    assert (cancelled["verdict"], cancelled["forwarded"]) == ("allow", True)
    assert refused["reference"] in cancelled["note"]
    # And nothing goes on.
    again = sender.again(one)
    reply = again.send(one.upload.close())
    assert reply.header("BITS-Error-Code") == "0x8020001F"


def test_malware_in_one_fragment_is_refused(lab: Lab, sender: Senders) -> None:
    one = sender(eicar().encode() + bytes(100))
    one.begin()
    reply = one.send(one.upload.fragment(0, 80))
    assert_refused(reply, Reason.MALICIOUS_CONTENT, lab.records(3)[-1])
    assert lab.site.uploads.open_sessions == 0


def test_a_session_belongs_to_its_client(lab: Lab, sender: Senders) -> None:
    one = sender(report())
    one.begin(fragments=2)
    lab.records(3)
    for packet in (one.upload.fragments(3)[2], one.upload.cancel(), one.upload.close()):
        lab.clear()
        reply = sender.again(one, lab.credentials.other).send(packet)
        assert_refused(reply, Reason.UPLOAD_OF_ANOTHER, lab.record())
        assert lab.record()["requirement"] == "BRIDGE-IDENTITY"
        lab.check_nothing_arrived()
    # Its own client goes on as if nothing had been.
    assert one.send(one.upload.fragments(3)[2]).status == 200
    assert one.send(one.upload.close()).status == 200
    assert len(lab.site.uploads.files) == 1


def test_a_gap_gets_the_offset_to_continue_from(lab: Lab, sender: Senders) -> None:
    one = sender(report())
    one.begin(fragments=1)
    reply = one.send(one.upload.fragments(3)[2])
    assert_refused(reply, Reason.UPLOAD_GAP, lab.records(3)[-1])
    known = len(one.upload.fragments(3)[0].body or b"")
    assert reply.header("BITS-Received-Content-Range") == str(known)
    assert reply.header("BITS-Error-Code") is None
    again = sender.again(one)
    for packet in (*one.upload.fragments(3)[1:], one.upload.close()):
        assert again.send(packet).status == 200


@pytest.mark.parametrize(
    ("make", "reason", "code"),
    [
        (lambda up: up.close(), Reason.UPLOAD_INCOMPLETE, "0x80070057"),
        (
            lambda up: replace(up, data=bytes(len(up.data))).fragment(0, 20),
            Reason.UPLOAD_CHANGED,
            "0x80070057",
        ),
        (lambda up: up.fragment(20, 40, total=41), Reason.UPLOAD_CHANGED, "0x80070057"),
        (
            lambda up: up.fragment(20, 40, total=LARGEST + 1),
            Reason.UPLOAD_TOO_LARGE,
            "0x80200020",
        ),
    ],
)
def test_an_invalid_upload_ends_the_session_on_both_legs(
    lab: Lab, sender: Senders, make: Callable[[Upload], Request], reason: Reason, code: str
) -> None:
    one = sender(report())
    one.begin()
    assert one.send(one.upload.fragment(0, 20)).status == 200
    reply = one.send(make(one.upload))
    assert_refused(reply, reason, lab.records(4)[-1])
    assert reply.header("BITS-Error-Code") == code
    assert (lab.site.uploads.open_sessions, lab.site.uploads.files) == (0, {})


def test_a_refused_upload_in_progress_is_canceled(lab: Lab, sender: Senders) -> None:
    one = sender(noise(4_000_000))
    one.begin()
    reply = one.send(one.upload.fragment(0, 4_000_000, total=LARGEST + 1))
    assert_refused(reply, Reason.UPLOAD_TOO_LARGE, lab.records(3)[-1])
    assert lab.site.uploads.open_sessions == 0


def test_an_upload_at_the_limit_is_allowed_and_above_it_refused(lab: Lab, sender: Senders) -> None:
    one = sender(noise(LARGEST))
    one.begin(fragments=2, of=2)
    assert one.send(one.upload.close()).status == 200
    assert [*lab.site.uploads.files.values()] == [one.upload.data]


def test_a_bomb_in_a_fragment_is_refused(lab: Lab, sender: Senders) -> None:
    packer = zlib.compressobj(9)
    pieces = [packer.compress(bytes(1_000_000)) for _ in range(200)]
    one = sender(b"".join([*pieces, packer.flush()]))
    one.begin()
    reply = one.send(one.upload.fragments(1)[0])
    assert_refused(reply, Reason.INFLATED_TOO_LARGE, lab.records(3)[-1])
    assert lab.site.uploads.open_sessions == 0


def test_an_upload_continues_after_a_restart_of_the_bridge(lab: Lab, sender: Senders) -> None:
    one = sender(report())
    one.begin(fragments=2)
    assert lab.bridge.restart() == 0
    again = sender.again(one)
    assert again.send(one.upload.ping()).status == 200
    assert again.send(one.upload.fragments(3)[2]).status == 200
    assert again.send(one.upload.close()).status == 200
    assert [*lab.site.uploads.files.values()] == [one.upload.data]


def test_a_further_upload_of_a_client_deletes_its_oldest(lab: Lab, sender: Senders) -> None:
    uploads = [sender(report()) for _ in range(3)]
    for sending in uploads:
        sending.begin(fragments=1)
    for sending, status in zip(uploads, (500, 200, 200), strict=True):
        assert sending.send(sending.upload.fragments(3)[1]).status == status
    assert lab.records(9)[6]["reason"] == "upload-session"
    for sending in uploads[1:]:
        assert sending.send(sending.upload.cancel()).status == 200


def test_the_upload_host_field_of_a_response_is_removed(lab: Lab, sender: Senders) -> None:
    lab.site.uploads.host_id = "mp01.corp.example"
    try:
        one = sender(report())
        reply = one.send(one.upload.create())
    finally:
        lab.site.uploads.host_id = ""
    assert reply.header("BITS-Host-Id") is None
    assert reply.header("BITS-Host-Id-Fallback-Timeout") is None
    assert "bits-host-id" in lab.record()["note"].lower()
    one.send(one.upload.cancel())


def test_a_coded_fragment_is_refused(lab: Lab, sender: Senders) -> None:
    one = sender(report())
    one.begin()
    packet = one.upload.fragment(0, 20)
    coded = replace(packet, headers=(*packet.headers, ("Content-Encoding", "gzip")))
    reply = one.send(coded)
    assert reply.status == 400
    assert lab.records(2)[-1]["rule"] == "uploads.content-encoding"
    again = sender.again(one)
    assert again.send(one.upload.cancel()).status == 200


def archive(*contents: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for number, content in enumerate(contents):
            made.writestr(f"{number}.log", content)
    return buffer.getvalue()


def test_an_archive_is_inspected_and_arrives_unchanged(lab: Lab, sender: Senders) -> None:
    data = archive(b"a log", gzip.compress(b"an older log"))
    one = sender(data)
    one.begin(fragments=2, of=2)
    assert one.send(one.upload.close()).status == 200
    assert [*lab.site.uploads.files.values()] == [data]
    assert "member 2.1:12" in lab.records(4)[2]["inspected"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (gzip.compress(archive(b"x", eicar().encode())), Reason.MALICIOUS_CONTENT),
        (archive(bytes(1_000_000)), Reason.ARCHIVE),
        (archive(b"x").replace(b"PK\x01\x02", b"PK\x01\x03"), Reason.ARCHIVE),
        (b"MSCF" + bytes(100), Reason.MALICIOUS_CONTENT),
    ],
)
def test_an_invalid_archive_is_refused(
    lab: Lab, sender: Senders, data: bytes, reason: Reason
) -> None:
    one = sender(data)
    one.begin()
    reply = one.send(one.upload.fragments(1)[0])
    assert_refused(reply, reason, lab.records(3)[-1])
    assert lab.site.uploads.open_sessions == 0
