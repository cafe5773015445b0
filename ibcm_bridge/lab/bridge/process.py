"""Runs the bridge as a process, as an operator does, for the demo, tests and benchmarks."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any, Protocol, Self

import yaml

from ibcm_bridge.lab.namespaces import HERE, Namespace
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.files import shipped_policy, with_addresses, with_ports
from ibcm_bridge.lab.site_systems.published import PLAINTEXT_PORT, SHIPPED, TLS_PORT, UPDATE_PORT
from ibcm_bridge.lab.site_systems.site_systems import Address
from ibcm_bridge.lab.site_systems.stand_ins import STAND_INS
from ibcm_bridge.policy.addresses import host_text

START_SECONDS = 120.0
"""Only a bridge that hangs takes so long; a busy machine compiles its modules for 30 s."""

DRAIN_SECONDS = 5.0
"""The time until a second SIGTERM, which cuts off what is still open."""

STOP_SECONDS = 15.0
PROGRAM: Sequence[str] = ("-m", "ibcm_bridge.commands.child_process")

ATTEMPTS = 5
"""Start attempts, because another program can take a port that was free a moment ago."""


@dataclass(frozen=True)
class Listen:
    """The listen address and ports of a bridge, instead of free loopback ports."""

    address: IPv4Address | IPv6Address
    ports: tuple[int, int, int] = (TLS_PORT, UPDATE_PORT, PLAINTEXT_PORT)

    @classmethod
    def read(cls, text: str) -> Self:
        """Parse `ADDRESS`, or `ADDRESS:PORT` with the TLS port (IPv6 in brackets). ValueError."""
        found = re.fullmatch(r"\[(.+)\](?::(\d+))?|([^:]+):(\d+)|(.+)", text)
        if found is None:
            raise ValueError("no address")
        address = ip_address(found[1] or found[3] or found[5])
        port = int(found[2] or found[4] or TLS_PORT)
        if not 0 < port < 65_536:
            raise ValueError(f"{port} is not a port")
        return cls(address, (port, UPDATE_PORT, PLAINTEXT_PORT))

    @property
    def written(self) -> str:
        """The address as a policy spells it."""
        return host_text(str(self.address))

    @property
    def reached_at(self) -> str:
        """The address for clients on this machine."""
        if self.address.is_unspecified:
            return "::1" if self.address.version == 6 else "127.0.0.1"
        return str(self.address)

    @property
    def addresses(self) -> dict[int, tuple[str, int]]:
        """Port in the shipped policy -> address for clients."""
        return {port: (self.reached_at, own) for port, own in zip(SHIPPED, self.ports, strict=True)}


def with_listen_address(policy: str, listen: Listen) -> str:
    """Return a policy with this listen address, and with its audit file in the same folder.

    Unless the policy has a number of workers, one process serves: a lab has little traffic.
    """
    text = with_ports(policy, dict(zip(SHIPPED, listen.ports, strict=True)))
    text = text.replace("../audit.jsonl", "audit.jsonl")
    if not re.search(r"^workers:", text, re.MULTILINE):
        text += "workers: 1\n"
    return re.sub(r"(?<=listen: )127\.0\.0\.1(:\d+)", rf'"{listen.written}\1"', text)


class HasAddresses(Protocol):
    """Site systems, simulated or not."""

    @property
    def addresses(self) -> Mapping[str, Address]:
        """Role -> address of its site system."""


def with_site_systems(policy: str, site_systems: HasAddresses) -> str:
    """Return a policy with the addresses of these site systems."""
    places = {STAND_INS[role].port: to for role, to in site_systems.addresses.items()}
    return with_addresses(policy, places)


def create_bindings(policy: str, directory: Path) -> None:
    """Create the file of bindings, as `identity init` does. A file that exists is kept."""
    from ibcm_bridge.storage.binding_registry import (  # noqa: PLC0415 - loads slowly
        Registry,
        RegistryError,
    )

    # The bridge reports what is wrong with the policy or the file.
    with contextlib.suppress(yaml.YAMLError, RegistryError):
        keys = yaml.safe_load(policy)
        messages = keys.get("messages") if isinstance(keys, dict) else None
        name = messages.get("bindings") if isinstance(messages, dict) else None
        if isinstance(name, str):
            Registry(directory / name).close()


class RunningBridge:
    """`ibcm-bridge run` with the shipped policy and the lab's addresses. A context manager.

    It writes the certificates, the policy and the audit file to `directory`. `addresses` maps the
    ports of the shipped policy to listen addresses: free loopback ports, or those of `listen`. The
    bridge stops when this process ends, also after a crash.
    """

    def __init__(
        self,
        directory: Path,
        pki: LabPki,
        site_systems: HasAddresses,
        *,
        policy: str | None = None,
        listen: Listen | None = None,
        namespace: Namespace = HERE,
        options: Sequence[str] = (),
    ) -> None:
        """`namespace` is the namespace of the process; `options` are more options of `run`."""
        self.directory = directory
        self.audit_file = directory / "audit.jsonl"
        self.policy_file = directory / "bridge.yaml"
        pki.write(directory / "pki")
        self._policy = with_site_systems(policy or shipped_policy(), site_systems)
        self._namespace = namespace
        self._options = options
        self.addresses: dict[int, tuple[str, int]] = {}
        self.lines: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        self._listen_on = listen
        self._records: list[dict[str, Any]] = []
        self._read = 0
        self._reading = threading.Lock()
        self._choose_ports()
        create_bindings(self._policy, directory)

    @property
    def address(self) -> tuple[str, int]:
        """The listen address of the TLS port."""
        return self.addresses[TLS_PORT]

    def __enter__(self) -> Self:
        for attempt in range(ATTEMPTS):
            if attempt:
                self._choose_ports()
                self.lines.clear()
            if self._start():
                return self
            # Try other ports only if they were chosen here.
            if self._listen_on or not any("is already in use" in line for line in self.lines):
                break
        raise RuntimeError("the bridge did not start:\n" + "".join(self.lines))

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> int:
        """Send SIGTERM, and SIGKILL if the process does not stop; return the exit status."""
        assert self._process is not None
        try:
            for seconds in (DRAIN_SECONDS, STOP_SECONDS):
                if self._process.poll() is None:
                    self._process.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return self._process.wait(seconds)
            self._process.kill()
            return self._process.wait()
        finally:
            assert self._process.stdin is not None
            self._process.stdin.close()

    def restart(self) -> int:
        """Stop the process and start it on the same ports; return the exit status of the stop."""
        status = self.stop()
        if not self._start():
            raise RuntimeError("the bridge did not start again:\n" + "".join(self.lines))
        return status

    def audit(self) -> list[dict[str, Any]]:
        """Return the audit records of requests, tunnels and refused connections up to now."""
        with self._reading:
            # Read only new records: the page calls this several times per second.
            if self.audit_file.exists():
                with self.audit_file.open("rb") as file:
                    file.seek(self._read)
                    whole = file.read().rpartition(b"\n")[0].splitlines(keepends=True)
                self._read += sum(map(len, whole)) + bool(whole)
                records = map(json.loads, whole)
                self._records += (record for record in records if "reference" in record)
            return self._records.copy()

    def wait_for_records(self, count: int, seconds: float = 5.0) -> list[dict[str, Any]]:
        """Wait until there are `count` records, or for the timeout; return the records."""
        deadline = time.monotonic() + seconds
        while len(records := self.audit()) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        return records

    def _choose_ports(self) -> None:
        tls, updates, plaintext = free_ports(3)
        free = Listen(IPv4Address("127.0.0.1"), (tls, updates, plaintext))
        listen = self._listen_on or free
        self.addresses = listen.addresses
        self.policy_file.write_text(with_listen_address(self._policy, listen), "utf-8")

    def _start(self) -> bool:
        """Start the process; return True when it listens, False if it ends before."""
        # -P: do not import from the current folder, which root does not control.
        # PYTHONPATH stays: this process may have found the package by it.
        child = [sys.executable, "-P", *PROGRAM]
        config = ["--config", str(self.policy_file)]
        self._process = subprocess.Popen(
            [*self._namespace.command, *child, "run", *config, *self._options],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        output: queue.Queue[str | None] = queue.Queue()
        reader = threading.Thread(
            target=self._read_output, args=(self._process, output), daemon=True
        )
        reader.start()
        deadline = time.monotonic() + START_SECONDS
        try:
            while True:
                line = output.get(timeout=max(0.0, deadline - time.monotonic()))
                if line is None:
                    self.stop()
                    reader.join()
                    return False
                if "ibcm-bridge: listening on " in line:
                    return True
        except queue.Empty:
            self.stop()
            raise RuntimeError("the bridge did not start in time") from None

    def _read_output(self, process: subprocess.Popen[str], output: queue.Queue[str | None]) -> None:
        assert process.stderr is not None
        with process.stderr as lines:
            for line in lines:
                self.lines.append(line)
                output.put(line)
        output.put(None)


FREE = range(20_000, 32_768)
"""Below the ephemeral ports of Linux, macOS and Windows, so that an outgoing connection does not
take the port in the meantime (RFC 6335 §6; ip_local_port_range)."""


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Return different loopback ports that were free a moment ago."""
    ports: list[int] = []
    for port in random.sample(FREE, len(FREE)):
        if len(ports) == count:
            break
        with socket.socket() as probe, contextlib.suppress(OSError):
            if os.name == "posix":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            ports.append(port)
    return ports
