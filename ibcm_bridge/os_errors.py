"""What the operating system refuses, for the operator: one sentence, with what to do about it.

Only error numbers are read here; files and sockets are their owners'.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ibcm_bridge.policy.addresses import Address

_NOT_WRITTEN = {
    errno.ENOSPC: ("the disk is full", "free some space, or "),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or "),
    # setrlimit(2), RLIMIT_FSIZE; or more than the file system can have in one file.
    errno.EFBIG: ("the file would be larger than it may be", "raise the limit (ulimit -f), or "),
    errno.EROFS: ("the file system is read-only", ""),
    errno.EACCES: ("this user may not write there", "let it, or "),
    errno.EPERM: ("this user may not write there", "let it, or "),
}
"""Error number -> why, and what else can be done."""

PRIVILEGED = 1024
"""Ports below it take a right (capabilities(7); Linux can have another number)."""


def cannot_write(error: OSError, place: object, otherwise: str) -> str:
    """Why nothing can be written to a place; `otherwise` is what to do, such as "name another"."""
    why, first = _NOT_WRITTEN.get(error.errno or 0, (error.strerror or str(error), ""))
    return f"{place} cannot be written: {why}; {first}{otherwise}"


def is_about_writing(error: OSError) -> bool:
    """Whether `cannot_write` knows what it means."""
    return error.errno in _NOT_WRITTEN


class ListenError(OSError):
    """Nobody listens there. `strerror` is why, with what to do."""


def cannot_listen(error: OSError, address: Address) -> ListenError:
    """Why nothing can listen at an address. `error` is of bind(2) or listen(2)."""
    # The policy takes a while to load, and this is loaded for --help.
    from ibcm_bridge.policy.addresses import address_text  # noqa: PLC0415

    host, port = address
    where, number = address_text(address), error.errno
    if number == errno.EADDRINUSE:
        text = f"{where} is already in use; end what uses it, or listen on another port"
    # asyncio gives no number where it found no address to bind to.
    elif number in (None, errno.EADDRNOTAVAIL):
        text = f"{where}: {host} is no address of this machine; listen on one that is"
    elif number in (errno.EACCES, errno.EPERM) and port < PRIVILEGED:
        text = (
            f"listening on {where} takes a right; run it with CAP_NET_BIND_SERVICE, or listen on "
            f"8443 and forward {port} to it"
        )
    else:
        why = error.strerror or str(error)
        text = f"{where} cannot be listened on: {why}; listen on another port"
    return ListenError(number, text)


@contextlib.contextmanager
def listening_at(address: Address) -> Iterator[None]:
    """What listens there is made inside; what goes wrong is a ListenError."""
    try:
        yield
    except OSError as error:
        raise cannot_listen(error, address) from error
