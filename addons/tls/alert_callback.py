"""Reports the TLS alerts of a context's connections.

OpenSSL calls this callback about twenty times in each handshake, and rarely for an alert. So it is
given to OpenSSL directly, and looks for the connection only if there is an alert. It uses private
parts of pyOpenSSL, which tests/addons/contract/test_openssl.py lists.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from OpenSSL import SSL

from ibcm_bridge.addons.tls.context import ffi, lib

SENT = SSL.SSL_CB_ALERT | SSL.SSL_CB_WRITE
RECEIVED = SSL.SSL_CB_ALERT | SSL.SSL_CB_READ

Report = Callable[[SSL.Connection, int], None]
"""Called with an alert: its level in the high byte, its description in the low byte
(SSL_CTX_set_info_callback(3))."""


def report_alerts(context: SSL.Context, which: int, report: Report) -> None:
    """Call `report` for each alert that is `SENT` or `RECEIVED`."""

    def _info(ssl: Any, where: int, value: int) -> None:
        if where & which == which:
            report(SSL.Connection._reverse_mapping[ssl], value)

    callback = ffi.callback("void (*)(const SSL *, int, int)", _info)
    lib.SSL_CTX_set_info_callback(context._context, callback)
    # OpenSSL stores a bare pointer: the callback must live as long as the context.
    context._ibcm_bridge_alerts = callback  # type: ignore[attr-defined]
