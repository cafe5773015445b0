"""A bridge as its own process, as an operator would run it, for the demo, tests and benchmarks."""

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

from ibcm_bridge.lab.namespaces import HERE, Namespace
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.files import shipped_policy, with_addresses, with_ports
from ibcm_bridge.lab.site_systems.published import PLAINTEXT_PORT, SHIPPED, TLS_PORT, UPDATE_PORT
from ibcm_bridge.lab.site_systems.site_systems import Address
from ibcm_bridge.lab.site_systems.stand_ins import STAND_INS
from ibcm_bridge.policy.addresses import host_text

START_SECONDS = 30.0
STOP_SECONDS = 15.0
ATTEMPTS = 5
"""Starts, where a port that was free a moment ago is not when the bridge wants it."""


@dataclass(frozen=True)
class Listen:
    """Where a bridge listens, if not on free ports of loopback: for those who bring a client."""

    address: IPv4Address | IPv6Address
    ports: tuple[int, int, int] = (TLS_PORT, UPDATE_PORT, PLAINTEXT_PORT)

    @classmethod
    def read(cls, text: str) -> Self:
        """`ADDRESS`, or `ADDRESS:PORT` for the TLS port (IPv6 then in brackets); or ValueError."""
        found = re.fullmatch(r"\[(.+)\](?::(\d+))?|([^:]+):(\d+)|(.+)", text)
        if found is None:
            raise ValueError("no address")
        address = ip_address(found[1] or found[3] or found[5])
        port = int(found[2] or found[4] or TLS_PORT)
        if not 0 < port < 65_536:
            raise ValueError(f"{port} is no port")
        return cls(address, (port, UPDATE_PORT, PLAINTEXT_PORT))

    @property
    def written(self) -> str:
        """As a policy has it."""
        return host_text(str(self.address))

    @property
    def reached_at(self) -> str:
        """Where a client on this machine finds it."""
        if self.address.is_unspecified:
            return "::1" if self.address.version == 6 else "127.0.0.1"
        return str(self.address)

    @property
    def addresses(self) -> dict[int, tuple[str, int]]:
        """Where a client finds what the shipped policy has on a port."""
        return {port: (self.reached_at, own) for port, own in zip(SHIPPED, self.ports, strict=True)}


def listening(policy: str, where: Listen) -> str:
    """A policy like the shipped one, for a bridge that listens there; its audit lies beside it."""
    text = with_ports(policy, dict(zip(SHIPPED, where.ports, strict=True)))
    text = text.replace("../audit.jsonl", "audit.jsonl")
    return re.sub(r"(?<=listen: )127\.0\.0\.1(:\d+)", rf'"{where.written}\1"', text)


class HasAddresses(Protocol):
    """Site systems, as far as a bridge is concerned."""

    @property
    def addresses(self) -> Mapping[str, Address]:
        """Role -> where its site system listens."""


def leading_to(policy: str, site_systems: HasAddresses) -> str:
    """A policy like the shipped one, with the site systems where these are."""
    places = {STAND_INS[role].port: to for role, to in site_systems.addresses.items()}
    return with_addresses(policy, places)


class RunningBridge:
    """`ibcm-bridge run` on the shipped policy, with the lab's addresses filled in.

    A context manager. `directory` gets the certificates, the policy and the audit file.
    `addresses` are what it listens on, by the port of the shipped policy: free ones of loopback,
    unless `listen` says where and on which. The process ends with this one, however that ends.
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
        """`namespace` is where the process runs; `options` are more of `run`'s own."""
        self.directory = directory
        self.audit_file = directory / "audit.jsonl"
        self.policy_file = directory / "bridge.yaml"
        pki.write(directory / "pki")
        self._policy = leading_to(policy or shipped_policy(), site_systems)
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

    @property
    def address(self) -> tuple[str, int]:
        """Of the port that most is published on."""
        return self.addresses[TLS_PORT]

    def __enter__(self) -> Self:
        for attempt in range(ATTEMPTS):
            if attempt:
                self._choose_ports()
                self.lines.clear()
            if self._start():
                return self
            # Only the ports chosen here can be others: a policy's own are its own affair.
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
        """SIGTERM, and the exit status; killed if it does not stop."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
        finally:
            assert self._process.stdin is not None
            self._process.stdin.close()

    def restart(self) -> int:
        """Stop it and start it again on the same ports; the exit status of what was stopped."""
        status = self.stop()
        if not self._start():
            raise RuntimeError("the bridge did not start again:\n" + "".join(self.lines))
        return status

    def audit(self) -> list[dict[str, Any]]:
        """The records written so far."""
        with self._reading:
            # What was read once is kept: a lab that runs for long asks very often.
            if self.audit_file.exists():
                with self.audit_file.open("rb") as file:
                    file.seek(self._read)
                    whole = file.read().rpartition(b"\n")[0].splitlines(keepends=True)
                self._read += sum(map(len, whole)) + bool(whole)
                self._records += map(json.loads, whole)
            return self._records.copy()

    def wait_for_records(self, count: int, seconds: float = 5.0) -> list[dict[str, Any]]:
        """The records, once there are `count` of them; what there is when time is up."""
        deadline = time.monotonic() + seconds
        while len(records := self.audit()) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        return records

    def _choose_ports(self) -> None:
        tls, updates, plaintext = free_ports(3)
        free = Listen(IPv4Address("127.0.0.1"), (tls, updates, plaintext))
        where = self._listen_on or free
        self.addresses = where.addresses
        self.policy_file.write_text(listening(self._policy, where), "utf-8")

    def _start(self) -> bool:
        """Whether it listens; False when it ended before it did."""
        # -P: nothing is imported from wherever somebody happens to be, as root in a namespace.
        # PYTHONPATH stays: it is how this process may have found the package.
        child = [sys.executable, "-P", "-m", "ibcm_bridge.commands.child_process"]
        config = ["--config", str(self.policy_file)]
        self._process = subprocess.Popen(
            [*self._namespace.command, *child, "run", *config, *self._options],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        output: queue.Queue[str | None] = queue.Queue()
        listening = threading.Thread(target=self._listen, args=(self._process, output), daemon=True)
        listening.start()
        deadline = time.monotonic() + START_SECONDS
        try:
            while True:
                line = output.get(timeout=max(0.0, deadline - time.monotonic()))
                if line is None:
                    self.stop()
                    listening.join()
                    return False
                if line.startswith("ibcm-bridge: listening on "):
                    return True
        except queue.Empty:
            self.stop()
            raise RuntimeError("the bridge did not start in time") from None

    def _listen(self, process: subprocess.Popen[str], output: queue.Queue[str | None]) -> None:
        assert process.stderr is not None
        with process.stderr as lines:
            for line in lines:
                self.lines.append(line)
                output.put(line)
        output.put(None)


FREE = range(20_000, 32_768)
"""Below what Linux, macOS and Windows give to connections that go out: a port that is listened on
later must not become the near end of one meanwhile (RFC 6335 §6; ip_local_port_range)."""


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """As many loopback ports, no two the same."""
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
