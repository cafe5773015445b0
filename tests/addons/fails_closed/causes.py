"""The behavior of a client that leads to a hook, a layer, a callback or an engine."""

from __future__ import annotations

from cryptography import x509

from ibcm_bridge.lab.protocol.client import Response
from ibcm_bridge.lab.protocol.uploads import Upload
from tests.addons.stand_ins.lab import DENIED, GOOD, TUNNELED, bridged_publication, message
from tests.addons.stand_ins.running import Running, outcome_of, wait_for

Outcome = Response | Exception | None


def good(running: Running) -> Outcome:
    return running.ask(*GOOD)


def newly_judged(running: Running) -> Outcome:
    """Send a good request after a change that lets the client be judged again."""
    running.bridge.shared.judgement._due = lambda _: []  # type: ignore[method-assign]
    with running.client() as client:
        client.connect()
        assert wait_for(lambda: any(found.authenticated for found in running.bridge.connections))
        running.bridge.shared.judgement.judge_all()
        return outcome_of(client, *GOOD)


def denied(running: Running) -> Outcome:
    return running.ask(*DENIED)


def posted(running: Running) -> Outcome:
    with running.client() as client:
        return outcome_of(client, "CCM_POST", "/ccm_system/request", **message())


def forbidden(running: Running) -> Outcome:
    """The site system rejects the bridge's client certificate with an error page."""
    credential = bridged_publication(running.lab.policy).site_system_credential
    serial_number = x509.load_pem_x509_certificate(credential.chain_pem).serial_number
    running.lab.site._revoked.add(serial_number)
    try:
        return good(running)
    finally:
        running.lab.site._revoked.remove(serial_number)


def observed(running: Running) -> Outcome:
    """Send a good request while an addon observes."""
    running.add_hook("requestheaders", lambda _: None)
    return good(running)


def unknown_name(running: Running) -> Outcome:
    return running.ask(*GOOD, name="unknown.internet.example")


def over_the_limit(running: Running) -> Outcome:
    slots = running.bridge.connections.capacity.slots
    limit, slots.limit = slots.limit, 0
    try:
        return good(running)
    finally:
        slots.limit = limit


def without_certificate(running: Running) -> Outcome:
    with running.anonymous() as client:
        return outcome_of(client, *GOOD)


def tunneled(running: Running) -> Outcome:
    return running.ask(*GOOD, name=TUNNELED)


def tunneled_and_left(running: Running) -> Outcome:
    with running.client(TUNNELED) as client:
        client.connect()
    return None


def uploaded(running: Running) -> Outcome:
    running.lab.site.uploads.clear()
    request = Upload("/CCM_Incoming/x.msg", b"nothing in particular").create()
    with running.client() as client:
        return outcome_of(client, request.method, request.target, headers=dict(request.headers))
