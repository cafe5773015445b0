"""Revocation lists are renewed while the bridge runs, but never replaced by worse ones."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import http.server
import logging
import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ibcm_bridge.addons.renewal import crl_fetch
from ibcm_bridge.addons.renewal.crl_fetch import Fetch
from ibcm_bridge.addons.renewal.renewal import keep_current, stop_renewal
from ibcm_bridge.addons.renewal.revocation_renewal import (
    RETRY_SECONDS,
    FetchedLists,
    ListsRenewal,
    crl_renewals,
)
from ibcm_bridge.addons.tls.current_trust import CurrentTrust
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.protocol.client import Response
from ibcm_bridge.policy.trust import CrlFetch, Revocation, Trust
from tests.addons.stand_ins.lab import GOOD, Lab, bridged_publication, changed
from tests.addons.stand_ins.running import SOON, Running, wait_for

HOUR = timedelta(hours=1)


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def pki() -> LabPki:
    return LabPki.make(now=datetime.now(UTC))


def write(path: Path, *crls: x509.CertificateRevocationList) -> None:
    path.write_bytes(b"".join(crl.public_bytes(Encoding.PEM) for crl in crls))


@dataclasses.dataclass
class Held:
    """A trust whose lists are files, checked when the test calls `check`."""

    pki: LabPki
    folder: Path
    trust: CurrentTrust
    renewal: ListsRenewal

    def check(self) -> None:
        asyncio.run(self.renewal.check())

    @property
    def number(self) -> int | None:
        numbers = [
            crl.number
            for crl in self.trust.lists.held.values()
            if "Issuing" in crl.issuer and crl.base_number is None
        ]
        return numbers[0] if numbers else None


@pytest.fixture
def held(pki: LabPki, now: datetime, tmp_path: Path) -> Held:
    root = pki.crls()[0]
    issuing = pki.issuing_crl([8], 5, this_update=now - 5 * HOUR)
    write(tmp_path / "root.crl", root)
    write(tmp_path / "issuing.crl", issuing)
    revocation = Revocation(sources=(tmp_path,), warn_before=timedelta(days=1))
    trust = CurrentTrust(Trust((pki.root,), (pki.issuing,), (root, issuing), revocation))
    held = Held(pki, tmp_path, trust, ListsRenewal("a: clients.trust", trust, 1.0))
    held.check()
    return held


def test_a_renewed_file_takes_effect(held: Held, now: datetime) -> None:
    write(held.folder / "issuing.crl", held.pki.issuing_crl([7], 6, this_update=now))
    held.check()
    assert held.number == 6


def test_a_file_added_to_the_folder_takes_effect(held: Held, now: datetime) -> None:
    write(held.folder / "new.crl", held.pki.issuing_crl([7], 6, this_update=now))
    write(held.folder / "new.txt", held.pki.issuing_crl([7], 7, this_update=now))
    held.check()
    assert held.number == 6, "and other kinds of files do not"


def test_a_delta_list_added_to_the_folder_takes_effect(held: Held, now: datetime) -> None:
    write(held.folder / "issuing+.crl", held.pki.issuing_crl([7], 6, base=5, this_update=now))
    held.check()
    assert held.number == 5
    assert [crl.revoked for crl in held.trust.lists.held.values() if crl.base_number == 5] == [{7}]


def test_a_file_with_the_same_number_and_date_that_revokes_more_takes_effect(
    held: Held, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    more = held.pki.issuing_crl([7], 5, this_update=now - 5 * HOUR)
    write(held.folder / "issuing.crl", more)
    held.check()
    assert any(7 in crl.revoked for crl in held.trust.lists.held.values())
    assert "was renewed" in caplog.text


BAD: dict[str, Callable[[Held, datetime], bytes]] = {
    "is not a revocation list": lambda _held, _now: b"half a fi",
    "is not signed by a configured CA": lambda _held, now: (
        LabPki.make(now=now).issuing_crl([], 9, this_update=now).public_bytes(Encoding.PEM)
    ),
    "has the date and number of the current one, and lacks revocations of it": (
        lambda held, now: held.pki.issuing_crl([], 5, this_update=now - 5 * HOUR).public_bytes(
            Encoding.PEM
        )
    ),
    "is older than the current one": lambda held, now: held.pki.issuing_crl(
        [], 4, this_update=now - 9 * HOUR
    ).public_bytes(Encoding.PEM),
}


@pytest.mark.parametrize("text", BAD)
def test_a_worse_file_keeps_the_current_list_and_is_logged_once(
    held: Held, now: datetime, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    (held.folder / "issuing.crl").write_bytes(BAD[text](held, now))
    before = held.trust.lists.held
    for _ in range(3):
        held.check()
    assert held.trust.lists.held == before
    (line,) = [record.getMessage() for record in caplog.records]
    assert text in line
    assert line.startswith("a: clients.trust: ")
    assert held.renewal.problems() == [line]
    # Its twin: the corrected file is used.
    write(held.folder / "issuing.crl", held.pki.issuing_crl([], 6, this_update=now))
    held.check()
    assert held.number == 6
    assert held.renewal.problems() == []


def test_a_removed_file_keeps_the_current_list(held: Held) -> None:
    (held.folder / "issuing.crl").unlink()
    held.check()
    assert held.number == 5


def test_one_broken_file_does_not_keep_another_from_being_renewed(
    held: Held, now: datetime
) -> None:
    (held.folder / "root.crl").write_bytes(b"broken")
    write(held.folder / "issuing.crl", held.pki.issuing_crl([], 6, this_update=now))
    held.check()
    assert held.number == 6


def test_a_list_that_begins_later_takes_effect_when_it_has_begun(held: Held, now: datetime) -> None:
    write(held.folder / "issuing.crl", held.pki.issuing_crl([], 6, this_update=now + HOUR))
    held.check()
    assert held.number == 5
    held.trust.clock = lambda: now + 2 * HOUR
    held.check()
    assert held.number == 6


def test_an_expiring_list_is_logged_once_for_each_stage(
    held: Held, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    held.trust.trust = dataclasses.replace(
        held.trust.trust,
        revocation=dataclasses.replace(held.trust.trust.revocation, grace=12 * HOUR),
    )
    for days, text in ((0, ""), (6.5, "; renew it"), (7.2, "in its grace"), (8, "is refused")):
        caplog.clear()
        held.trust.clock = lambda days=days: now + timedelta(days=days)  # type: ignore[misc]
        held.check()
        held.check()
        lines = [record.getMessage() for record in caplog.records]
        assert len(lines) == (2 if text else 0), lines
        assert all(text in line for line in lines)


def test_a_defect_does_not_stop_the_renewal(
    held: Held, now: datetime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write(held.folder / "issuing.crl", held.pki.issuing_crl([], 6, this_update=now))
    with monkeypatch.context() as broken:
        broken.setattr("ibcm_bridge.addons.renewal.revocation_renewal.renew", lambda *_: 1 / 0)
        held.check()
        held.check()
    assert held.number == 5
    (line,) = [record.getMessage() for record in caplog.records]
    assert "ZeroDivisionError" in line
    held.check()
    assert held.number == 6


# In a bridge that runs


def test_a_client_revoked_while_the_bridge_runs_is_refused(lab: Lab, tmp_path: Path) -> None:
    folder = tmp_path / "lists"
    folder.mkdir()
    trust = bridged_publication(lab.policy).client_trust
    assert trust is not None
    watched = dataclasses.replace(trust, revocation=Revocation(sources=(folder,)))
    policy = changed(lab.policy, tmp_path / "audit.jsonl", client_trust=watched)
    with Running(lab, policy, check_seconds=0.02) as running:
        running.assert_serves()
        serial = lab.computer.certificate.serial_number
        newer = lab.pki.issuing_crl([serial], 1_000, this_update=datetime.now(UTC))
        (folder / "half").write_bytes(newer.public_bytes(Encoding.DER))
        (folder / "half").rename(folder / "issuing.crl")
        assert wait_for(lambda: not isinstance(running.ask(*GOOD), Response))
        running.wait_for_reason("certificate-revoked")
        assert running.alert(running.client()) == "certificate revoked"


def test_a_site_system_revoked_while_the_bridge_runs_gets_no_request(
    lab: Lab, tmp_path: Path
) -> None:
    folder = tmp_path / "lists"
    folder.mkdir()
    trust = bridged_publication(lab.policy).site_system_trust
    watched = dataclasses.replace(trust, revocation=Revocation(sources=(folder,)))
    policy = changed(lab.policy, tmp_path / "audit.jsonl", site_system_trust=watched)
    with Running(lab, policy, check_seconds=0.02) as running:
        running.assert_serves()
        shown = ssl.get_server_certificate(lab.site.management_point, timeout=SOON)
        serial = x509.load_pem_x509_certificate(shown.encode()).serial_number
        newer = lab.pki.issuing_crl([serial], 1_000, this_update=datetime.now(UTC))
        (folder / "issuing.crl").write_bytes(newer.public_bytes(Encoding.DER))

        def refused() -> bool:
            reply = running.ask(*GOOD)
            return isinstance(reply, Response) and reply.status == 502

        assert wait_for(refused)
        assert "certificate revoked" in running.wait_for_reason("site-system-unverified")["detail"]


# Fetching


class Responses(http.server.BaseHTTPRequestHandler):
    """Sends the response that the test has set for the path."""

    def do_GET(self) -> None:
        status, body = self.server.responses[self.path]  # type: ignore[attr-defined]
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/good.crl")
        length = len(body) + (10 if self.path == "/cut.crl" else 0)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@dataclasses.dataclass
class Publisher:
    """A web server with revocation lists."""

    responses: dict[str, tuple[int, bytes]]
    url: str


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Responses)
    server.responses = {}  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Publisher(server.responses, f"http://127.0.0.1:{server.server_port}")  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def fetch(held: Held, publisher: Publisher, path: str) -> str | None:
    return asyncio.run(Fetch(publisher.url + path, held.folder).run(held.trust))


@pytest.mark.parametrize("encoding", [Encoding.DER, Encoding.PEM])
def test_a_list_is_fetched_stored_and_used(
    held: Held, publisher: Publisher, now: datetime, encoding: Encoding
) -> None:
    newer = held.pki.issuing_crl([7], 6, this_update=now).public_bytes(encoding)
    publisher.responses["/good.crl"] = (200, newer)
    assert fetch(held, publisher, "/good.crl") is None
    held.check()
    assert held.number == 6
    (kept,) = held.folder.glob("fetched-*.crl")
    assert kept.read_bytes() == newer, "for the next start"


def test_an_older_list_does_not_replace_that_of_another_worker(
    held: Held, publisher: Publisher, now: datetime
) -> None:
    newer, older = (
        held.pki.issuing_crl([7], number, this_update=now - age * HOUR).public_bytes(Encoding.DER)
        for number, age in ((7, 0), (6, 1))
    )
    publisher.responses |= {"/good.crl": (200, newer)}
    # The other worker has stored the list, and this one has not read it yet.
    assert fetch(held, publisher, "/good.crl") is None
    assert held.number == 5
    publisher.responses |= {"/good.crl": (200, older)}
    assert "is older than the current one" in (fetch(held, publisher, "/good.crl") or "")
    (kept,) = held.folder.glob("fetched-*.crl")
    assert kept.read_bytes() == newer


def test_fetches_at_the_same_time_store_a_whole_list(
    held: Held, publisher: Publisher, now: datetime
) -> None:
    # Large, so that a write takes a while.
    lists = [
        held.pki.issuing_crl(range(8, 3_000 + number), number, this_update=now).public_bytes(
            Encoding.DER
        )
        for number in (6, 7)
    ]
    publisher.responses |= {f"/{index}.crl": (200, data) for index, data in enumerate(lists)}
    fetches = [Fetch(f"{publisher.url}/{index}.crl", held.folder) for index in (0, 1) * 4]
    for each in fetches:
        each.file = fetches[0].file

    async def run_all() -> list[str | None]:
        return await asyncio.gather(*(each.run(held.trust) for each in fetches))

    problems = asyncio.run(run_all())
    assert {problem and "is older" in problem for problem in problems} <= {None, True}
    assert fetches[0].file.read_bytes() in lists
    assert not list(held.folder.glob(".*"))


def test_a_fetch_removes_what_a_killed_process_has_left(
    held: Held, publisher: Publisher, now: datetime
) -> None:
    good = held.pki.issuing_crl([7], 6, this_update=now).public_bytes(Encoding.DER)
    publisher.responses["/good.crl"] = (200, good)
    stored = Fetch(f"{publisher.url}/good.crl", held.folder).file.name
    killed, writing, unrelated = (
        held.folder / name for name in (f".{stored}.1.1", f".{stored}.2.1", ".other.1.1")
    )
    for path in (killed, writing, unrelated):
        path.write_bytes(good[:100])
    for path in (killed, unrelated):
        long_ago = time.time() - crl_fetch.ABANDONED_SECONDS - 1
        os.utime(path, (long_ago, long_ago))
    assert fetch(held, publisher, "/good.crl") is None
    assert sorted(held.folder.glob(".*")) == sorted([writing, unrelated])


def test_a_list_that_cannot_be_stored_leaves_no_part(
    held: Held, publisher: Publisher, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = held.pki.issuing_crl([7], 6, this_update=now).public_bytes(Encoding.DER)
    publisher.responses["/good.crl"] = (200, good)
    written: list[Path] = []

    def on_a_full_disk(path: Path, _to: Path) -> NoReturn:
        written.append(path)
        assert path.exists()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", on_a_full_disk)
    assert "No space left" in str(fetch(held, publisher, "/good.crl"))
    assert len(written) == 1
    assert not list(held.folder.glob(".*"))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/missing.crl", "the response has status 404"),
        ("/elsewhere.crl", "the response has status 302"),
        ("/page.crl", "is not a revocation list"),
        ("/cut.crl", "the response is not HTTP"),
        ("/old.crl", "is older than the current one"),
        ("/less.crl", "lacks revocations of it"),
        ("/forged.crl", "is not signed by a configured CA"),
        ("/other.crl", "is the list of a CA that is not configured"),
        ("/large.crl", "the response is larger than 2,000 bytes"),
    ],
)
def test_an_unusable_response_is_not_stored(
    held: Held,
    publisher: Publisher,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    text: str,
) -> None:
    monkeypatch.setattr(crl_fetch, "MAX_BYTES", 2_000)
    der = Encoding.DER
    good = held.pki.issuing_crl([7], 6, this_update=now).public_bytes(der)
    forged = LabPki.make(now=now)
    publisher.responses |= {
        "/missing.crl": (404, b""),
        "/elsewhere.crl": (302, b""),
        "/good.crl": (200, good),
        "/page.crl": (200, b"<html>"),
        "/cut.crl": (200, good),
        "/old.crl": (
            200,
            held.pki.issuing_crl([], 3, this_update=now - 9 * HOUR).public_bytes(der),
        ),
        "/less.crl": (
            200,
            held.pki.issuing_crl([], 5, this_update=now - 5 * HOUR).public_bytes(der),
        ),
        "/forged.crl": (200, forged.issuing_crl([], 9, this_update=now).public_bytes(der)),
        "/other.crl": (200, held.pki.branch("pc.branch.example")[1].public_bytes(der)),
        "/large.crl": (200, b"x" * 2_001),
    }
    assert text in str(fetch(held, publisher, path))
    assert not list(held.folder.glob("*fetched-*"))
    assert fetch(held, publisher, "/good.crl") is None, "its twin"


def test_a_publisher_that_is_down_is_reported(held: Held) -> None:
    nobody = Publisher({}, "http://127.0.0.1:1")
    assert "cannot be fetched" in str(fetch(held, nobody, "/good.crl"))


def test_a_fetch_from_a_silent_publisher_times_out(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crl_fetch, "FETCH_SECONDS", 0.05)

    async def ask_a_silent_one() -> str | None:
        released = asyncio.Event()

        async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await released.wait()
            writer.close()

        async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            fetch = Fetch(f"http://127.0.0.1:{port}/a.crl", held.folder)
            problem = await fetch.run(held.trust)
            released.set()
            return problem

    assert "not fetched within" in str(asyncio.run(ask_a_silent_one()))


def test_a_bridge_fetches_lists_from_the_start(
    pki: LabPki, publisher: Publisher, now: datetime, tmp_path: Path
) -> None:
    root, issuing = pki.crls()
    publisher.responses |= {
        "/root.crl": (200, root.public_bytes(Encoding.DER)),
        "/issuing.crl": (200, issuing.public_bytes(Encoding.DER)),
    }
    urls = (f"{publisher.url}/root.crl", f"{publisher.url}/issuing.crl")
    revocation = Revocation(sources=(tmp_path,), fetch=CrlFetch(urls, HOUR, tmp_path))
    trust = CurrentTrust(Trust((pki.root,), (pki.issuing,), (), revocation))

    async def run_until_held() -> None:
        renewals = crl_renewals([("a", trust)], 0.01)
        tasks = [asyncio.create_task(keep_current(renewal)) for renewal in renewals]
        async with asyncio.timeout(5):
            while len(trust.lists.held) < 2:
                await asyncio.sleep(0.005)
        for task in tasks:
            await stop_renewal(task)

    asyncio.run(run_until_held())


def test_a_failing_fetch_is_logged_once_and_so_is_its_recovery(
    held: Held, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    problems = iter(["the response has status 404", "the response has status 404", None, None])

    async def run(_fetch: Fetch, _trust: CurrentTrust) -> str | None:
        return next(problems)

    monkeypatch.setattr(Fetch, "run", run)
    fetched = FetchedLists(held.renewal, CrlFetch(("http://pki/a.crl",), HOUR, held.folder))
    caplog.set_level(logging.WARNING)
    waits, current = [], []
    for _ in range(4):
        waits.append(asyncio.run(fetched.check()))
        current.append(fetched.problems())
    assert waits == [RETRY_SECONDS, RETRY_SECONDS, 3_600, 3_600]
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert "status 404; the lists in use do not change" in lines[0]
    assert "can be fetched again" in lines[1]
    assert current == [lines[:1], lines[:1], [], []]
