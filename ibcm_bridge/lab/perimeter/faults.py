"""The faults that the page can switch on and off.

A fault is real: a site system that does not listen, an expired CRL.
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
    """A fault. `change` switches it on (True) and off."""

    id: str
    title: str
    explanation: str
    change: Switch


def _site_system_down(perimeter: Perimeter, on: bool) -> None:
    role = "management-point"
    if on:
        perimeter.take_down(role)
    else:
        perimeter.bring_up(role)


def _crls_expired(perimeter: Perimeter, on: bool) -> None:
    """Replace the CRLs with CRLs that expired an hour ago, or with valid ones."""
    now = datetime.datetime.now(datetime.UTC)
    hour = datetime.timedelta(hours=1)
    crls = perimeter.pki.crls(this_update=now - 2 * hour, next_update=now - hour if on else None)
    _write(perimeter, crls)
    # The bridge reloads CRLs within seconds; the restart makes the change immediate.
    perimeter.bridge.restart()


def _engine_down(perimeter: Perimeter, on: bool) -> None:
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
            "The bridge returns 502 without an internal address; a tunnel closes the connection.",
            _site_system_down,
        ),
        Fault(
            "crl-over",
            "Expired CRLs",
            "The bridge cannot check revocation, so it refuses all clients. A tunnel does not "
            "check revocation.",
            _crls_expired,
        ),
        Fault(
            "engine-gone",
            "Malware engine down",
            "The bridge refuses each request with a body (503) until the simulated clamd is back. "
            "A tunnel scans nothing.",
            _engine_down,
        ),
    )
}
