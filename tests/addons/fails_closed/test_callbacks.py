"""After a callback of OpenSSL or an engine raises, the handshake or the request is refused."""

from __future__ import annotations

from typing import Any

import pytest

from ibcm_bridge.addons.hooks import client_authentication
from ibcm_bridge.addons.tls import verify_callback
from ibcm_bridge.addons.tls.verification import Authorities
from ibcm_bridge.inspection.engines import YaraEngine
from ibcm_bridge.lab.protocol.client import Response
from tests.addons.fails_closed.causes import posted
from tests.addons.fails_closed.failures import ERRORS, assert_refused, nothing_passes
from tests.addons.stand_ins.running import Running


def test_a_certificate_that_cannot_be_read_is_refused(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(_certificate: object) -> None:
        raise ValueError("an extension twice")

    with nothing_passes(running), monkeypatch.context() as patch:
        patch.setattr(verify_callback, "certificate_facts", unreadable)
        assert running.alert(running.client()) == "bad certificate"
    running.wait_for_reason("certificate-invalid")
    running.assert_serves()


@pytest.mark.parametrize("error", ERRORS)
def test_the_handshake_is_refused_if_authentication_raises(
    running: Running, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def fail(*_: object) -> None:
        raise error("made to fail")

    with nothing_passes(running), monkeypatch.context() as patch:
        patch.setattr(client_authentication, "authenticate", fail)
        assert running.alert(running.client()) == "internal error"
    assert running.wait_for_reason("bridge-defect")["rule"] == "tls.verify"
    running.assert_serves()


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (verify_callback, "_judge_certificate"),
        (verify_callback, "_connection"),
        (verify_callback, "end_entity_of"),
        (Authorities, "issuers_of"),
        (verify_callback, "certificate_facts"),
    ],
)
def test_the_handshake_is_refused_if_the_verify_callback_raises(
    running: Running,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    error: type[BaseException],
) -> None:
    def fail(*_: object) -> None:
        raise error("made to fail")

    with nothing_passes(running), monkeypatch.context() as patch:
        patch.setattr(owner, name, fail)
        assert running.alert(running.client()) == "internal error"
    # Without the connection, the reason cannot be stored.
    reason = "handshake-failed" if name == "_connection" else "bridge-defect"
    running.wait_for_reason(reason)
    running.assert_serves()


@pytest.mark.parametrize("error", ERRORS)
def test_the_request_is_refused_if_an_engine_raises(
    running: Running, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def fail(*_: object) -> None:
        raise error("made to fail")

    with nothing_passes(running), monkeypatch.context() as patch:
        patch.setattr(YaraEngine, "scan", fail)
        assert_refused(posted(running))
    running.wait_for_reason("bridge-defect")
    outcome = posted(running)
    assert isinstance(outcome, Response)
    assert outcome.status == 200
