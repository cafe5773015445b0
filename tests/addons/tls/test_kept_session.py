"""A leg resumes the TLS session of an earlier one, and its site system is judged again before."""

from __future__ import annotations

import dataclasses
import gc
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ibcm_bridge.addons.layers import site_system_leg as leg_layer
from ibcm_bridge.addons.tls import site_system_leg
from ibcm_bridge.addons.tls.client_leg import is_resumed
from ibcm_bridge.addons.tls.current_trust import JudgedPath
from ibcm_bridge.addons.tls.kept_session import SESSION_SECONDS, KeptSession, SessionKey
from ibcm_bridge.authentication.revocation import renew
from ibcm_bridge.lab.protocol.client import Response
from ibcm_bridge.policy.publications import BridgePublication
from ibcm_bridge.policy.site_systems import SiteSystems
from ibcm_bridge.policy.tls_settings import DEFAULT_TLS, TlsSettings, TlsVersion
from tests.addons.stand_ins.lab import BRIDGED, FROM_DP, GOOD, Lab, bridged_publication, changed
from tests.addons.stand_ins.running import Running, wait_for

VERSIONS = list(TlsVersion)


class Clock:
    """The clock of the bridge, for dates and lists. OpenSSL uses the system's."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def clock() -> Clock:  # type: ignore[override]
    return Clock()


@pytest.fixture
def legs(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each leg that carried a response has resumed a session."""
    resumed: list[bool] = []

    def keep(connection: Any) -> None:
        site_system_leg.keep_session(connection)
        resumed.append(is_resumed(connection))

    monkeypatch.setattr(leg_layer, "keep_session", keep)
    return resumed


def with_versions(publication: BridgePublication, highest: TlsVersion) -> dict[str, Any]:
    """A change of a publication: the highest TLS version of its site systems."""
    settings = TlsSettings(highest=highest)
    return {
        "directories": {
            name: dataclasses.replace(
                role,
                site_systems=SiteSystems(
                    (dataclasses.replace(role.site_systems.first, tls=settings),)
                ),
            )
            for name, role in publication.directories.items()
        }
    }


@pytest.fixture(params=VERSIONS)
def running(
    lab: Lab, tmp_path: Path, clock: Clock, request: pytest.FixtureRequest
) -> Iterator[Running]:
    changes = with_versions(bridged_publication(lab.policy), request.param)
    policy = changed(lab.policy, tmp_path / "audit.jsonl", **changes)
    with Running(lab, policy, clock=clock, check_seconds=3_600) as running:
        yield running


def ask(running: Running, *request: str) -> int:
    """Send a request on a new connection, and so on a new leg; return the status."""
    reply = running.ask(*(request or GOOD))  # type: ignore[arg-type]
    assert isinstance(reply, Response), reply
    return reply.status


def assert_legs(legs: list[bool], *resumed: bool) -> None:
    """Assert how the legs began since the last call. The client can have its response before."""
    assert wait_for(lambda: len(legs) >= len(resumed))
    assert [*legs] == [*resumed]
    legs.clear()


def sessions(running: Running) -> dict[SessionKey, KeptSession]:
    return running.bridge.generation.publication_tls[0].site_system_sessions._sessions


def test_later_legs_to_a_site_system_resume_and_others_do_not(
    running: Running, legs: list[bool]
) -> None:
    for resumed in (False, True, True, True):
        assert ask(running) == 200
        assert_legs(legs, resumed)
        assert wait_for(lambda: not running.bridge.connections._records)
        # OpenSSL ends the session of a connection that failed when it frees it.
        gc.collect()
    ask(running, *FROM_DP)
    assert_legs(legs, False)
    ask(running, *FROM_DP)
    assert_legs(legs, True)


def test_a_second_leg_resumes_while_the_first_is_open(running: Running, legs: list[bool]) -> None:
    with running.client() as first, running.client() as second:
        assert first.request(*GOOD).status == 200
        assert second.request(*GOOD).status == 200
        assert first.request(*GOOD).status == 200
    assert_legs(legs, False, True)
    assert ask(running) == 200
    assert_legs(legs, True)


def site_system_trust(running: Running) -> Any:
    return running.bridge.generation.publication_tls[0].site_system_trust


def revoke(lab: Lab, running: Running, _clock: Clock) -> None:
    """Revoke every certificate of the kept sessions."""
    trust = site_system_trust(running)
    assert wait_for(lambda: any(kept._kept for kept in sessions(running).values()))
    serials = [
        kept._kept[1].path.path[0].serial_number
        for kept in sessions(running).values()
        if kept._kept
    ]
    assert serials
    newer = lab.pki.issuing_crl(serials, 1_000, this_update=datetime.now(UTC))
    trust.lists = renew(trust.lists, trust.trust, [("", newer)], datetime.now(UTC)).lists


def let_the_list_end(_lab: Lab, _running: Running, clock: Clock) -> None:
    clock.ahead = timedelta(days=8)


@pytest.mark.parametrize(
    ("change", "text"), [(revoke, "revoked"), (let_the_list_end, "expired on")]
)
def test_a_site_system_that_is_no_longer_accepted_is_refused(
    lab: Lab,
    running: Running,
    clock: Clock,
    legs: list[bool],
    change: Callable[[Lab, Running, Clock], None],
    text: str,
) -> None:
    # The clock of the client leg does not change.
    client_trust = running.bridge.generation.publication_tls[0].client_trust
    assert client_trust is not None
    client_trust.clock = lambda: datetime.now(UTC)
    assert [ask(running), ask(running)] == [200, 200]
    assert_legs(legs, False, True)
    lab.site.clear()
    change(lab, running, clock)
    assert ask(running) == 502
    record = running.wait_for_reason("site-system-unverified")
    assert text in record["detail"]
    assert not lab.site.received()
    assert not legs
    if change is let_the_list_end:
        clock.ahead = timedelta(0)
        assert [ask(running), ask(running)] == [200, 200]
        assert_legs(legs, False, True)


def nothing(_lab: Lab, _running: Running, _clock: Clock) -> None:
    """Change nothing."""


@pytest.mark.parametrize(
    ("change", "status"), [(nothing, 200), (revoke, 502), (let_the_list_end, 502)]
)
def test_a_kept_leg_is_not_used_again_if_its_site_system_is_no_longer_accepted(
    lab: Lab,
    running: Running,
    clock: Clock,
    change: Callable[[Lab, Running, Clock], None],
    status: int,
) -> None:
    client_trust = running.bridge.generation.publication_tls[0].client_trust
    assert client_trust is not None
    client_trust.clock = lambda: datetime.now(UTC)
    running.bridge.shared.judgement._clock = client_trust.clock
    with running.client() as client:
        assert client.request(*GOOD).status == 200
        lab.site.clear()
        change(lab, running, clock)
        assert client.request(*GOOD).status == status
    if status == 200:
        assert not lab.site.handshakes(), "the leg was kept"
    else:
        assert not lab.site.received()
        running.wait_for_reason("site-system-unverified")


def test_an_expired_certificate_needs_a_full_handshake(
    running: Running, legs: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ask(running) == 200
    assert_legs(legs, False)
    (kept,) = sessions(running).values()
    assert kept._kept is not None
    of_session = kept._kept[1].path
    asked: list[Any] = []

    def expired(path: Any) -> bool:
        asked.append(path)
        return False

    monkeypatch.setattr(JudgedPath, "is_accepted", expired)
    assert ask(running) == 200
    assert_legs(legs, False)
    assert asked == [of_session]


def test_after_an_hour_the_handshake_is_full(running: Running, legs: list[bool]) -> None:
    assert [ask(running), ask(running)] == [200, 200]
    assert_legs(legs, False, True)
    (kept,) = sessions(running).values()
    assert kept._kept is not None
    session, proof = kept._kept
    # Resuming does not make the proof newer.
    kept._kept = session, proof._replace(when=proof.when - SESSION_SECONDS)
    assert [ask(running), ask(running)] == [200, 200]
    assert_legs(legs, False, True)


def test_a_failed_handshake_ends_the_session(
    running: Running, legs: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ask(running) == 200
    assert_legs(legs, False)
    contexts = running.lab.site._contexts
    without_certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with monkeypatch.context() as patch:
        patch.setitem(contexts, "management-point", without_certificate)
        assert ask(running) == 502
    assert not legs
    (kept,) = sessions(running).values()
    assert kept._kept is None
    assert [ask(running), ask(running)] == [200, 200]
    assert_legs(legs, False, True)


def key(**changes: Any) -> SessionKey:
    usual = SessionKey(("192.0.2.1", 443), "mp01.example", "mp01.example", DEFAULT_TLS)
    return usual._replace(**changes)


@pytest.mark.parametrize(
    "other",
    [
        key(address=("192.0.2.2", 443)),
        key(address=("192.0.2.1", 444)),
        key(server_name="mp02.example"),
        key(verify_name="mp02.example"),
        key(settings=TlsSettings(highest=TlsVersion.TLS_1_2)),
    ],
)
def test_a_session_is_for_one_address_name_and_settings(
    running: Running, other: SessionKey
) -> None:
    kept = running.bridge.generation.publication_tls[0].site_system_sessions
    assert kept.of(key()) is kept.of(key())
    assert kept.of(key()) is not kept.of(other)


def test_no_leg_resumes_where_the_policy_refuses_it(
    lab: Lab, tmp_path: Path, legs: list[bool]
) -> None:
    policy = changed(lab.policy, tmp_path / "audit.jsonl", legs_resume=False)
    with Running(lab, policy) as running:
        assert [ask(running), ask(running)] == [200, 200]
        assert_legs(legs, False, False)
        assert not sessions(running)


def test_each_publication_keeps_its_own_sessions(lab: Lab, tmp_path: Path) -> None:
    publication = bridged_publication(lab.policy)
    policy = changed(lab.policy, tmp_path / "audit.jsonl")
    (listener,) = policy.listeners
    publications = {**listener.publications, "b.example": dataclasses.replace(publication)}
    listener = dataclasses.replace(listener, publications=publications)
    with Running(lab, dataclasses.replace(policy, listeners=(listener,))) as running:
        ask(running)
        first, second = running.bridge.generation.publication_tls
        assert (len(first.site_system_sessions._sessions) == 1) is (
            first.publication is listener.publications[BRIDGED]
        )
        assert first.site_system_sessions is not second.site_system_sessions
