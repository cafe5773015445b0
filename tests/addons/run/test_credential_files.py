"""Certificates and keys that change on disk are taken, if they fit together."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from ibcm_bridge.addons.clock import utc_now
from ibcm_bridge.addons.operations import metrics
from ibcm_bridge.addons.operations.board import OwnBoard
from ibcm_bridge.addons.operations.numbers import Numbers
from ibcm_bridge.addons.operations.pulse import Pulse
from ibcm_bridge.addons.run.credential_files import CredentialFiles
from ibcm_bridge.addons.run.reload import PolicyText
from ibcm_bridge.lab.protocol.client import Response
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy_file import load_policy
from tests.addons.stand_ins.lab import GOOD, Lab, write_policy
from tests.addons.stand_ins.running import SOON, Running, outcome_of


class Clock:
    """A clock that a test can advance."""

    ahead = datetime.timedelta(0)

    def __call__(self) -> datetime.datetime:
        return utc_now() + self.ahead


class Watched:
    """A bridge with its own files."""

    def __init__(self, running: Running, folder: Path, clock: Clock) -> None:
        self.running, self.folder, self.clock = running, folder, clock
        self._files = CredentialFiles(running.bridge, running.reloads, self._read)

    def _read(self, text: PolicyText) -> Policy:
        assert text.shadow is None
        policy = load_policy(self.folder / "bridge.yaml", text.policy)
        return dataclasses.replace(policy, listeners=policy.listeners[:1])

    def check(self) -> None:
        checked = asyncio.run_coroutine_threadsafe(self._files.check(), self.running._loop)
        assert checked.result(3 * SOON) > 0

    def served(self) -> x509.Certificate:
        """The certificate that a new client gets."""
        with self.running.client() as client:
            assert isinstance(outcome_of(client, *GOOD), Response)
        (publication,) = [found for _, found in self.running.bridge.generation.policy.bridged()]
        return x509.load_pem_x509_certificates(publication.credential.chain_pem)[0]


@pytest.fixture
def watched(lab: Lab, tmp_path: Path) -> Iterator[Watched]:
    lab.pki.write(tmp_path / "pki")
    policy, clock = write_policy(tmp_path, lab.site), Clock()
    with Running(lab, policy, clock=clock, check_seconds=3_600) as running:
        yield Watched(running, tmp_path, clock)


def test_a_new_pair_is_taken_when_both_files_are_there(
    watched: Watched, lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    first = watched.running.bridge.generation
    watched.check()
    assert watched.running.bridge.generation is first, "nothing has changed"
    new, pki = lab.pki.server("bridge.internet.example"), watched.folder / "pki"
    before = watched.served()
    # The key is missing yet. The policy file itself is not read.
    (pki / "bridge-server.pem").write_bytes(new.chain_pem())
    (watched.folder / "bridge.yaml").write_text("unknown: 1", "utf-8")
    for _ in range(2):
        watched.check()
        assert watched.running.bridge.generation is first
    assert watched.served() == before
    lines = [record.getMessage() for record in caplog.records]
    # Both publications have it, and each check finds it.
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("certificates and keys: ")
        assert "does not match the certificate" in line
        assert line.endswith("; the current ones stay in use")
    pulse = Pulse(watched.running.bridge, Numbers(), OwnBoard())
    problems = metrics.FILE_PROBLEMS.name, ("certificates",)
    state = pulse.state()
    assert (state.not_ready, state.degraded) == ((), tuple(sorted(lines)))
    assert state.gauges[problems] == 2
    (pki / "bridge-server.key").write_bytes(new.key_pem())
    watched.check()
    assert watched.served() == new.certificate
    state = pulse.state()
    assert (state.degraded, state.gauges[problems]) == ((), 0)
    assert watched.running.bridge.generation.digest == first.digest
    second = watched.running.bridge.generation
    watched.check()
    assert watched.running.bridge.generation is second


def test_a_renewal_keeps_the_shadow(lab: Lab, tmp_path: Path) -> None:
    """It does not read it again, so a broken file of the shadow cannot stop a renewal."""
    lab.pki.write(tmp_path / "pki")
    policy = write_policy(tmp_path, lab.site)
    shadow = dataclasses.replace(policy, digest="shadow")
    policy = dataclasses.replace(policy, shadow=shadow)
    with Running(lab, policy, check_seconds=3_600) as running:
        watched, first = Watched(running, tmp_path, Clock()), running.bridge.generation
        new = lab.pki.server("bridge.internet.example")
        (tmp_path / "pki" / "bridge-server.pem").write_bytes(new.chain_pem())
        (tmp_path / "pki" / "bridge-server.key").write_bytes(new.key_pem())
        watched.check()
        assert watched.served() == new.certificate
        assert running.bridge.generation is not first
        assert running.bridge.generation.policy.shadow is shadow


def test_the_end_of_a_certificate_is_reported_once(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    ends = watched.served().not_valid_after_utc
    reported = []
    for days in (30, 1, 1, -1, -1):
        watched.clock.ahead = ends - datetime.timedelta(days=days) - utc_now()
        caplog.clear()
        watched.check()
        texts = [record.getMessage() for record in caplog.records]
        reported.append([text for text in texts if "CN=bridge.internet.example," in text])
    early, soon, again, late, at_last = reported
    assert early == again == at_last == []
    assert " expires on " in soon[0]
    assert " expired on " in late[0]
