"""An Apache of Debian's that asks for the client certificate late: per location, as IIS does per
directory (protocol.md §9). Its own configuration, its own ports, and a stand-in behind it.
"""

from __future__ import annotations

import hashlib
import http.server
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ibcm_bridge.lab.bridge.process import free_port
from ibcm_bridge.lab.pki.authorities import LabPki
from tests.needs import demand, program

MODULES = Path("/usr/lib/apache2/modules")
MP_NAME = "mp01.corp.example"

GLOBAL = """
ServerRoot {folder}
DefaultRuntimeDir {folder}
PidFile {folder}/apache.pid
ErrorLog {folder}/error.log
LogLevel warn ssl:info
Mutex pthread
ServerName {name}
User www-data
Group www-data
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule socache_shmcb_module {modules}/mod_socache_shmcb.so
LoadModule ssl_module {modules}/mod_ssl.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_http_module {modules}/mod_proxy_http.so
LoadModule headers_module {modules}/mod_headers.so
StartServers 1
ServerLimit 1
ThreadsPerChild 16
MaxRequestWorkers 16
KeepAliveTimeout 60
RegisterHttpMethod CCM_POST
SSLSessionTickets off
"""

HOST = """
Listen 127.0.0.1:{port}
<VirtualHost 127.0.0.1:{port}>
  SSLEngine on
  SSLProtocol {version}
  SSLCertificateFile {folder}/server.pem
  SSLCertificateKeyFile {folder}/server.key
  SSLCACertificateFile {folder}/{trust}.pem
  SSLVerifyDepth 3
  ProxyPass / http://127.0.0.1:{backend}/
  RequestHeader set X-Certificate "%{{SSL_CLIENT_CERT}}s"
  <LocationMatch "(?i)^/(sms_mp|ccm_system|ccm_incoming)/">
    SSLVerifyClient require
    SSLRenegBufferSize 8388608
  </LocationMatch>
</VirtualHost>
"""

VERSIONS = {"1.2": "-all +TLSv1.2", "1.3": "-all +TLSv1.3"}
TRUSTS = ("lab", "foreign")


@dataclass(frozen=True)
class Seen:
    """A request that reached the stand-in behind Apache."""

    method: str
    target: str
    length: int
    sha256: str
    certificate: str | None
    """SHA-256 of what the bridge showed, None where it was not asked."""


class Apache:
    """One Apache with a virtual host for each TLS version and each trust."""

    def __init__(self, folder: Path, pki: LabPki) -> None:
        self.folder = folder
        self.seen: list[Seen] = []
        self.ports = {(version, trust): free_port() for version in VERSIONS for trust in TRUSTS}
        self._backend = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _stand_in(self.seen))
        server = pki.server(MP_NAME)
        (folder / "server.key").touch(mode=0o600)
        (folder / "server.key").write_bytes(server.key_pem())
        (folder / "server.pem").write_bytes(server.chain_pem())
        for name, root in (("lab", pki.root), ("foreign", pki.foreign_root)):
            (folder / f"{name}.pem").write_bytes(root.public_bytes(Encoding.PEM))
        text = GLOBAL.format(folder=folder, modules=MODULES, name=MP_NAME)
        for (version, trust), port in self.ports.items():
            text += HOST.format(
                folder=folder,
                port=port,
                version=VERSIONS[version],
                trust=trust,
                backend=self._backend.server_address[1],
            )
        (folder / "apache.conf").write_text(text, "utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Apache:
        demand("apache2")
        threading.Thread(target=self._backend.serve_forever, daemon=True).start()
        command = [
            program("apache2"),
            "-d",
            str(self.folder),
            "-f",
            str(self.folder / "apache.conf"),
        ]
        self._process = subprocess.Popen([*command, "-DFOREGROUND"])
        for port in self.ports.values():
            self._wait_for(port)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(10)
        self._backend.shutdown()
        self._backend.server_close()

    def _wait_for(self, port: int) -> None:
        assert self._process is not None
        for _ in range(1000):
            assert self._process.poll() is None, self.log()
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except ConnectionRefusedError:
                threading.Event().wait(0.01)
            else:
                return
        raise AssertionError(f"Apache does not listen on {port}: {self.log()}")

    def log(self) -> str:
        log = self.folder / "error.log"
        return log.read_text("utf-8") if log.exists() else ""


def _stand_in(seen: list[Seen]) -> type[http.server.BaseHTTPRequestHandler]:
    class StandIn(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            pem = self.headers.get("X-Certificate", "")
            # Apache puts the lines of the PEM behind one another.
            pem = pem.replace(" ", "\n").replace("\nCERTIFICATE", " CERTIFICATE")
            certificate = None
            if "BEGIN" in pem:
                der = x509.load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.DER)
                certificate = hashlib.sha256(der).hexdigest()
            digest = hashlib.sha256(body).hexdigest()
            seen.append(Seen(self.command, self.path, len(body), digest, certificate))
            content = b"" if self.command == "HEAD" else digest.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_HEAD = do_CCM_POST = do_PROPFIND = answer  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Nothing: pytest's output is for what fails."""

    return StandIn


@pytest.fixture(scope="module")
def apache(pki: LabPki, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apache]:
    with Apache(tmp_path_factory.mktemp("apache"), pki) as server:
        yield server
