"""A bridge with the engines of its policy: ClamAV in addition to YARA-X, and changed rules."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ibcm_bridge.lab.protocol import ccm
from ibcm_bridge.lab.protocol.client import LabClient, Response
from ibcm_bridge.policy.addresses import Address
from ibcm_bridge.policy.policy import ClamAv
from tests.addons.stand_ins.lab import BRIDGED, Lab, bridged_publication
from tests.addons.stand_ins.running import Running, outcome_of, wait_for
from tests.clamd import MARKER, NAME, running_clamd

RULE = 'rule {0} {{ strings: $a = "{0}" condition: $a }}'
GONE: Address = ("127.0.0.1", 9)  # discard: nobody listens there


@pytest.fixture(scope="module")
def clamd() -> Iterator[Path]:
    with (
        tempfile.TemporaryDirectory() as directory,
        running_clamd(Path(directory)) as (path, _),
    ):
        yield path


@pytest.fixture
def start(lab: Lab, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def make(*, optional_engines: bool = False, **changes: Any) -> Running:
        policy = dataclasses.replace(lab.policy, audit_file=tmp_path / "audit.jsonl", **changes)
        if optional_engines:
            publication = bridged_publication(policy)
            directories = {
                name: dataclasses.replace(role, profile=role.profile.without_engine("clamav"))
                for name, role in publication.directories.items()
            }
            changed = dataclasses.replace(publication, directories=directories)
            listener = dataclasses.replace(policy.listeners[0], publications={BRIDGED: changed})
            policy = dataclasses.replace(policy, listeners=(listener,))
        started.append(Running(lab, policy, check_seconds=0.05))
        return started[-1].__enter__()

    yield make
    for running in started:
        running.__exit__()


def post(running: Running, text: str, rows: int = 1) -> tuple[int, dict[str, Any]]:
    """Send a report with this text. Return the status and the audit record."""
    xml = "<Report>" + f"<x>{text}</x>" * rows + "</Report>"
    body = ccm.ccm_post_body(endpoint="MP_HinvEndpoint", body_xml=xml, client_guid="")
    before = len(running.audit())
    with LabClient(
        running.address,
        BRIDGED,
        trust=running.lab.pki.root,
        credential=running.lab.computer,
        timeout=30,
    ) as client:
        reply = outcome_of(
            client,
            *("CCM_POST", "/ccm_system/request"),
            headers={"Content-Type": ccm.CONTENT_TYPE},
            body=body,
        )
    assert isinstance(reply, Response), reply
    wait_for(lambda: len(running.audit()) > before)
    return reply.status, running.audit()[before]


@pytest.mark.parametrize("rows", [1, 5_000])
def test_clamav_also_scans_every_view(
    start: Callable[..., Running], clamd: Path, lab: Lab, rows: int
) -> None:
    running = start(clamav=ClamAv(clamd))
    status, record = post(running, MARKER.decode(), rows)
    assert status == 403
    assert (record["reason"], record["rule"]) == ("malicious-content", "engines.clamav")
    # The UTF-16 body does not contain it literally; clamd decodes it only if it is long.
    assert record["detail"] in [f"{NAME}.UNOFFICIAL in {view}" for view in ("inflated", "text")]
    assert not lab.site.received()
    status, record = post(running, "harmless", rows)
    assert (status, record["verdict"]) == (200, "allow")
    assert not [note for note in record.get("observed", ()) if note.startswith("engine-")]
    # A request without content to scan needs no daemon.
    running.assert_serves()


@pytest.mark.parametrize("rows", [1, 5_000])
def test_a_body_is_refused_if_clamav_does_not_respond(
    start: Callable[..., Running], lab: Lab, rows: int
) -> None:
    running = start(clamav=ClamAv(GONE, 1.0))
    status, record = post(running, "harmless", rows)
    assert status == 503
    assert (record["reason"], record["rule"]) == ("engine-unavailable", "engines.clamav")
    assert not lab.site.received()
    running.assert_serves()


@pytest.mark.parametrize("rows", [1, 5_000])
def test_a_role_may_continue_without_clamav_and_the_audit_records_it(
    start: Callable[..., Running], rows: int
) -> None:
    running = start(clamav=ClamAv(GONE, 1.0), optional_engines=True)
    status, record = post(running, "harmless", rows)
    assert (status, record["verdict"]) == (200, "allow")
    assert [note for note in record["observed"] if note.startswith("engine-unavailable: clamav: ")]


def test_a_role_that_may_continue_without_clamav_still_refuses_its_detections(
    start: Callable[..., Running], clamd: Path
) -> None:
    running = start(clamav=ClamAv(clamd), optional_engines=True)
    assert post(running, MARKER.decode())[0] == 403


def test_no_role_continues_without_yara(start: Callable[..., Running]) -> None:
    running = start(clamav=ClamAv(GONE, 1.0), optional_engines=True)
    eicar = r"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
    assert post(running, eicar)[0] == 403


@pytest.mark.parametrize("rows", [1, 5_000])
def test_changed_rules_apply_to_later_bodies(
    start: Callable[..., Running], tmp_path: Path, rows: int, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "rules"
    folder.mkdir()
    running = start(rule_files=(folder,))
    assert post(running, "needle", rows)[0] == 200
    (folder / "one.yar").write_text(RULE.format("needle"))
    wait_for(lambda: post(running, "needle", rows)[0] == 403)
    # Neither rules that do not compile nor other files change anything.
    (folder / "two.yar").write_text("rule")
    (folder / "notes.txt").write_text("rule")
    assert wait_for(lambda: "the previous rules stay in use" in caplog.text)
    assert post(running, "needle", rows)[0] == 403
    (folder / "two.yar").write_text(RULE.format("thread"))
    wait_for(lambda: post(running, "thread", rows)[0] == 403)
    (folder / "one.yar").unlink()
    wait_for(lambda: post(running, "needle", rows)[0] == 200)
    assert post(running, "thread", rows)[0] == 403
