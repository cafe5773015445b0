"""While the audit cannot be written, no request is forwarded."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from ibcm_bridge.lab.protocol.client import Response
from tests.addons.fails_closed.causes import good, tunneled
from tests.addons.fails_closed.failures import assert_refused, nothing_passes
from tests.addons.stand_ins.lab import GOOD, Lab
from tests.addons.stand_ins.running import Running, outcome_of, wait_for


class FullDisk(io.StringIO):
    """An audit file whose disk can become full."""

    def __init__(self, error: type[Exception]) -> None:
        super().__init__()
        self.error = error
        self.full = False

    def write(self, text: str) -> int:
        if self.full:
            raise self.error("no space left on device")
        return super().write(text)


@pytest.fixture(params=[OSError, ValueError, UnicodeEncodeError], ids=lambda error: error.__name__)
def disk(request: pytest.FixtureRequest, running: Running) -> Iterator[FullDisk]:
    error = request.param
    disk = FullDisk(error if error is not UnicodeEncodeError else _NotEncodable)
    before, running.bridge.shared.audit._file = running.bridge.shared.audit._file, disk
    yield disk
    running.bridge.shared.audit._file = before


class _NotEncodable(UnicodeEncodeError):
    def __init__(self, reason: str) -> None:
        super().__init__("ascii", "", 0, 1, reason)


def test_no_request_is_forwarded_while_the_audit_is_not_writable(
    running: Running, disk: FullDisk
) -> None:
    site = running.lab.site
    disk.full = True
    good(running)
    assert len(site.received()) <= 1, "the one whose record could not be written"
    site.clear()
    with nothing_passes(running):
        for _ in range(3):
            assert_refused(good(running))
    disk.full = False
    # The next request finds out that writing works again.
    assert_refused(good(running))
    assert not site.received()
    running.assert_serves()
    # The number of lost records, the refused request, and the one that was served.
    written = [line for line in disk.getvalue().splitlines() if line]
    assert wait_for(lambda: len(disk.getvalue().splitlines()) == 3), written


def test_a_request_on_an_open_connection_is_refused_if_the_audit_is_not_writable(
    running: Running, disk: FullDisk
) -> None:
    with running.client() as client:
        assert isinstance(outcome_of(client, *GOOD), Response)
        assert wait_for(disk.getvalue)
        disk.full = True
        assert not isinstance(good(running), Exception)  # its record fails
        assert wait_for(lambda: running.bridge.shared.audit._failed)
        running.lab.site.clear()
        assert_refused(outcome_of(client, *GOOD))
    assert not running.lab.site.received()


def test_no_tunnel_is_opened_while_the_audit_is_not_writable(
    running: Running, disk: FullDisk
) -> None:
    disk.full = True
    good(running)
    assert wait_for(lambda: running.bridge.shared.audit._failed)
    running.lab.site.clear()
    with nothing_passes(running):
        assert not isinstance(tunneled(running), Response)
    disk.full = False
    assert not isinstance(tunneled(running), Response)  # finds out that it works again
    outcome = tunneled(running)
    assert isinstance(outcome, Response)
    assert outcome.status == 200


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_on_a_really_full_disk_nothing_is_forwarded_and_the_bridge_can_stop(lab: Lab) -> None:
    policy = dataclasses.replace(lab.policy, audit_file=Path("/dev/full"))
    with Running(lab, policy) as running:
        good(running)
        lab.site.clear()
        with nothing_passes(running):
            assert_refused(good(running))
            assert_refused(tunneled(running))
    assert not lab.site.received()
