"""Shared by the tests of commands: a policy on free ports, and a check of their output."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from ibcm_bridge.lab.bridge.process import free_ports
from ibcm_bridge.lab.pki.files import shipped_policy, with_ports
from ibcm_bridge.lab.site_systems.stand_ins import STAND_INS

type Command = Callable[..., subprocess.CompletedProcess[str]]

needs_signals = pytest.mark.skipif(os.name == "nt", reason="Windows lacks these signals")
needs_permissions = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read any file"
)


def check_no_traceback(run: subprocess.CompletedProcess[str]) -> None:
    assert "Traceback" not in run.stdout + run.stderr, run.stderr


def on_free_ports() -> str:
    """The shipped policy with free listen ports, and with site-system ports that refuse."""
    ports = (8443, 8531, 8080, *(stand_in.port for stand_in in STAND_INS.values()))
    policy = with_ports(shipped_policy(), dict(zip(ports, free_ports(len(ports)), strict=True)))
    return policy.replace("../audit.jsonl", "audit.jsonl")


def address_of(directory: Path) -> tuple[str, int]:
    policy = yaml.safe_load((directory / "bridge.yaml").read_text("utf-8"))
    host, port = policy["publications"][0]["listen"].split(":")
    return host, int(port)
