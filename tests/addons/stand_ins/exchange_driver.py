"""A driver for an exchange layer, with deciding addons and an authenticated client."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NoReturn

from mitmproxy.connection import Server
from mitmproxy.proxy import tunnel
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator

from ibcm_bridge.addons.clock import utc_now
from ibcm_bridge.addons.connections import ExchangeEnded
from ibcm_bridge.addons.hooks.body_inspection import BodyInspection
from ibcm_bridge.addons.hooks.client_identification import ClientIdentification
from ibcm_bridge.addons.hooks.reply_inspection import ReplyInspection
from ibcm_bridge.addons.hooks.request_authorization import RequestAuthorization
from ibcm_bridge.addons.layers.exchange import Exchange
from ibcm_bridge.addons.layers.exchange_layer import ExchangeLayer
from ibcm_bridge.addons.layers.site_system_states import SiteSystemStates
from ibcm_bridge.addons.layers.tls_ending import TlsEnded
from ibcm_bridge.addons.stages import Learned
from ibcm_bridge.authentication.certificate import certificate_facts
from ibcm_bridge.authentication.client import AuthenticatedClient, authenticate
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.identity.approval import FoundBindings
from ibcm_bridge.policy.publications import BridgePublication
from tests.addons.stand_ins.driver import (
    LIMITS,
    CalledHooks,
    Clock,
    Driver,
    all_watched,
    open_connection,
)
from tests.addons.stand_ins.lab import BRIDGED, Lab


class PlainLeg(tunnel.TunnelLayer):
    """Replaces `_LegTls`, so that a test can read the data sent to a site system."""

    ended_cleanly = True
    alert = None
    verification_failure = None
    is_accepted = True

    def __init__(self, context: Context, server: Server) -> None:
        super().__init__(context, tunnel_connection=server, conn=server)

    def receive_close(self) -> CommandGenerator[None]:
        """End as TLS does."""
        yield from self.event_to_child(TlsEnded(self.conn, self.ended_cleanly))

    def keep(self, *, first: bool) -> None:
        """Without TLS there is no session."""


class Nobody:
    """No bindings."""

    waits = False

    def find(self, guid: str, mentioned: Sequence[str]) -> FoundBindings:
        return dict.fromkeys((guid, *mentioned))


class ExchangeDriver(Driver):
    """Drives an `ExchangeLayer` with deciding addons and an authenticated client."""

    def __init__(
        self,
        lab: Lab,
        clock: Clock,
        watched: Callable[[str], bool] = all_watched,
        *,
        body_seconds: float | None = None,
    ) -> None:
        context, self.record = open_connection(lab, BRIDGED)
        self.record.certificate = certificate_facts(lab.computer.certificate)
        assert isinstance(self.record.publication, BridgePublication)
        self.record.publication = dataclasses.replace(
            self.record.publication, request_head=LIMITS.request_head
        )
        client = authenticate(self.record.publication, self.record.certificate)
        assert isinstance(client, AuthenticatedClient)
        self.record.admit(client)
        self.record.due = False
        limits = dataclasses.replace(LIMITS, body_seconds=body_seconds or LIMITS.body_seconds)
        called = CalledHooks(watched)
        self.states = SiteSystemStates(lab.policy)
        layer = ExchangeLayer(context, self.record, limits, called, self.states)
        super().__init__(layer, context.client, clock, called)
        self.hooks["head_read"] = RequestAuthorization(lab.policy.never).head_read
        self.hooks["body_read"] = BodyInspection([], inspected_at_once).body_read
        identity = ClientIdentification(Nobody(), lab.policy.messages, utc_now)  # type: ignore[arg-type]
        self.hooks["body_inspected"] = identity.body_inspected
        replies = ReplyInspection(lab.policy.messages)
        self.hooks["reply_collected"] = replies.reply_collected
        self.hooks["error_collected"] = replies.error_collected
        self.hooks["reply_allowed"] = lambda _: Learned()

    @property
    def under_way(self) -> Exchange:
        """The request under way."""
        found = self.record.under_way[-1]
        assert isinstance(found, Exchange)
        return found

    @property
    def ended(self) -> list[ExchangeEnded]:
        """The ended exchanges."""
        return [data for name, data in self.hook_calls if name == "exchange_ended"]

    def names(self) -> list[str]:
        """Return the names of the hooks that were called."""
        return [name for name, _ in self.hook_calls]

    def reason(self) -> str:
        """Return the reason why the last exchange was refused."""
        decision = self.ended[-1].decision
        assert isinstance(decision, Deny), decision
        return decision.reason.value


async def inspected_at_once(_subject: object, _holder: object) -> NoReturn:
    """Fail: a layer that is driven without an event loop has only small bodies."""
    raise AssertionError("a large body")
