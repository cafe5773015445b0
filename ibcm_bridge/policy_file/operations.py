"""The address of metrics and probes in a policy file."""

from __future__ import annotations

from collections.abc import Iterable

from ibcm_bridge.policy.addresses import Address, is_loopback
from ibcm_bridge.policy.policy import Operations
from ibcm_bridge.policy_file.addresses import read_address
from ibcm_bridge.policy_file.reading import Reading
from ibcm_bridge.policy_file.rows.settings import OperationsRow


def read_operations(
    reading: Reading, row: OperationsRow | None, published: Iterable[Address]
) -> Operations | None:
    """Return the settings; None without them. `published` are the addresses of the listeners."""
    if row is None:
        return None
    where = ("operations", "listen")
    address = read_address(reading, where, row.listen)
    if not is_loopback(address[0]) and row.because is None:
        text = "other machines can connect, without authentication; listen on 127.0.0.1, "
        reading.report(where, text + "or add the reason (because: ...)")
    if address in published:
        reading.report(where, "a publication listens at this address; choose another port")
    return Operations(address, row.because)
