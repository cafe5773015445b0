"""Fetches revocation lists over HTTP into the folder that is watched.

HTTP, because lists are signed and a TLS connection would need a list of its own (RFC 5280 §8).
What is fetched can only take the place of an older list of the same authority: it is kept only if
a configured authority has signed it. The folder lets a restart begin with what was had before.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from urllib.parse import urlsplit

import h11

from ibcm_bridge.addons.tls.current_trust import CurrentTrust
from ibcm_bridge.authentication.revocation import is_of_unknown_issuer, renew
from ibcm_bridge.policy_file.crl_files import parse_crls

MAX_BYTES = 32 * 1024 * 1024
"""Several hundred thousand entries."""

FETCH_SECONDS = 60.0
"""For all of it, connecting included."""


class FetchError(Exception):
    """Why something was not fetched, for the operator."""


class Fetch:
    """One URL and the file that keeps what it last gave."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.file = folder / f"fetched-{hashlib.sha256(url.encode()).hexdigest()[:16]}.crl"

    async def run(self, trust: CurrentTrust) -> str | None:
        """Fetch once and keep what is good; what is wrong otherwise. Never raises."""
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                data = await _download(self.url)
            await asyncio.to_thread(self._keep, data, trust)
        except FetchError as error:
            return str(error)
        except TimeoutError:
            return f"not fetched within {FETCH_SECONDS:.0f} seconds"
        except OSError as error:
            return f"cannot be fetched: {error.strerror or type(error).__name__}"
        except Exception as error:  # of whoever answers, nothing must stop the renewal
            return f"cannot be fetched: {type(error).__name__}"
        return None

    def _keep(self, data: bytes, trust: CurrentTrust) -> None:
        try:
            lists = parse_crls(data)
        except ValueError as error:
            raise FetchError("is not a revocation list") from error
        if any(is_of_unknown_issuer(one, trust.trust) for one in lists):
            raise FetchError("is the list of an authority that is not configured")
        fetched = [("fetched", one) for one in lists]
        renewed = renew(trust.lists, trust.trust, fetched, trust.clock())
        if renewed.problems and not renewed.early:
            raise FetchError(renewed.problems[0].removeprefix("fetched: "))
        if self.file.exists() and self.file.read_bytes() == data:
            return
        # A file that is half-written would be read.
        half = self.file.with_name(f".{self.file.name}")
        half.write_bytes(data)
        half.replace(self.file)


async def _download(url: str) -> bytes:
    parts = urlsplit(url)
    assert parts.hostname is not None
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    try:
        connection = h11.Connection(h11.CLIENT)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        request = h11.Request(
            method="GET",
            target=target,
            headers=[("Host", parts.netloc), ("Accept", "*/*"), ("Connection", "close")],
        )
        writer.write(connection.send(request) or b"")
        writer.write(connection.send(h11.EndOfMessage()) or b"")
        await writer.drain()
        return await _body(connection, reader)
    except h11.RemoteProtocolError as error:
        raise FetchError("the answer is not HTTP") from error
    finally:
        writer.close()


async def _body(connection: h11.Connection, reader: asyncio.StreamReader) -> bytes:
    data = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(65_536))
        elif isinstance(event, h11.Response):
            # No redirects: the policy file says where lists come from.
            if event.status_code != 200:
                raise FetchError(f"the answer has status {event.status_code}")
        elif isinstance(event, h11.Data):
            data += event.data
            if len(data) > MAX_BYTES:
                raise FetchError(f"the answer has more than {MAX_BYTES} bytes")
        elif isinstance(event, h11.EndOfMessage):
            return bytes(data)
        elif isinstance(event, h11.ConnectionClosed):
            raise FetchError("the answer is incomplete")
