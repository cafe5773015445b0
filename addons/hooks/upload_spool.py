"""Puts BITS uploads together: `requestheaders`, `request` and `responseheaders` -> `uploads`.

1. `requestheaders`, once the head is authorized: what is refused by its session or its size need
   not be read.
2. `request`, before the body is inspected: what it brings is kept, and only then may be sent on.
3. `responseheaders`: what the site system has acknowledged.

The spool is a file, so all of it is done on a thread, one thing at a time. What cannot be kept or
looked up is refused.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from mitmproxy.http import HTTPFlow

from ibcm_bridge.addons.connections import Exchange, exchange_of
from ibcm_bridge.authentication.client import AuthenticatedClient
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.identity.approval import Approved
from ibcm_bridge.policy.policy import UploadRules
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.request.bits_packet import Packet, PacketType
from ibcm_bridge.storage.temporary_folder import TemporaryFolder
from ibcm_bridge.storage.upload_spool import Spool, SpoolError, SpoolLimits
from ibcm_bridge.uploads.acknowledgement import read_acknowledgement
from ibcm_bridge.uploads.session import Sender, UploadPart

logger = logging.getLogger(__name__)


class UploadSpool:
    """The spool of one bridge."""

    def __init__(self, rules: UploadRules, clock: Callable[[], float] = time.time) -> None:
        """Open the file, or make a temporary one. Raises SpoolError or OSError."""
        self._temporary = None if rules.spool else TemporaryFolder()
        path = rules.spool if self._temporary is None else self._temporary.path / "uploads.sqlite"
        assert path is not None
        limits = SpoolLimits(
            rules.max_bytes,
            rules.max_total_bytes,
            rules.sessions,
            rules.per_client_sessions,
            rules.per_client_bytes,
            rules.abandoned_after.total_seconds(),
        )
        try:
            self._spool = Spool(path, limits, clock)
        except BaseException:
            self._remove()
            raise
        self._thread = ThreadPoolExecutor(1, "uploads")

    def close(self) -> None:
        """Close the file; a temporary one is gone afterwards."""
        self._thread.shutdown()
        self._spool.close()
        self._remove()

    def requestheaders(self, flow: HTTPFlow) -> Awaitable[None] | None:
        """Refuse by the head alone what cannot go on."""
        exchange = exchange_of(flow)
        if not isinstance(exchange.decision, Authorized) or exchange.decision.packet is None:
            return None
        return self._consider(exchange, exchange.decision, exchange.decision.packet)

    def request(self, flow: HTTPFlow) -> Awaitable[None] | None:
        """Keep what has come."""
        exchange = exchange_of(flow)
        if not isinstance(exchange.decision, Authorized) or exchange.decision.packet is None:
            return None
        return self._take(exchange, exchange.decision, exchange.decision.packet)

    def responseheaders(self, flow: HTTPFlow) -> Awaitable[None] | None:
        """Follow what the site system has taken."""
        exchange = exchange_of(flow)
        if exchange.upload is None or not isinstance(exchange.decision, Approved):
            return None
        return self._follow(exchange, exchange.decision, exchange.upload)

    async def _consider(self, exchange: Exchange, authorized: Authorized, packet: Packet) -> None:
        sender = _sender(exchange, authorized)

        def look() -> Deny | None:
            session, refusal = self._spool.judge_head(packet, sender)
            exchange.upload_session = session
            return refusal

        if (refusal := await self._asked(look)) is not None:
            exchange.decision = refusal

    async def _take(self, exchange: Exchange, authorized: Authorized, packet: Packet) -> None:
        sender, body = _sender(exchange, authorized), exchange.body

        def take() -> Deny | None:
            part = self._spool.take(packet, sender, body)
            if isinstance(part, Deny):
                return part
            exchange.upload = part
            return None

        if (refusal := await self._asked(take)) is not None:
            exchange.decision = refusal

    async def _follow(self, exchange: Exchange, approved: Approved, part: UploadPart) -> None:
        assert exchange.response is not None
        response, sender = exchange.response, _sender(exchange, approved.authorized)
        said = read_acknowledgement(response.status_code, response.headers)

        def follow() -> Deny | None:
            if isinstance(said, Deny):
                return said
            if part.packet.type is not PacketType.CREATE_SESSION:
                return self._spool.acknowledge(part, said)
            if not said.succeeded:
                return None
            if not said.session:
                detail = "a session without an id"
                return Deny(
                    Reason.SITE_SYSTEM_RESPONSE, rules.UPLOADS_FIELD.of("bits-session-id"), detail
                )
            return self._spool.begin(sender, said.session)

        if (refusal := await self._asked(follow)) is not None:
            exchange.decision = refusal

    async def _asked(self, question: Callable[[], Deny | None]) -> Deny | None:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, question)
        except SpoolError as error:
            logger.error("uploads cannot be kept: %s", error)
            return Deny(Reason.UPLOAD_UNAVAILABLE, rules.UPLOADS_SPOOL, str(error)[:200])

    def _remove(self) -> None:
        if self._temporary is not None:
            self._temporary.close()


def _sender(exchange: Exchange, authorized: Authorized) -> Sender:
    client = exchange.connection.authenticated
    # Only a role that asks everybody for a certificate takes uploads.
    assert isinstance(client, AuthenticatedClient)
    return Sender(
        client.certificate.key_sha256, authorized.site_system.name, authorized.target.path
    )
