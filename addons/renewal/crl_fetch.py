"""Fetches revocation lists over HTTP into a watched folder.

It uses HTTP because lists are signed, and a TLS connection would itself need a list (RFC 5280 §8).
A fetched list is stored only if a configured authority signed it, and only replaces an older list
of that authority. The folder keeps the lists for the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import h11

from ibcm_bridge.addons.tls.current_trust import CurrentTrust
from ibcm_bridge.authentication.revocation import is_of_unknown_issuer, renew
from ibcm_bridge.policy_file.crl_files import parse_crls

MAX_BYTES = 32 * 1024 * 1024
"""Limit for one list: room for several hundred thousand entries."""

FETCH_SECONDS = 60.0
"""Limit for one fetch, including the connection, in seconds."""

ABANDONED_SECONDS = 60.0
"""A file that is still incomplete after this time belongs to a process that was killed."""


class FetchError(Exception):
    """A list could not be fetched. The text is for the operator."""


class Fetch:
    """One URL, and the file that stores its last list."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.file = folder / f"fetched-{hashlib.sha256(url.encode()).hexdigest()[:16]}.crl"

    async def run(self, trust: CurrentTrust) -> str | None:
        """Fetch once and store a valid list. Return the problem, or None. Never raises."""
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
        except Exception as error:  # no response may stop the renewal
            return f"cannot be fetched: {type(error).__name__}"
        return None

    def _keep(self, data: bytes, trust: CurrentTrust) -> None:
        self._remove_abandoned()
        try:
            lists = parse_crls(data)
        except ValueError as error:
            raise FetchError("is not a revocation list") from error
        if any(is_of_unknown_issuer(crl, trust.trust) for crl in lists):
            raise FetchError("is the list of a CA that is not configured")
        # Another worker may have stored a newer list, which this one has not read yet.
        stored = self.file.read_bytes() if self.file.exists() else b""
        if stored == data:
            return
        held = trust.lists
        with contextlib.suppress(ValueError):
            before = [("stored", crl) for crl in parse_crls(stored)]
            held = renew(held, trust.trust, before, trust.clock()).lists
        fetched = [("fetched", crl) for crl in lists]
        renewed = renew(held, trust.trust, fetched, trust.clock())
        if renewed.problems and not renewed.early:
            raise FetchError(renewed.problems[0].removeprefix("fetched: "))
        # The watch must not read a partly written file. Another worker, or another trust with the
        # same URL and folder, writes its own.
        own = f"{os.getpid()}.{threading.get_ident()}"
        partial = self.file.with_name(f".{self.file.name}.{own}")
        try:
            partial.write_bytes(data)
            partial.replace(self.file)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    def _remove_abandoned(self) -> None:
        """Remove what killed processes have left. Another worker may write its own file now."""
        oldest = time.time() - ABANDONED_SECONDS
        for partial in self.file.parent.glob(f".{self.file.name}.*"):
            # Another worker may remove the same file.
            with contextlib.suppress(OSError):
                if partial.stat().st_mtime < oldest:
                    partial.unlink()


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
        raise FetchError("the response is not HTTP") from error
    finally:
        writer.close()


async def _body(connection: h11.Connection, reader: asyncio.StreamReader) -> bytes:
    data = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(65_536))
        elif isinstance(event, h11.Response):
            # Redirects are not followed: only the policy file names sources of lists.
            if event.status_code != 200:
                raise FetchError(f"the response has status {event.status_code}")
        elif isinstance(event, h11.Data):
            data += event.data
            if len(data) > MAX_BYTES:
                raise FetchError(f"the response is larger than {MAX_BYTES:,} bytes")
        elif isinstance(event, h11.EndOfMessage):
            return bytes(data)
        elif isinstance(event, h11.ConnectionClosed):
            raise FetchError("the response is incomplete")
