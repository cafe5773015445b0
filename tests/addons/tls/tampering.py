"""A TLS client that changes what it sends, from tlslite-ng, and the outcomes of its connections."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tlslite.api import HandshakeSettings, TLSConnection, X509CertChain, parsePEMKey
from tlslite.constants import AlertDescription, ContentType
from tlslite.errors import (
    TLSAbruptCloseError,
    TLSClosedConnectionError,
    TLSLocalAlert,
    TLSRemoteAlert,
)
from tlslite.messages import HandshakeMsg, Message

from tests.addons.stand_ins.lab import BRIDGED, GOOD
from tests.addons.stand_ins.running import SOON, Running

REQUEST = f"{GOOD[0]} {GOOD[1]} HTTP/1.1\r\nHost: {BRIDGED}\r\n\r\n".encode()
SERVED = "served"
CLOSED = "closed"
TLS_1_2: Mapping[str, Any] = {"maxVersion": (3, 3)}

type Change = Callable[[Any], Iterable[Any]]
"""From a message of the handshake to the messages that are sent instead."""


class Tampering(TLSConnection):  # type: ignore[misc]
    """A client whose messages of the handshake go through a function."""

    def __init__(self, plain: socket.socket, change: Change) -> None:
        super().__init__(plain)
        self._change = change

    def _sendMsg(self, msg: Any, *args: Any, **options: Any) -> Iterator[Any]:  # noqa: N802
        for changed in self._change(msg):
            yield from super()._sendMsg(changed, *args, **options)

    def send_record(self, kind: int, data: bytes) -> None:
        """Send one record, encrypted if the handshake is finished."""
        for _ in self._recordLayer.sendRecord(Message(kind, bytearray(data))):
            pass

    def update_keys(self, kind: int) -> None:
        """Send a KeyUpdate (RFC 8446 §4.6.3)."""
        for _ in self.send_keyupdate_request(kind):
            pass

    def corrupt(self) -> None:
        """Change the last byte of all further records."""
        layer, send = self._recordLayer, self._recordLayer._recordSocket.send

        def corrupted(message: Any, padding: int) -> Iterator[Any]:
            message.data = bytearray(message.data)
            message.data[-1] ^= 1
            return send(message, padding)  # type: ignore[no-any-return]

        layer._recordSocket.send = corrupted


class Made(HandshakeMsg):  # type: ignore[misc]
    """A message of the handshake with any type and any content."""

    def __init__(self, kind: int, content: bytes) -> None:
        super().__init__(kind)
        self.content = content

    def write(self) -> bytearray:
        return bytearray([self.handshakeType, *len(self.content).to_bytes(3), *self.content])


type Talk = Callable[[Tampering], object]
"""What a client sends after its handshake."""


def unchanged(message: Any) -> Iterable[Any]:
    """Send a message as it is."""
    return (message,)


@dataclass(frozen=True)
class Conversation:
    """What a client sends, and the outcome: an alert, `SERVED` or `CLOSED`."""

    outcome: str
    change: Change = unchanged
    talk: Talk | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


def converse(running: Running, conversation: Conversation) -> str:
    """Make a handshake, talk, send a request if it may be served, and return the outcome."""
    computer = running.lab.computer
    chain = X509CertChain()
    chain.parsePemList(computer.chain_pem().decode())
    with socket.create_connection(running.address, SOON) as plain:
        client = Tampering(plain, conversation.change)
        client.closeSocket = False
        try:
            client.handshakeClientCert(
                chain,
                parsePEMKey(computer.key_pem().decode(), private=True),
                settings=_settings(conversation.settings),
                serverName=BRIDGED,
            )
            if conversation.talk is not None:
                conversation.talk(client)
            if conversation.outcome == SERVED:
                # A request after a refused record could lose its alert to a reset of TCP.
                client.send(REQUEST)
            received = bytes(client.read(12, 12))
        except (TLSRemoteAlert, TLSLocalAlert) as alert:
            return str(AlertDescription.toStr(alert.description))
        except (TLSAbruptCloseError, TLSClosedConnectionError, ConnectionError):
            return CLOSED
        finally:
            with contextlib.suppress(OSError):
                plain.shutdown(socket.SHUT_RDWR)
    return SERVED if received == b"HTTP/1.1 200" else CLOSED


def _settings(changes: Mapping[str, Any]) -> HandshakeSettings:
    settings = HandshakeSettings()
    settings.minVersion = (3, 3)
    # It would compress its certificate even if the server cannot decompress it.
    settings.certificate_compression_send = []
    for name, value in changes.items():
        setattr(settings, name, value)
    return settings


# Changes of the handshake


def instead(kind: type, make: Callable[[Any], Iterable[Any]]) -> Change:
    """Send other messages instead of those of one type."""
    return lambda message: make(message) if isinstance(message, kind) else (message,)


def edited(kind: type, edit: Callable[[Any], object]) -> Change:
    """Change the messages of one type."""

    def make(message: Any) -> Iterable[Any]:
        edit(message)
        return (message,)

    return instead(kind, make)


def record(kind: int, data: bytes) -> Talk:
    """Send one record."""
    return lambda client: client.send_record(kind, data)


def handshake(kind: int, content: bytes) -> Talk:
    """Send one message of the handshake."""
    return record(ContentType.handshake, bytes(Made(kind, content).write()))


def times(count: int, talk: Talk) -> Talk:
    """Repeat what is sent."""

    def repeat(client: Tampering) -> None:
        for _ in range(count):
            talk(client)

    return repeat
