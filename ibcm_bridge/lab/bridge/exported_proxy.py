"""Runs another proxy with the configuration that is exported from a policy."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path

from ibcm_bridge.export.exported import Export
from ibcm_bridge.export.proxies import Proxy
from ibcm_bridge.export.writing import Place
from ibcm_bridge.lab.bridge.process import Listen, free_ports, with_listen_address
from ibcm_bridge.lab.errors import LabError
from ibcm_bridge.policy_file import load_policy
from ibcm_bridge.storage.exported_files import find_program, write_files

START_SECONDS = 60.0
STOP_SECONDS = 10.0


class ExportedProxy:
    """A running proxy. `addresses` maps the ports of the shipped policy to its listen addresses."""

    def __init__(self, export: Export, addresses: dict[int, tuple[str, int]], pid: int) -> None:
        self.export = export
        self.addresses = addresses
        self.pid = pid


@contextmanager
def exported_proxy(proxy: Proxy, policy: str, folder: Path) -> Iterator[ExportedProxy]:
    """Run a proxy with a policy on free loopback ports. LabError.

    `folder` has the files that the policy names, and receives its policy file.
    """
    program = find_program(proxy.programs)
    if program is None:
        raise LabError(f"{proxy.name} is not installed")
    tls, updates, plaintext = free_ports(3)
    listen = Listen(IPv4Address("127.0.0.1"), (tls, updates, plaintext))
    file = folder / f"{proxy.name}.yaml"
    file.write_text(with_listen_address(policy, listen), "utf-8")
    loaded = load_policy(file)
    # Not in `folder`: unprivileged processes of the proxy need access, and sockets short paths.
    with tempfile.TemporaryDirectory(prefix="ibcm-") as own:
        Path(own).chmod(0o711)
        place = Place(file.name, loaded.digest, Path(own))
        export = proxy.export(loaded, place)
        write_files(export.files, place.folder)
        configuration = place.folder / f"{proxy.name}{proxy.suffix}"
        configuration.write_text(export.text, "utf-8")
        output = place.folder / "output"
        with output.open("wb") as log:
            hosts = _with_hosts(export.hosts, place.folder)
            process = subprocess.Popen(
                [*_ends_with_this_process(), *hosts, program, *proxy.start(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Several of these proxies signal their whole process group when they end.
                start_new_session=True,
            )
        try:
            ports = [port for port in (tls, updates, plaintext) if f"{port}" in export.text]
            _wait(proxy, process, ports, output)
            yield ExportedProxy(export, listen.addresses, process.pid)
        finally:
            _stop(process)


def _ends_with_this_process() -> list[str]:
    """Return a command that ends a program with the thread that started it, also after a crash."""
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return [setpriv, "--pdeathsig", "TERM"] if setpriv else []


def _with_hosts(hosts: Mapping[str, str], folder: Path) -> list[str]:
    """Return a command with which a program finds these names. Without root, it fails."""
    if not hosts:
        return []
    file = folder / "hosts"
    lines = "".join(f"{address} {name}\n" for name, address in hosts.items())
    file.write_text(f"127.0.0.1 localhost\n{lines}", "utf-8")
    own = f'mount --bind {file} /etc/hosts && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", own, "sh"]


def _wait(proxy: Proxy, process: subprocess.Popen[bytes], ports: list[int], output: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not all(map(_is_listening, ports)):
        if process.poll() is not None or time.monotonic() > deadline:
            said = output.read_text("utf-8", "replace")[-2000:]
            raise LabError(f"{proxy.name} did not start: {said}")
        time.sleep(0.02)


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        # Its own group: this also ends its workers.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
