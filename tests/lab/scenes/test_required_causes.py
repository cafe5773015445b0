"""A scene shows only what fails for the required cause.

A real bridge refuses; without a bridge, or behind a name that does not resolve, the same requests
fail for other causes.
"""

from __future__ import annotations

from dataclasses import replace
from errno import ECONNREFUSED, ECONNRESET, EHOSTUNREACH, ENETUNREACH
from http.client import RemoteDisconnected
from pathlib import Path
from random import Random

import pytest

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.cases.case import Case
from ibcm_bridge.lab.cases.unsupported import NOT_SUPPORTED
from ibcm_bridge.lab.protocol.client import ConnectionEnded, HandshakeRefused, Request
from ibcm_bridge.lab.protocol.reply_documents import PUBLISHED
from ibcm_bridge.lab.scenes import inside_outside
from ibcm_bridge.lab.scenes.inside_outside import INSIDE_OUTSIDE
from ibcm_bridge.lab.scenes.refusals import BridgeRefusal, Refusals
from ibcm_bridge.lab.scenes.scene import Scene, Stage
from ibcm_bridge.lab.scenes.table import SCENES
from ibcm_bridge.lab.simulated.client import ActionResult, Result
from ibcm_bridge.lab.simulated.failure import Cause, Failure, Unreachable, failure_of
from ibcm_bridge.lab.simulated.installation import Mode
from ibcm_bridge.lab.simulated.running_lab import RunningLab

UNPUBLISHED = Request("GET", "/nothing/here")
DIRECTORY = BridgeRefusal(Reason.DIRECTORY, "*.directories")


def attempted(
    lab: RunningLab, cause: Cause | BridgeRefusal, request: Request = UNPUBLISHED
) -> ActionResult:
    with Stage(lab, Random(1)) as stage:
        client = stage.client(Mode.INTERNET_ONLY)
        (action,) = stage.must_fail(cause, [client.attempt("request", request)])
        return action


def test_a_refusal_of_the_bridge_is_that_of_its_audit(lab: RunningLab) -> None:
    assert attempted(lab, DIRECTORY).result is Result.AS_REQUIRED


@pytest.mark.parametrize(
    "cause",
    [
        404,  # the status of this refusal, which others have too
        BridgeRefusal(Reason.RESOURCE, "*.directories"),
        BridgeRefusal(Reason.DIRECTORY, "endpoints.refused"),
        Failure.NAME_NOT_FOUND,
    ],
    ids=str,
)
def test_a_refusal_for_another_cause_fails(lab: RunningLab, cause: Cause) -> None:
    action = attempted(lab, cause)
    assert action.result is Result.FAILED
    assert action.text.startswith("failed for the wrong reason. Required: ")
    assert action.text.endswith("Found: the bridge refuses it: directory (*.directories).")


def test_a_refusal_without_its_audit_record_fails(lab: RunningLab, tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").touch()
    for audit in (None, tmp_path / "audit.jsonl"):
        action = attempted(replace(lab, audit=audit), DIRECTORY)
        assert action.result is Result.FAILED
        assert action.text.endswith("Found: status 404.")


def test_a_request_that_succeeds_fails(lab: RunningLab) -> None:
    action = attempted(lab, DIRECTORY, Request("GET", "/SMS_MP/.sms_aut?MPLIST"))
    assert (action.result, action.text) == (Result.FAILED, "succeeded, but must fail")


def test_nothing_is_not_a_failure(lab: RunningLab) -> None:
    with Stage(lab, Random(1)) as stage:
        (action,) = stage.must_fail(DIRECTORY, [])
    assert (action.result, action.response) == (Result.FAILED, "nothing was tried")


@pytest.mark.parametrize("scene", INSIDE_OUTSIDE, ids=lambda scene: scene.name)
def test_a_scene_requires_the_reason_of_the_bridge(
    lab: RunningLab, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the Internet, another request is refused for another reason."""

    def played() -> list[Result]:
        with Stage(lab, Random(1)) as stage:
            return [action.result for action in scene.play(stage)]

    assert Result.FAILED not in played()
    other = {
        case.id: replace(case, request=lambda _: UNPUBLISHED_MESSAGE) for case in NOT_SUPPORTED
    }
    sent = inside_outside._send

    def send_another(client: inside_outside.SimulatedClient, case: Case) -> ActionResult:
        return sent(client, case if not client.network.on_internet else other[case.id])

    monkeypatch.setattr(inside_outside, "_send", send_another)
    results = played()
    number = (len(results) - 1) // 2
    assert results[-number:] == [Result.FAILED] * number


UNPUBLISHED_MESSAGE = Request("DELETE", "/SMS_MP/.sms_aut?MPLIST")


NAMED = ("intranet-client", "internet-only-inside", "reinstallation", "becomes-capable")


@pytest.mark.parametrize("name", NAMED)
def test_a_scene_fails_if_its_bridge_is_only_down(lab: RunningLab, name: str) -> None:
    """Each name resolves, but nothing listens: this looks the same to the client."""
    nowhere = ("127.0.0.1", 9)
    inside = dict(lab.intranet.hosts)
    outside = dict(lab.internet.hosts)
    names = dict.fromkeys((*inside, *outside), nowhere)
    changed = replace(
        lab,
        internet=replace(lab.internet, hosts=names | outside),
        intranet=replace(lab.intranet, hosts=names | inside),
    )
    with Stage(changed, Random(1)) as stage:
        results = [action.result for action in SCENES[name].play(stage)]
    assert Result.FAILED in results


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (Unreachable("", Failure.NO_NAME), Failure.NO_NAME),
        (HandshakeRefused("certificate required"), Failure.CERTIFICATE_REQUIRED),
        (HandshakeRefused("unknown ca"), Failure.HANDSHAKE),
        (HandshakeRefused(None), Failure.HANDSHAKE),
        (ConnectionEnded(), Failure.CONNECTION),
        (TimeoutError(), Failure.TIMEOUT),
        (OSError(EHOSTUNREACH, ""), Failure.PROHIBITED),
        (OSError(ECONNREFUSED, ""), Failure.NOT_LISTENING),
        (OSError(ECONNRESET, ""), Failure.CONNECTION),
        (RemoteDisconnected(), Failure.CONNECTION),
        (OSError(ENETUNREACH, ""), Failure.OTHER),
        (OSError(), Failure.OTHER),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_an_error_has_one_failure(error: Exception, failure: Failure) -> None:
    assert failure_of(error) is failure


def test_a_client_knows_why_no_site_system_is_reached(lab: RunningLab) -> None:
    nowhere = {(PUBLISHED[0], 443): ("127.0.0.1", 9)}
    found: dict[str, object] = {}
    for what, hosts in (("one", nowhere), ("none", {})):
        changed = replace(lab, internet=replace(lab.internet, hosts=hosts))
        with Stage(changed, Random(1)) as stage:
            client = stage.client(Mode.INTERNET_ONLY)
            found[what] = client.attempt("request", UNPUBLISHED).cause
    assert found == {"one": Failure.SEVERAL, "none": Failure.NAME_NOT_FOUND}


def test_an_audit_is_read_from_now_on(tmp_path: Path) -> None:
    audit = tmp_path / "audit.jsonl"
    line = '{"reference": "%s", "verdict": "%s", "reason": "verb", "rule": "x.y"}\n'
    audit.write_text(line % ("a", "deny"), "utf-8")
    refusals = Refusals(audit)
    with audit.open("a") as file:
        file.write(line % ("b", "deny") + line % ("c", "allow") + '{"event": "x"}\n{"ref')
    assert refusals.find("b") == BridgeRefusal(Reason.VERB, "x.y")
    assert refusals.find("c") is None
    assert refusals.find("a") is None
