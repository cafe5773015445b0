"""Assembles BITS uploads: `uploads`.

1. After a packet's head is authorized: refuse it by its session or size without reading its body.
2. Before its body is inspected: store its data; it is forwarded only after that.
3. After its response head is read: record what the site system acknowledged.

A spool in a file has one thread, which does all of this in sequence. One in a database that several
machines share has a thread for each of its connections, and is not used for a while after it
failed. A packet is refused if the spool cannot be read or written; by its head, if that is known.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from ibcm_bridge.addons.hooks.database.breaker import DatabaseBreaker, guarded, of_a_file
from ibcm_bridge.addons.stages import Considered, PacketAnnounced, PacketRead, PacketResponseRead
from ibcm_bridge.authentication.client import AuthenticatedClient, Client
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.policy.policy import StateDatabase, UploadPolicy
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.request.bits_packet import Packet, PacketType
from ibcm_bridge.storage.stores import UploadStore
from ibcm_bridge.storage.temporary_folder import TemporaryFolder
from ibcm_bridge.storage.upload_spool import Spool
from ibcm_bridge.storage.upload_table import SpoolError, SpoolLimits
from ibcm_bridge.uploads.acknowledgement import Acknowledgement, read_acknowledgement
from ibcm_bridge.uploads.session import Sender, UploadPart

logger = logging.getLogger(__name__)


class UploadAssembly:
    """The uploads of one bridge, in its spool (`storage.upload_spool`)."""

    def __init__(
        self,
        uploads: UploadPolicy,
        clock: Callable[[], float] = time.time,
        state: StateDatabase | None = None,
    ) -> None:
        """Open the spool in the database, in its file, or in a temporary one.

        Raise SpoolError or OSError.
        """
        limits = SpoolLimits(
            uploads.max_bytes,
            uploads.max_total_bytes,
            uploads.sessions,
            uploads.per_client_sessions,
            uploads.per_client_bytes,
            uploads.abandoned_after.total_seconds(),
        )
        # Two: a database that is full or read-only can still be read.
        self._reads = None if state is None else DatabaseBreaker()
        self._changes = of_a_file() if state is None else DatabaseBreaker()
        self._temporary = None if uploads.spool or state is not None else TemporaryFolder()
        try:
            if state is not None:
                self._spool, threads = _shared(state, limits, clock)
            else:
                self._spool, threads = self._local(uploads, limits, clock), 1
        except BaseException:
            self._remove()
            raise
        self._thread = ThreadPoolExecutor(threads, "uploads")

    def _local(
        self, uploads: UploadPolicy, limits: SpoolLimits, clock: Callable[[], float]
    ) -> UploadStore:
        path = uploads.spool if self._temporary is None else self._temporary.path / "uploads.sqlite"
        assert path is not None
        return Spool(path, limits, clock)

    def problem(self) -> str | None:
        """Return why uploads would be lost on restart; None if they would not."""
        return self._spool.problem()

    def failure(self) -> str | None:
        """Return why the spool could not be used just now; None if it could."""
        breakers = (self._reads, self._changes)
        found = (breaker.reported() for breaker in breakers if breaker is not None)
        return next((problem for problem in found if problem is not None), None)

    async def totals(self) -> tuple[int, int]:
        """Return the number of uploads, and of their bytes. Raise SpoolError."""
        return await self._in_thread(self._spool.totals, self._reads)

    def close(self) -> None:
        """Close the spool, and delete it if it is temporary."""
        self._thread.shutdown()
        self._spool.close()
        self._remove()

    async def packet_announced(self, known: PacketAnnounced) -> Considered:
        """Refuse a packet by its head, if possible."""
        packet, client, authorized = _packet(known.authorized), known.client, known.authorized
        is_stored = _is_stored(packet)
        if is_stored and (problem := self._changes.waiting()):
            return Considered(None, _unavailable(problem))
        found = await self._run(
            lambda: self._spool.consider(packet, self._sender(packet, client, authorized)),
            self._reads if is_stored else None,
        )
        return Considered(None, found) if isinstance(found, Deny) else Considered(*found)

    async def packet_read(self, known: PacketRead) -> UploadPart | Deny:
        """Store the data of a packet."""
        packet, client, authorized = _packet(known.authorized), known.client, known.authorized
        return await self._run(
            lambda: self._spool.take(packet, self._sender(packet, client, authorized), known.body),
            self._changes if packet.needs_session else None,
        )

    async def packet_response_read(self, known: PacketResponseRead) -> Acknowledgement | Deny:
        """Record what the site system acknowledged."""
        acknowledged, part = read_acknowledgement(known.status, known.fields), known.part
        if isinstance(acknowledged, Deny):
            return acknowledged
        if part.packet.type is not PacketType.CREATE_SESSION:
            refusal = await self._run(
                lambda: self._spool.acknowledge(part, acknowledged),
                None if part.session is None else self._changes,
            )
        elif not acknowledged.succeeded:
            return acknowledged
        elif not acknowledged.session:
            detail = "a session without an id"
            return Deny(
                Reason.SITE_SYSTEM_RESPONSE, rules.UPLOADS_FIELD.of("bits-session-id"), detail
            )
        else:
            sender = _sender(known.client, known.authorized, known.site_system)
            refusal = await self._run(
                lambda: self._spool.begin(sender, acknowledged.session), self._changes
            )
        return acknowledged if refusal is None else refusal

    def _sender(self, packet: Packet, client: Client, authorized: Authorized) -> Sender:
        """Return the sender of a packet, to the site system that has its session, if any has."""
        listed = authorized.site_systems.listed
        senders = [_sender(client, authorized, site_system.name) for site_system in listed]
        if len(senders) == 1:
            return senders[0]
        found = ((sender, self._spool.find(packet, sender)) for sender in senders)
        known = [(sender, session) for sender, session in found if session is not None]
        own = (sender for sender, session in known if session.sender == sender)
        others = (sender for sender, _ in known)
        return next(own, next(others, senders[0]))

    async def _in_thread[Found](
        self, work: Callable[[], Found], breaker: DatabaseBreaker | None
    ) -> Found:
        asked = work if breaker is None else lambda: guarded(breaker, work, SpoolError)
        return await asyncio.get_running_loop().run_in_executor(self._thread, asked)

    async def _run[Found](
        self, work: Callable[[], Found], breaker: DatabaseBreaker | None
    ) -> Found | Deny:
        try:
            return await self._in_thread(work, breaker)
        except SpoolError as error:
            return _unavailable(str(error))

    def _remove(self) -> None:
        if self._temporary is not None:
            self._temporary.close()


def _shared(
    state: StateDatabase, limits: SpoolLimits, clock: Callable[[], float]
) -> tuple[UploadStore, int]:
    # psycopg is an extra, which a policy without `state` does not need.
    from ibcm_bridge.storage.postgresql_stores import (  # noqa: PLC0415
        UPLOAD_CONNECTIONS,
        SharedUploads,
    )

    return SharedUploads(state, limits, clock), UPLOAD_CONNECTIONS


def _unavailable(problem: str) -> Deny:
    logger.error("cannot use the upload spool: %s", problem)
    return Deny(Reason.UPLOAD_UNAVAILABLE, rules.UPLOADS_SPOOL, problem[:200])


def _is_stored(packet: Packet) -> bool:
    """Whether the spool has, or gets, the session of a packet. A Ping usually names none."""
    return packet.needs_session or packet.type is PacketType.CREATE_SESSION


def _packet(authorized: Authorized) -> Packet:
    assert authorized.packet is not None
    return authorized.packet


def _sender(client: Client, authorized: Authorized, site_system: str) -> Sender:
    # Only roles that require a client certificate accept uploads.
    assert isinstance(client, AuthenticatedClient)
    return Sender(client.certificate.key_sha256, site_system, authorized.target.path)
