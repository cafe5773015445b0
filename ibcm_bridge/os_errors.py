"""Messages for the errors of the operating system: the cause, and what to do.

This module only interprets error numbers; it opens no files or sockets.
"""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ibcm_bridge.policy.addresses import Address

_NOT_WRITTEN = {
    errno.ENOSPC: ("the disk is full", "free some space, or "),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or "),
    # setrlimit(2), RLIMIT_FSIZE; or the limit of the file system.
    errno.EFBIG: ("the file would exceed the size limit", "raise the limit (ulimit -f), or "),
    errno.EROFS: ("the file system is read-only", ""),
    errno.EACCES: ("permission denied", "grant write access to this user, or "),
    errno.EPERM: ("permission denied", "grant write access to this user, or "),
}
"""Error number -> the cause, and the beginning of the remedy."""

PRIVILEGED = 1024
"""Ports below it need CAP_NET_BIND_SERVICE (capabilities(7); Linux can be configured otherwise)."""


def cannot_write(error: OSError, place: object, otherwise: str) -> str:
    """The message for a failed write. `otherwise` is the last remedy, such as "name another"."""
    cause, remedy = _NOT_WRITTEN.get(error.errno or 0, (error.strerror or str(error), ""))
    return f"{place} cannot be written: {cause}; {remedy}{otherwise}"


def is_about_writing(error: OSError) -> bool:
    """Return whether `cannot_write` has a cause for this error."""
    return error.errno in _NOT_WRITTEN


def is_about_open_files(error: OSError) -> bool:
    """Return whether this process or the system can open no more files."""
    return error.errno in (errno.EMFILE, errno.ENFILE)


class ListenError(OSError):
    """The bridge cannot listen at an address. `strerror` has the cause and the remedy."""


def cannot_listen(error: OSError, address: Address) -> ListenError:
    """Return the error for an address where bind(2) or listen(2) failed with `error`."""
    # Imported here, because the policy loads slowly and --help imports this module.
    from ibcm_bridge.policy.addresses import address_text  # noqa: PLC0415

    host, port = address
    where, number = address_text(address), error.errno
    if number == errno.EADDRINUSE:
        text = f"{where} is already in use; stop the other program, or listen on another port"
    # asyncio sets no number if it found no address to bind to.
    elif number in (None, errno.EADDRNOTAVAIL):
        text = f"{where}: {host} is not an address of this machine; listen on a local address"
    elif number in (errno.EACCES, errno.EPERM) and port < PRIVILEGED:
        text = (
            f"cannot listen on {where}: permission denied; grant CAP_NET_BIND_SERVICE, or listen "
            f"on 8443 and forward {port} to it"
        )
    else:
        cause = error.strerror or str(error)
        text = f"cannot listen on {where}: {cause}; listen on another port"
    return ListenError(number, text)


@contextlib.contextmanager
def listening_at(address: Address) -> Iterator[None]:
    """Turn an OSError inside the block, which starts a listener, into a ListenError."""
    try:
        yield
    except OSError as error:
        raise cannot_listen(error, address) from error


_REFUSED = "connection refused by {address}"
_ABORTED = "connection to {address} aborted"
_TIMED_OUT = "connection to {address} timed out"
_NO_ROUTE = "no route to host {address}"
_NO_NETWORK = "network unreachable for {address}"
_BLOCKED = "connection to {address} blocked by a local firewall rule"
_NO_FILES = "too many open files for a connection to {address}"
_NO_NAME = "name not found: {host}"
_NO_RESOLVER = "name resolution failed: {host}"

_NOT_CONNECTED = {
    errno.ECONNREFUSED: _REFUSED,
    errno.ECONNRESET: "connection reset by {address}",
    errno.ECONNABORTED: _ABORTED,
    errno.ETIMEDOUT: _TIMED_OUT,
    errno.EHOSTUNREACH: _NO_ROUTE,
    errno.EHOSTDOWN: _NO_ROUTE,
    errno.ENETUNREACH: _NO_NETWORK,
    errno.ENETDOWN: _NO_NETWORK,
    # connect(2): a rule such as REJECT in the chain OUTPUT.
    errno.EACCES: _BLOCKED,
    errno.EPERM: _BLOCKED,
    errno.EADDRNOTAVAIL: "no free local address or port for a connection to {address}",
    errno.EMFILE: _NO_FILES,
    errno.ENFILE: _NO_FILES,
    # getaddrinfo(3), netdb.h of Linux, then of macOS. A connection attempt has no other error with
    # these numbers.
    **dict.fromkeys((-2, -5), _NO_NAME),
    **dict.fromkeys((-3, -4), _NO_RESOLVER),
    **dict.fromkeys((8, 7), _NO_NAME),
    **dict.fromkeys((2, 4), _NO_RESOLVER),
    # Windows, System Error Codes: the errors of ConnectEx, with which asyncio connects.
    121: _TIMED_OUT,
    1225: _REFUSED,
    1231: _NO_NETWORK,
    1232: _NO_ROUTE,
    1236: _ABORTED,
    # Windows Sockets Error Codes that `errno` does not have under a common name.
    10013: _BLOCKED,
    **dict.fromkeys((11001, 11004), _NO_NAME),
    **dict.fromkeys((11002, 11003), _NO_RESOLVER),
}
"""The number of a failed connection attempt -> the cause."""

_NUMBER = re.compile(r"\[(?:Errno|WinError) (-?\d+)\] ?")
"""The number in `str` of an OSError. asyncio joins the errors of several addresses."""


def not_connected(error: str, address: Address) -> str:
    """The cause of a failed connection attempt. `error` is `str` of the OSError.

    An error without a known number keeps its text. mitmproxy gives a layer only this text.
    """
    from ibcm_bridge.policy.addresses import address_text  # noqa: PLC0415

    known = (_NOT_CONNECTED.get(int(number)) for number in _NUMBER.findall(error))
    causes = list(dict.fromkeys(filter(None, known)))
    if not causes:
        return f"no connection to {address_text(address)}: {_NUMBER.sub('', error)}"
    return "; ".join(causes).format(address=address_text(address), host=address[0])
