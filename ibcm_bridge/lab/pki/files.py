"""The shipped policy with other addresses, and `ibcm-bridge pki`."""

from __future__ import annotations

import datetime
import re
import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from ibcm_bridge.lab.command_line import pasted
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.os_errors import cannot_write
from ibcm_bridge.policy.addresses import address_text


def shipped_policy() -> str:
    """Return the text of the shipped `bridge.yaml`."""
    return files("ibcm_bridge.config").joinpath("bridge.yaml").read_text("utf-8")


_LOOPBACK = re.compile(r"127\.0\.0\.1:([0-9]+)")


def with_ports(policy: str, ports: Mapping[int, int]) -> str:
    """Replace loopback ports in a policy, all at once."""
    return with_addresses(policy, {port: ("127.0.0.1", to) for port, to in ports.items()})


def with_addresses(policy: str, addresses: Mapping[int, tuple[str, int]]) -> str:
    """Replace loopback ports in a policy with addresses, all at once."""

    def other(found: re.Match[str]) -> str:
        port = int(found[1])
        return address_text(addresses.get(port, ("127.0.0.1", port)))

    return _LOOPBACK.sub(other, policy)


def make_pki(directory: Path) -> int:
    """`ibcm-bridge pki DIR`: create DIR/pki, and DIR/bridge.yaml if there is none."""
    try:
        LabPki.make(now=datetime.datetime.now(datetime.UTC)).write(directory / "pki")
        policy = directory / "bridge.yaml"
        if not policy.exists():
            policy.write_text(shipped_policy(), "utf-8")
    except FileExistsError as error:
        print(f"ibcm-bridge pki: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        why = cannot_write(error, error.filename or directory, "name another DIR")
        print(f"ibcm-bridge pki: {why}", file=sys.stderr)
        return 1
    print(f"Created {directory / 'pki'}: certificates for a lab, not for production.")
    print(f"Next: {pasted(['ibcm-bridge', 'check', '--config', policy])}")
    return 0
