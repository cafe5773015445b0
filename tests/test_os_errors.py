"""Errors of the operating system as one sentence with a remedy."""

from __future__ import annotations

import errno
import os

import pytest

from ibcm_bridge.lab.errors import error_message
from ibcm_bridge.os_errors import (
    ListenError,
    cannot_listen,
    cannot_write,
    listening_at,
    not_connected,
)


def failed(number: int, name: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), name)


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (errno.ENOSPC, "the disk is full; free some space, or do that"),
        (errno.EDQUOT, "the disk quota is used up; free some space, or do that"),
        (errno.EROFS, "the file system is read-only; do that"),
        (errno.EACCES, "permission denied; grant write access to this user, or do that"),
        (errno.EIO, f"{os.strerror(errno.EIO)}; do that"),
    ],
)
def test_a_failed_write_has_a_cause_and_a_remedy(number: int, why: str) -> None:
    assert cannot_write(failed(number), "/x", "do that") == f"/x cannot be written: {why}"


def test_an_error_without_a_number_keeps_its_own_text() -> None:
    assert cannot_write(OSError("so"), "/x", "do that") == "/x cannot be written: so; do that"


@pytest.mark.parametrize(
    ("error", "address", "text"),
    [
        (failed(errno.EADDRINUSE), ("::1", 443), "[::1]:443 is already in use; stop the other "),
        (
            failed(errno.EADDRNOTAVAIL),
            ("192.0.2.1", 1),
            "192.0.2.1 is not an address of this machine",
        ),
        (OSError("could not bind on any"), ("192.0.2.1", 1), "is not an address of this machine; "),
        (failed(errno.EACCES), ("::", 443), "CAP_NET_BIND_SERVICE, or listen on 8443 and forward"),
        (failed(errno.EACCES), ("::", 8443), "cannot listen on [::]:8443: Permission denied; "),
    ],
)
def test_a_failed_listener_has_a_cause_and_a_remedy(
    error: OSError, address: tuple[str, int], text: str
) -> None:
    found = cannot_listen(error, address)
    assert found.errno == error.errno
    assert text in str(found.strerror)


def test_an_error_at_an_address_names_the_address() -> None:
    taken = r"127\.0\.0\.1:9 is already in use"
    with pytest.raises(ListenError, match=taken) as found, listening_at(("127.0.0.1", 9)):
        raise failed(errno.EADDRINUSE)
    assert error_message(found.value, "/x", "do that") == found.value.strerror


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (failed(errno.ENOSPC), "/x cannot be written: the disk is full; free some space, or do"),
        (failed(errno.ENOSPC, "/y"), "/y cannot be written: the disk is full; free some space"),
        (
            failed(errno.ECONNREFUSED),
            "Connection refused; if the lab is not running, start it with: ",
        ),
        (FileNotFoundError(errno.ENOENT, "No usable temporary directory"), "directory; do that"),
        (failed(errno.ENOENT, "/y"), "/y: No such file or directory"),
        (RuntimeError("x\nibcm-bridge: cannot start: a b is full; c\n"), "a b is full; free some "),
        (RuntimeError("x\nibcm-bridge: cannot start: a b; c\n"), "a b; c"),
        (RuntimeError("it did not\n"), "it did not"),
    ],
)
def test_an_error_of_a_lab_has_a_cause_and_a_remedy(error: Exception, text: str) -> None:
    assert text in error_message(error, "/x", "do that")
    assert "\n" not in error_message(error, "/x", "do that")


WHERE = ("192.0.2.1", 443)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ECONNREFUSED, "connection refused by 192.0.2.1:443"),
        (errno.ECONNRESET, "connection reset by 192.0.2.1:443"),
        (errno.ETIMEDOUT, "connection to 192.0.2.1:443 timed out"),
        (errno.EHOSTUNREACH, "no route to host 192.0.2.1:443"),
        (errno.ENETUNREACH, "network unreachable for 192.0.2.1:443"),
        (errno.EPERM, "connection to 192.0.2.1:443 blocked by a local firewall rule"),
        (errno.EADDRNOTAVAIL, "no free local address or port for a connection to 192.0.2.1:443"),
        (errno.EMFILE, "too many open files for a connection to 192.0.2.1:443"),
    ],
)
def test_a_failed_connection_has_a_cause_without_a_number(number: int, text: str) -> None:
    assert not_connected(str(failed(number)), WHERE) == text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        # asyncio
        ("[Errno 111] Connect call failed ('::1', 443, 0, 0)", "connection refused by [::1]:443"),
        (
            "Multiple exceptions: [Errno 111] Connect call failed ('::1', 443, 0, 0), "
            "[Errno 111] Connect call failed ('127.0.0.1', 443)",
            "connection refused by [::1]:443",
        ),
        (
            "Multiple exceptions: [Errno 101] Network is unreachable, "
            "[Errno 111] Connect call failed ('127.0.0.1', 443)",
            "network unreachable for [::1]:443; connection refused by [::1]:443",
        ),
    ],
)
@pytest.mark.skipif(errno.ECONNREFUSED != 111, reason="numbers of Linux")
def test_the_addresses_of_one_name_have_their_causes(error: str, text: str) -> None:
    assert not_connected(error, ("::1", 443)) == text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ("[Errno -2] Name or service not known", "name not found: mp"),
        ("[Errno -3] Temporary failure in name resolution", "name resolution failed: mp"),
        ("[Errno 8] nodename nor servname provided, or not known", "name not found: mp"),
        ("[Errno 11001] getaddrinfo failed", "name not found: mp"),
        ("[WinError 1225] The remote computer refused", "connection refused by mp:443"),
        ("[WinError 121] The semaphore timeout period", "connection to mp:443 timed out"),
        ("[WinError 1232] The network location", "no route to host mp:443"),
        # without a known number
        ("[Errno 9999] so", "no connection to mp:443: so"),
        ("connection cancelled", "no connection to mp:443: connection cancelled"),
        ("", "no connection to mp:443: "),
    ],
)
def test_a_failed_connection_has_a_cause_on_each_system(error: str, text: str) -> None:
    assert not_connected(error, ("mp", 443)) == text
