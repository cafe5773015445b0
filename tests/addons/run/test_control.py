"""Orders over the control socket: who may give them, and what they do."""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn, Self

import pytest

if sys.platform != "linux":
    pytest.skip("a control socket requires Linux", allow_module_level=True)

from ibcm_bridge.addons.errors import StartError
from ibcm_bridge.addons.run import control_client, control_socket
from ibcm_bridge.addons.run.control import Control
from ibcm_bridge.addons.run.control_client import Outcome, Takeover, reload_bridge, take_over
from ibcm_bridge.addons.run.control_socket import ControlError, ControlSocket, Peer, connected
from ibcm_bridge.addons.run.handover import Inherited, divided

SOON = 10.0
HERE = ("127.0.0.1", 0)


class Bridge:
    """A bridge that notes its orders, with a thread in place of an event loop."""

    def __init__(self, path: Path) -> None:
        self.problems: Sequence[str] | None = ()
        self.said: list[str] = []
        self.drains = threading.Event()
        self.digest = "0123456789abcdef"
        self.listener = socket.create_server(HERE)
        self._readers: dict[socket.socket, Callable[[], object]] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        place = ControlSocket(path)
        self.control = Control(place, self, self, lambda text, _: self.said.append(text))
        place.publish()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self.control.close()
        self.listener.close()

    def reload(self, done: Callable[[Sequence[str]], None]) -> None:
        if self.problems is not None:
            done(self.problems)

    def sockets(self) -> Inherited:
        return Inherited({HERE: [self.listener] * 300}, by_service_manager=True)

    def hand_over(self) -> None:
        self.drains.set()

    def add_reader(self, file: socket.socket, function: Callable[[], object]) -> None:
        self._readers[file] = function

    def remove_reader(self, file: socket.socket) -> None:
        del self._readers[file]

    def call_later(self, _seconds: float, _function: Callable[[], object]) -> None:
        pytest.fail("there are files for a connection")

    def _run(self) -> None:
        while not self._ended.is_set():
            for file in select.select(list(self._readers), [], [], 0.01)[0]:
                if file in self._readers:
                    self._readers[file]()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "private" / "control.sock"


@pytest.fixture
def bridge(path: Path) -> Iterator[Bridge]:
    with Bridge(path) as bridge:
        yield bridge


def until(condition: Callable[[], object]) -> None:
    ended = threading.Event()
    for _ in range(1_000):
        if condition():
            return
        ended.wait(SOON / 1_000)
    pytest.fail("it did not happen")


# The socket


def test_only_its_user_can_use_the_socket(bridge: Bridge, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_folder_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o750)
    with pytest.raises(StartError, match="is open to other users; close it"):
        ControlSocket(tmp_path / "open" / "control.sock")
    assert list((tmp_path / "open").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="requires root")
def test_the_folder_of_another_user_is_refused(path: Path) -> None:
    path.parent.mkdir(0o700)
    os.chown(path.parent, 12_345, -1)
    with pytest.raises(StartError, match="belongs to another user"):
        ControlSocket(path)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        (Path("/proc/nothing/control.sock"), "cannot be made"),
        (Path("/tmp") / ("x" * 120), "is too long for a socket"),
    ],
)
def test_a_path_that_cannot_be_used_is_refused(path: Path, why: str) -> None:
    with pytest.raises(StartError, match=why):
        ControlSocket(path)


def test_without_a_bridge_there_is_no_connection(path: Path) -> None:
    assert connected(path) is None
    with Bridge(path):
        pass
    assert list(path.parent.iterdir()) == []
    assert reload_bridge(path) is None
    assert take_over(path) is None


def test_the_socket_of_a_killed_bridge_is_replaced(path: Path) -> None:
    killed = ControlSocket(path)
    killed.publish()
    killed.listener.close()
    assert connected(path) is None
    with Bridge(path):
        assert reload_bridge(path) == Outcome([], "0123456789abcdef")


def test_a_bridge_does_not_remove_the_socket_of_another(path: Path) -> None:
    with Bridge(path):
        second = ControlSocket(path)
        second.publish()
    assert path.exists()
    second.close()
    assert not path.exists()


@pytest.mark.parametrize("uid", [0, os.geteuid()])
def test_root_and_the_own_user_may_control(uid: int) -> None:
    assert Peer(1, uid).may_control


def test_another_user_may_not_control(
    bridge: Bridge, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not Peer(1, os.geteuid() + 1).may_control
    monkeypatch.setattr(Peer, "may_control", False)
    monkeypatch.setattr(control_client, "connected", _unchecked)
    with pytest.raises(ControlError, match="only root and the user of the bridge"):
        reload_bridge(path)
    assert bridge.said == []


def _unchecked(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(str(path))
    return connection


def opened_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("may_control", [True, False])
def test_files_that_come_with_an_order_are_closed(
    bridge: Bridge, path: Path, monkeypatch: pytest.MonkeyPatch, may_control: bool
) -> None:
    """A regular file is not a socket. The bridge goes on, and refuses the order."""
    monkeypatch.setattr(Peer, "may_control", may_control)
    with _unchecked(path) as connection, Path(__file__).open("rb") as file:
        connection.settimeout(SOON)
        until(lambda: bridge.control._peers)
        before = opened_files()
        control_socket.send(connection, "stop", "1", [file.fileno()] * 3)
        message = control_socket.receive(connection)
        why = "the order 'stop' is unknown"
        if not may_control:
            why = "only root and the user of the bridge may control it"
        assert message == ("error", why, [])
        # The bridge's end is closed, too.
        until(lambda: opened_files() < before)
    monkeypatch.undo()
    assert reload_bridge(path) == Outcome([], bridge.digest)


class Loop:
    """Counts what is watched, and keeps what is to be called later."""

    def __init__(self) -> None:
        self.watched: list[socket.socket] = []
        self.later: list[tuple[float, Callable[[], object]]] = []

    def add_reader(self, file: socket.socket, _function: Callable[[], object], /) -> None:
        self.watched.append(file)

    def remove_reader(self, file: socket.socket, /) -> None:
        if file in self.watched:
            self.watched.remove(file)

    def call_later(self, seconds: float, function: Callable[[], object], /) -> None:
        self.later.append((seconds, function))


class Listener(socket.socket):
    """Cannot accept a connection, for this reason."""

    number = errno.EMFILE

    def accept(self) -> NoReturn:
        raise OSError(self.number, "made to fail")


@pytest.mark.parametrize("closes", [False, True])
@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_without_files_for_a_connection_it_waits(path: Path, number: int, closes: bool) -> None:
    """The listener stays readable, so watching it would use the whole processor."""
    loop, place = Loop(), ControlSocket(path)
    place.listener.close()
    place.listener = Listener()
    place.listener.number = number
    control = Control(place, loop, loop, lambda *_: None)  # type: ignore[arg-type]
    assert loop.watched == [place.listener]
    control._accept()
    assert not loop.watched
    ((seconds, again),) = loop.later
    assert seconds == 1
    if closes:
        control.close()
    again()
    assert loop.watched == ([] if closes else [place.listener])
    control.close()


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ECONNABORTED])
def test_a_connection_that_is_gone_is_not_waited_for(path: Path, number: int) -> None:
    loop, place = Loop(), ControlSocket(path)
    place.listener.close()
    place.listener = Listener()
    place.listener.number = number
    control = Control(place, loop, loop, lambda *_: None)  # type: ignore[arg-type]
    control._accept()
    assert (loop.watched, loop.later) == ([place.listener], [])
    control.close()


# Orders


def test_a_reload_reports_its_outcome(bridge: Bridge, path: Path) -> None:
    assert reload_bridge(path) == Outcome([], bridge.digest)
    bridge.problems = [f"bridge.yaml:{number}: {'wrong ' * 50}" for number in range(150)]
    assert reload_bridge(path) == Outcome(bridge.problems, bridge.digest)


def test_a_reply_has_a_limit_of_problems(bridge: Bridge, path: Path) -> None:
    bridge.problems = [str(number) for number in range(1_000)]
    outcome = reload_bridge(path)
    assert outcome is not None
    assert outcome.problems[-2:] == ["199", "800 more problems are in the log"]


def test_a_bridge_that_stops_during_a_reload_is_reported(path: Path) -> None:
    with Bridge(path) as bridge:
        bridge.problems = None
        failed: list[str] = []

        def ask() -> None:
            try:
                reload_bridge(path)
            except ControlError as error:
                failed.append(str(error))

        asking = threading.Thread(target=ask)
        asking.start()
        until(lambda: bridge.control._peers)
    asking.join(SOON)
    assert failed == ["the running bridge has ended before it replied"]


@pytest.mark.parametrize(
    ("order", "why"),
    [
        ("reload 2", "the order has version 2, but this bridge supports version 1"),
        ("reload", "the order has version none, but this bridge supports version 1"),
        ("stop 1", "the order 'stop' is unknown"),
        ("ready 1", "the order 'ready' is unknown"),
    ],
)
def test_other_orders_are_refused(bridge: Bridge, path: Path, order: str, why: str) -> None:
    connection = connected(path)
    assert connection is not None
    with connection:
        connection.settimeout(SOON)
        control_socket.send(connection, *order.split(" "))
        assert control_socket.receive(connection) == ("error", why, [])
        assert control_socket.receive(connection).word == ""
    assert not bridge.drains.is_set()


# A takeover


def close(takeover: Takeover) -> None:
    takeover._connection.close()
    takeover.inherited.close_others(())


def test_all_sockets_are_handed_over(bridge: Bridge, path: Path) -> None:
    takeover = take_over(path)
    assert takeover is not None
    assert takeover.inherited.by_service_manager
    (queues,) = takeover.inherited.sockets.values()
    assert len(queues) == 300
    assert {queue.getsockname() for queue in queues} == {bridge.listener.getsockname()}
    assert not any(queue.get_inheritable() for queue in queues)
    with queues[0].dup() as shared:
        assert not os.get_blocking(shared.fileno())
    assert not bridge.drains.is_set()
    # The next process already listens under another name.
    successor = ControlSocket(path)
    takeover.finish()
    successor.publish()
    assert bridge.drains.is_set()
    until(lambda: bridge.control._place.listener.fileno() < 0)
    assert path.exists()
    assert bridge.said == [
        f"process {os.getpid()} is taking over",
        f"process {os.getpid()} has taken over; this one drains",
    ]
    successor.close()
    takeover.inherited.close_others(())


def test_a_process_that_ends_before_it_is_ready_changes_nothing(bridge: Bridge, path: Path) -> None:
    takeover = take_over(path)
    assert takeover is not None
    close(takeover)
    until(lambda: bridge.said[1:])
    assert bridge.said[1] == (
        f"process {os.getpid()} has ended before it took over; this one goes on"
    )
    assert not bridge.drains.is_set()
    again = take_over(path)
    assert again is not None
    again.finish()
    assert bridge.drains.is_set()
    again.inherited.close_others(())


def test_one_process_takes_over_at_a_time(bridge: Bridge, path: Path) -> None:
    first = take_over(path)
    assert first is not None
    with pytest.raises(ControlError, match="refuses: another process is taking over"):
        take_over(path)
    assert bridge.said == [f"process {os.getpid()} is taking over"]
    close(first)


@pytest.mark.parametrize("workers", range(1, 6))
@pytest.mark.parametrize("queues", range(1, 6))
def test_each_queue_has_a_worker_and_each_worker_a_queue(queues: int, workers: int) -> None:
    shares = divided(range(queues), workers)
    assert len(shares) == workers
    assert all(shares)
    assert {queue for share in shares for queue in share} == set(range(queues))
    assert all(len(set(share)) == len(share) for share in shares)
    if queues >= workers:
        assert sum(map(len, shares)) == queues, "no queue is shared"
