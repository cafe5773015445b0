"""A model of uploads without HTTP: the spool, the lab's server, and failures between them.

The bridge is reduced to its rule: a packet that `take` refuses is not forwarded. The packet with
the last byte is forwarded only after the complete object was inspected.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.lab.protocol.content import ServerResponse
from ibcm_bridge.lab.protocol.uploads import PROTOCOL, UploadServer
from ibcm_bridge.request.bits_packet import ContentRange, Packet, PacketType
from ibcm_bridge.storage.upload_spool import Spool, read_object
from ibcm_bridge.storage.upload_table import SpoolLimits
from ibcm_bridge.uploads.acknowledgement import Acknowledgement, read_acknowledgement
from ibcm_bridge.uploads.session import Sender, UploadPart

EVIL = b"EVIL"
OBJECTS = (b"goodgood", b"EVILgood", b"goEVILgo")
SIZE = 8
ME = Sender("a", "mp", "ccm_incoming/x.msg")
SENDERS = (*(ME,) * 12, replace(ME, key="b"), replace(ME, path="ccm_incoming/y.msg"))
PLACES = ((0, 8), (0, 8), (0, 5), (0, 5), (5, 8), (5, 8), (0, 3), (3, 8), (3, 5))
FATES = (*("arrives",) * 8, "never sent", "no response")
MISHAPS = ("restart", "restart", "loss", "pause", "long pause")


@dataclass(frozen=True)
class Step:
    """A packet of one of two sessions, or an event."""

    what: str
    session: int = 0
    sender: Sender = ME
    whole: bytes = b""
    place: tuple[int, int] = (0, 0)
    total: int = SIZE
    fate: str = "arrives"


@dataclass
class Run:
    """One run of the model."""

    folder: Path
    now: float = 0.0
    server: UploadServer = field(default_factory=UploadServer)
    inspected: set[bytes] = field(default_factory=set)
    names: list[str] = field(default_factory=lambda: ["", ""])
    spool: Spool = field(init=False)

    def open(self) -> None:
        limits = SpoolLimits(64, 512, 6, 3, 128, 1_000.0)
        self.spool = Spool(self.folder / "spool", limits, lambda: self.now)

    def step(self, step: Step) -> None:
        name = self.names[step.session]
        if step.what == "fragment" and step.place[1] <= step.total:
            first, end = step.place
            place = ContentRange(first, end - 1, step.total)
            packet = Packet(PacketType.FRAGMENT, name, place)
            self.send(packet, step.sender, step.whole[first:end], step.fate)
        elif step.what in ("close", "cancel"):
            packet = Packet(PacketType(f"{step.what}-session"), name)
            self.send(packet, step.sender, b"", step.fate)
        elif step.what == "create":
            self.create(step.session, step.sender)
        elif step.what in MISHAPS:
            self.happen(step.what)

    def create(self, number: int, sender: Sender) -> None:
        if self.spool.consider(Packet(PacketType.CREATE_SESSION), sender)[1] is not None:
            return
        values = {"bits-packet-type": "create-session", "bits-supported-protocols": PROTOCOL}
        session = self.server.respond(sender.path, values, b"").fields["BITS-Session-Id"]
        if self.spool.begin(sender, session) is None:
            self.names[number] = session

    def send(self, packet: Packet, sender: Sender, body: bytes, fate: str) -> None:
        part = self.spool.take(packet, sender, body)
        if isinstance(part, Deny):
            return
        if part.whole:
            whole = body if part.stored is None else read_object(part.stored)
            if EVIL in whole:
                return
            self.inspected.add(whole)
        if fate == "never sent":
            return
        response = self.server.respond(sender.path, fields(packet), body)
        if fate == "no response":
            return
        self.follow(part, response)

    def follow(self, part: UploadPart, response: ServerResponse) -> None:
        acknowledgement = read_acknowledgement(
            response.status,
            [(name.lower().encode(), value.encode()) for name, value in response.fields.items()],
        )
        assert isinstance(acknowledgement, Acknowledgement)
        self.spool.acknowledge(part, acknowledgement)

    def happen(self, mishap: str) -> None:
        if mishap.endswith("pause"):
            self.now += 600.0 if mishap == "pause" else 2_000.0
            self.spool.sweep()
            return
        self.spool.close()
        if mishap == "loss":
            for path in self.folder.iterdir():
                path.unlink()
        self.open()


def play(steps: list[Step]) -> int:
    """The number of created files, after checking each of them."""
    made = 0
    with TemporaryDirectory() as name:
        run = Run(Path(name))
        run.open()
        try:
            run.create(0, ME)
            run.create(1, ME)
            for step in steps:
                run.step(step)
                for uploaded in run.server.files.values():
                    assert EVIL not in uploaded
                    assert uploaded in run.inspected
                made += len(run.server.files)
                run.server.files.clear()
        finally:
            run.spool.close()
    return made


def fields(packet: Packet) -> dict[str, str]:
    values = {"bits-packet-type": packet.type.value, "bits-session-id": packet.session}
    if packet.range is not None:
        place = packet.range
        values["content-range"] = f"bytes {place.first}-{place.last}/{place.total}"
    return values
