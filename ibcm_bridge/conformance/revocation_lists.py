"""The revocation lists of a kit: `pki/root.crl`, `pki/issuing.crl`, and both in `pki/crls.pem`."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ibcm_bridge.lab.errors import LabError
from ibcm_bridge.lab.pki.authorities import LabPki

_BEHIND = timedelta(hours=1)
"""The clock of a proxy may be behind by this: no product accepts a list from the future."""


def renew_lists(
    pki: LabPki, folder: Path, now: datetime, *, this_update: datetime | None = None
) -> None:
    """Replace the lists by newer ones. LabError, OSError.

    They also revoke what the list in the folder revokes. `this_update`: without it, an hour ago, or
    the date of the list in the folder, if that is later.
    """
    earlier = _keep_revoked(pki, folder / "issuing.crl")
    this_update = this_update or max([now - _BEHIND, *earlier])
    # Larger than the number of each earlier list, also of the same second: RFC 5280 5.2.3.
    number = int(now.timestamp() * 1000)
    root, issuing = (
        crl.public_bytes(Encoding.PEM) for crl in pki.crls(this_update=this_update, number=number)
    )
    # Some products read all lists from one file.
    lists = {"root.crl": root, "issuing.crl": issuing, "crls.pem": issuing + root}
    for name, data in lists.items():
        new = folder / f"{name}.new"
        new.write_bytes(data)
        # The subject never reads a part of a list.
        new.replace(folder / name)


def _keep_revoked(pki: LabPki, file: Path) -> list[datetime]:
    """Revoke what a list revokes, and return its date; nothing without a list. LabError."""
    if not file.exists():
        return []
    try:
        crl = x509.load_pem_x509_crl(file.read_bytes())
        pki.keep_revoked(crl)
    except ValueError as error:
        raise LabError(f"{file} is not a list of the kit's issuing authority; remove it") from error
    return [crl.last_update_utc]
