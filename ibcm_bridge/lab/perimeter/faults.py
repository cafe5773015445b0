"""Faults that a lab can have on demand: a table, each row a switch of the page.

A fault is real: a stand-in that does not listen, a list whose date is over.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ibcm_bridge.lab.perimeter.perimeter import Perimeter

type Switch = Callable[[Perimeter, bool], None]


@dataclass(frozen=True)
class Fault:
    """One switch. `change` puts it on (True) and off."""

    id: str
    title: str
    lesson: str
    change: Switch


def _site_system_down(perimeter: Perimeter, on: bool) -> None:
    role = "management-point"
    if on:
        perimeter.site.take_down(role)
    else:
        perimeter.site.bring_up(role)


def _lists_over(perimeter: Perimeter, on: bool) -> None:
    """Newer lists, which ended an hour ago, in place of the bridge's; and good ones afterwards."""
    now = datetime.datetime.now(datetime.UTC)
    hour = datetime.timedelta(hours=1)
    crls = perimeter.pki.crls(this_update=now - 2 * hour, next_update=now - hour if on else None)
    _write(perimeter, crls)
    # It would notice by itself, within seconds; a page is to show it at once.
    perimeter.bridge.restart()


def _engine_gone(perimeter: Perimeter, on: bool) -> None:
    if on:
        perimeter.stop_engine()
    else:
        perimeter.start_engine()


def _write(perimeter: Perimeter, crls: Iterable[x509.CertificateRevocationList]) -> None:
    for name, crl in zip(("root", "issuing"), crls, strict=True):
        path = perimeter.directory / "pki" / f"{name}.crl"
        path.write_bytes(crl.public_bytes(Encoding.PEM))


FAULTS = {
    fault.id: fault
    for fault in (
        Fault(
            "site-system-down",
            "Management point down",
            "The bridge answers 502 and names no address; a tunnel just ends.",
            _site_system_down,
        ),
        Fault(
            "crl-over",
            "Revocation lists past their date",
            "Nobody can tell who has been revoked, so the bridge lets nobody in. A tunnel does not "
            "know of it.",
            _lists_over,
        ),
        Fault(
            "engine-gone",
            "Malware engine gone",
            "What cannot be inspected is not forwarded: 503 to everything with a body, until "
            "ClamAV's daemon (here a stand-in) is back. A tunnel never asked it.",
            _engine_gone,
        ),
    )
}
