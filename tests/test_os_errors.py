"""Errors of the operating system as one sentence with a remedy."""

from __future__ import annotations

import errno
import os

import pytest

from ibcm_bridge.lab.errors import error_message
from ibcm_bridge.os_errors import ListenError, cannot_listen, cannot_write, listening_at


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
