"""The control socket of a bridge: a UNIX socket that only its user and root can use (Linux).

1. Its folder must be closed to others, and the socket has mode 0600. Both sides check the other's
   user (SO_PEERCRED, unix(7)).
2. A message is one line: a word, and a text of this word. The messages are in `control`.
3. The socket gets its name only when the bridge serves, by a rename. Until then the name is that of
   the process before it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from ibcm_bridge.addons.errors import StartError

BACKLOG = 16

MESSAGE_BYTES = 65_536
"""The limit for a message."""

MOST_FILES = 250
"""Files that one message can carry (SCM_MAX_FD is 253)."""

_LONGEST_PATH = 107
"""sun_path of unix(7), without its null byte."""

_CREDENTIALS = struct.Struct("3i")
"""ucred of unix(7): the process, the user, the group."""

_OF_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class ControlError(Exception):
    """The control socket cannot be used. The text is for the operator."""


class Peer(NamedTuple):
    """The process at the other end."""

    pid: int
    uid: int

    @classmethod
    def of(cls, connection: socket.socket) -> Self:
        """Return who connected, or for a client, who listened."""
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(raw)
        return cls(pid, uid)

    @property
    def may_control(self) -> bool:
        """Whether it is root, or has the user of this process."""
        return self.uid in (0, os.geteuid())


class ControlSocket:
    """Listens under a temporary name until `publish`. Connections wait until `Control` runs."""

    def __init__(self, path: Path) -> None:
        """Create the folder if necessary. Raise StartError."""
        self._path = path
        self._temporary = path.with_name(f"{path.name}.{os.getpid()}")
        self._identity: tuple[int, int] | None = None
        """The file system and the number of the file, once it has its name."""
        if len(os.fsencode(self._temporary.absolute())) > _LONGEST_PATH:
            raise StartError(f"--control: {path} is too long for a socket; name a shorter path")
        with _explained(path):
            path.parent.mkdir(0o700, parents=True, exist_ok=True)
        if (why_not := _folder_refusal(path.parent)) is not None:
            raise StartError(f"--control: {why_not}")
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with _explained(path):
                self._listen()
        except BaseException:
            self.listener.close()
            raise

    def _listen(self) -> None:
        # A process with the same number may have been killed before it could remove its socket.
        self._temporary.unlink(missing_ok=True)
        # On Linux a new socket file gets the mode of its socket.
        os.fchmod(self.listener.fileno(), 0o600)
        self.listener.setblocking(False)
        self.listener.bind(str(self._temporary))
        self.listener.listen(BACKLOG)

    def __str__(self) -> str:
        return str(self._path)

    def publish(self) -> None:
        """Give the socket its name, in place of that of an earlier process. Raise OSError."""
        self._temporary.rename(self._path)
        self._identity = _identity(self._path)

    def close(self, *, keeps_name: bool = False) -> None:
        """Stop listening. `keeps_name`: another process takes the name."""
        self.listener.close()
        if self._identity is None:
            self._temporary.unlink(missing_ok=True)
        elif not keeps_name and _identity(self._path) == self._identity:
            self._path.unlink(missing_ok=True)


def connected(path: Path) -> socket.socket | None:
    """Connect to the bridge at a path; return None if there is none. Raise ControlError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        connection.close()
        return None
    except OSError as error:
        connection.close()
        cause = error.strerror or str(error)
        raise ControlError(
            f"{path}: {cause}; only root and the bridge's user may connect"
        ) from error
    if os.geteuid() != 0 and not Peer.of(connection).may_control:
        connection.close()
        raise ControlError(f"{path} is the socket of another user; connect as that user")
    return connection


def send(connection: socket.socket, word: str, text: str = "", files: Sequence[int] = ()) -> None:
    """Send a message, with open files. Raise OSError."""
    socket.send_fds(connection, [f"{word} {text}".encode()], files)


class Message(NamedTuple):
    """A message that was received. Without a word, the other side has ended."""

    word: str
    text: str
    files: Sequence[int]


def receive(connection: socket.socket) -> Message:
    """Return the next message. Raise OSError."""
    data, files, _, _ = socket.recv_fds(connection, MESSAGE_BYTES, MOST_FILES)
    for file in files:
        os.set_inheritable(file, False)
    word, _, text = data.decode("utf-8", "replace").partition(" ")
    return Message(word, text, files)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        cause = error.strerror or str(error)
        raise StartError(f"--control: {path} cannot be made: {cause}; name another path") from error


def _folder_refusal(folder: Path) -> str | None:
    """Why a folder is not safe, for the operator; None if it is."""
    found = folder.stat()
    if found.st_uid not in (0, os.geteuid()):
        return f"{folder} belongs to another user; name a folder of the bridge's own user"
    if found.st_mode & _OF_OTHERS:
        return (
            f"{folder} is open to other users; close it (chmod 700, or RuntimeDirectoryMode=0700 "
            "in the systemd unit)"
        )
    return None


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
