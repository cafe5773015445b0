"""A lab with a bridge as its own process, and what the tests do with it.

Test modules cannot import this file (pytest's importlib mode gives it no name), so what they need
hangs on the `lab` fixture. One bridge serves a module; `lab` starts each test with clean records.

Every allowed request carries a token, signatures and a payload that must never be written down;
`lab` looks for them in the audit file and in what the bridge said, after each test.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.decisions.refusals import REFUSALS
from ibcm_bridge.lab.bridge.process import RunningBridge
from ibcm_bridge.lab.pki import certificates
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.pki.files import shipped_policy
from ibcm_bridge.lab.protocol import ccm, documents, signing
from ibcm_bridge.lab.protocol.client import LabClient, Response, load_credential, request_bytes
from ibcm_bridge.lab.site_systems.published import BRIDGED
from ibcm_bridge.lab.site_systems.records import ReceivedRequest
from ibcm_bridge.lab.site_systems.site_systems import Address, SiteSystems
from tests.needs import demand

DEADLINE = 10.0
GUID = "5EC2E700-0000-4000-8000-0000000000AA"
TOKEN = f"GUID:{GUID.upper()};2026-01-01T00:00:00Z;2"
PAYLOAD = "SECRET-PAYLOAD-1b77d4"

ALERTS: dict[str, int] = {
    one.name.removeprefix("ALERT_DESCRIPTION_").lower(): one.value for one in ssl.AlertDescription
}
# Not in the ssl module.
ALERTS |= {"certificate_required": 116, "no_application_protocol": 120}


@dataclass(frozen=True)
class Credentials:
    """Whoever a test may be."""

    computer: LabCredential
    other: LabCredential
    revoked: LabCredential
    expired: LabCredential
    wrong_purpose: LabCredential
    without_purpose: LabCredential
    self_signed: LabCredential
    foreign: LabCredential
    user: LabCredential
    # site systems
    mp_revoked: LabCredential
    mp_expired: LabCredential


@dataclass(repr=False)
class Lab:
    """What a test works with."""

    pki: LabPki
    credentials: Credentials
    site: SiteSystems
    bridge: RunningBridge
    files: Path
    secrets: set[str] = field(default_factory=set)
    _audit_offset: int = 0
    _said_before: int = 0
    _contexts: dict[int, ssl.SSLContext] = field(default_factory=dict)

    # As a good client

    @property
    def identification(self) -> dict[str, str]:
        """The fields by which a client identifies itself, and a token (protocol.md §5)."""
        key = self.credentials.computer.key
        assert isinstance(key, RSAPrivateKey)
        fields = dict(signing.identification_headers(GUID, key, ccm.SENT_TIME))
        fields |= {"ClientToken": TOKEN, "ClientTokenSignature": signing.sign(key, TOKEN.encode())}
        self.secrets |= {value for name, value in fields.items() if name.endswith("Signature")}
        return fields

    @property
    def message_fields(self) -> dict[str, str]:
        return {"Content-Type": ccm.CONTENT_TYPE, **self.identification}

    def message(self, endpoint: str = "MP_HinvEndpoint", xml: str | None = None) -> bytes:
        """A signed CCM_POST body with something in it that is nobody's business."""
        key = self.credentials.computer.key
        assert isinstance(key, RSAPrivateKey)
        body = xml or documents.inventory_report(GUID).replace("Lab Product", PAYLOAD)
        return ccm.ccm_post_body(endpoint=endpoint, body_xml=body, client_guid=GUID, key=key)

    def client(
        self,
        credential: LabCredential | None = None,
        *,
        name: str = BRIDGED,
        address: tuple[str, int] | None = None,
        timeout: float = DEADLINE,
        maximum_version: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
    ) -> LabClient:
        return LabClient(
            address or self.bridge.address,
            name,
            trust=self.pki.root,
            credential=credential or self.credentials.computer,
            timeout=timeout,
            maximum_version=maximum_version,
        )

    def ccm_post(self, client: LabClient, body: bytes | None = None) -> Response:
        fields = {"User-Agent": "ccmhttp", "Content-Type": ccm.CONTENT_TYPE}
        body = self.message() if body is None else body
        return client.request("CCM_POST", "/ccm_system/request", fields, body)

    # As whoever

    def context(self, credential: LabCredential | None = None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.pki.root.public_bytes(Encoding.DER))
        load_credential(context, credential or self.credentials.computer)
        return context

    def connect(
        self,
        credential: LabCredential | None = None,
        *,
        name: str = BRIDGED,
        address: tuple[str, int] | None = None,
        context: ssl.SSLContext | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLSocket:
        """A bare TLS connection. An end without close_notify is an error on it."""
        plain = socket.create_connection(address or self.bridge.address, DEADLINE)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return (context or self._kept_context(credential)).wrap_socket(
            plain, server_hostname=name, suppress_ragged_eofs=False, session=session
        )

    def _kept_context(self, credential: LabCredential | None) -> ssl.SSLContext:
        serial = credential.certificate.serial_number if credential else 0
        if serial not in self._contexts:
            self._contexts[serial] = self.context(credential)
        return self._contexts[serial]

    def send(
        self, data: bytes, *methods: str, address: tuple[str, int] | None = None
    ) -> list[Response]:
        """Send bytes on a connection of their own; the answers, until the bridge closes it."""
        with self.connect(address=address) as connection:
            connection.sendall(data)
            return read_replies(read_to_end(connection), methods or (data.split(b" ")[0].decode(),))

    def send_one(self, data: bytes, *, address: tuple[str, int] | None = None) -> Response:
        (reply,) = self.send(data, address=address)
        return reply

    @staticmethod
    def read_to_end(connection: socket.socket) -> bytes:
        return read_to_end(connection)

    @staticmethod
    def read_exactly(connection: socket.socket, count: int) -> bytes:
        return read_exactly(connection, count)

    @staticmethod
    def read_replies(data: bytes, methods: Sequence[str]) -> list[Response]:
        return read_replies(data, methods)

    def request(
        self,
        method: str = "GET",
        target: str = "/SMS_MP/.sms_aut?MPLIST",
        fields: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
        host: str = BRIDGED,
    ) -> bytes:
        """The bytes of a request."""
        return request_bytes(method, target, fields, body, host)

    def plain(self, data: bytes) -> bytes:
        """Send bytes without TLS; what comes back until the bridge closes."""
        with socket.create_connection(self.bridge.address, DEADLINE) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(data)
            return read_to_end(connection)

    def client_hello(self, name: str | None, *, minimum: int = 0) -> bytes:
        """A ClientHello as OpenSSL makes it, padded to at least so many bytes with ALPN names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if minimum:
            context.set_alpn_protocols(["http/1.1", *["x" * 250] * (minimum // 250)])
        received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(received, sent, server_hostname=name)
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        return sent.read()

    # As whoever has the usual tools

    def pem(self, credential: LabCredential) -> str:
        """A file with the key and the certification path."""
        path = self.files / f"{credential.certificate.serial_number:x}.pem"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_bytes(credential.key_pem() + credential.chain_pem())
        return str(path)

    @property
    def root_file(self) -> str:
        return str(self.bridge.directory / "pki" / "root.pem")

    def s_client(
        self,
        *options: str,
        credential: LabCredential | None = None,
        name: str | None = BRIDGED,
        request: bytes | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """`openssl s_client` with a request on its standard input."""
        host, port = self.bridge.address
        command = ["openssl", "s_client", "-connect", f"{host}:{port}", "-ign_eof"]
        command += ["-CAfile", self.root_file, "-verify_return_error", *options]
        command += ["-servername", name] if name else ["-noservername"]
        if credential:
            # Of the file for -cert only the first certificate is taken.
            file = self.pem(credential)
            command += ["-cert", file, "-cert_chain", file]
        if request is None:
            request = self.request(fields={"Connection": "close", **self.identification})
        return subprocess.run(
            command,
            input=request.decode("latin-1"),
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )

    def curl(
        self,
        *options: str,
        target: str = "/SMS_MP/.sms_aut?MPLIST",
        credential: LabCredential | None = None,
        name: str = BRIDGED,
        scheme: str = "https",
        address: tuple[str, int] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """`curl`; standard output is the head and the body, or what `options` make it."""
        host, port = address or self.bridge.address
        command = ["curl", "--silent", "--show-error", "--include", "--globoff", "--noproxy", "*"]
        command += ["--connect-to", f"{name}:443:{host}:{port}", "--cacert", self.root_file]
        if scheme == "http":
            command += ["--connect-to", f"{name}:80:{host}:{port}"]
        if credential:
            command += ["--cert", self.pem(credential)]
        command += [*options, f"{scheme}://{name}{target}"]
        env = {**os.environ, **(environment or {})}
        return subprocess.run(command, capture_output=True, timeout=DEADLINE, check=False, env=env)

    # What became of it

    def clear(self) -> None:
        """Begin anew: what has been written down and received so far is of no interest."""
        self.site.clear()
        path = self.bridge.audit_file
        self._audit_offset = path.stat().st_size if path.exists() else 0
        self._said_before = len(self.bridge.lines)

    def audit_text(self) -> str:
        """What has been added to the audit file since the test began."""
        if not self.bridge.audit_file.exists():
            return ""
        with self.bridge.audit_file.open("rb") as file:
            file.seek(self._audit_offset)
            return file.read().decode("ascii")

    def audit(self) -> list[dict[str, Any]]:
        """The records of this test so far."""
        return [
            json.loads(line)
            for line in self.audit_text().splitlines(keepends=True)
            if line.endswith("\n")
        ]

    def records(self, count: int = 1) -> list[dict[str, Any]]:
        """The audit records of this test so far: exactly so many, after a while."""
        with contextlib.suppress(AssertionError):  # what there is says more
            self.until(lambda: len(self.audit()) >= count)
        found = self.audit()
        assert len(found) == count, found
        return found

    def record(self) -> dict[str, Any]:
        (record,) = self.records()
        return record

    def received(self) -> ReceivedRequest:
        """The one request that reached a site system."""
        (received,) = self.site.received()
        return received

    def check_nothing_arrived(self) -> None:
        assert self.site.received() == ()
        assert self.site.handshakes() == ()

    def check_denied(
        self, record: Mapping[str, Any], reason: Reason, rule: str, requirement: str | None = None
    ) -> None:
        """What a record must say of a refusal."""
        row = REFUSALS[reason]
        said = (record["verdict"], record["reason"], record["rule"], record["requirement"])
        assert said == ("deny", reason.value, rule, requirement or row.requirement), record
        assert record["listener"].startswith("127.0.0.1:")
        assert record["seconds"] < DEADLINE

    def check_refusal(self, reply: Response, reason: Reason, *, is_head: bool = False) -> str:
        """What the client is told: what the table says and nothing else. Returns the reference."""
        row = REFUSALS[reason]
        assert row.status is not None
        assert (reply.status, reply.reason) == (row.status.value, row.status.phrase), reply
        names = [name for name, _ in reply.headers]
        usual = ["Content-Type", "Content-Length", "Cache-Control", "Connection"]
        # RFC 9110 §15.5.6: with 405, and only there, what is allowed.
        assert names == (["Allow", *usual] if reason is Reason.VERB else usual)
        if is_head:
            assert reply.body == b""
            return ""
        text, requirement, reference = reply.body.decode("ascii").splitlines()
        assert text == row.text
        assert requirement.startswith("Requirement: ")
        return reference.removeprefix("Reference: ")

    def check_refused(
        self, reply: Response, reason: Reason, rule: str, requirement: str | None = None
    ) -> dict[str, Any]:
        """All of a refusal with a status: the answer, the record, and that nothing arrived."""
        record = self.record()
        self.check_denied(record, reason, rule, requirement)
        is_head = record.get("method") == "HEAD"
        reference = self.check_refusal(reply, reason, is_head=is_head)
        assert is_head or reference == record["reference"]
        if record["event"] == "request":
            assert record["status"] == reply.status
            assert "alert" not in record
        self.check_nothing_arrived()
        return record

    def check_refused_connection(
        self, reason: Reason, rule: str, *, alert: int | None
    ) -> dict[str, Any]:
        """The whole of a refusal with an alert, None where the client had gone before one."""
        record = self.record()
        self.check_denied(record, reason, rule)
        assert record["event"] == "connection-refused"
        assert (ALERTS[record["alert"]] if "alert" in record else None) == alert
        self.check_nothing_arrived()
        return record

    def bridge_memory(self, what: str) -> int | None:
        """Bytes of the bridge's memory, from Linux's status of the process; else None."""
        status = Path(f"/proc/{self.bridge.pid}/status")
        if not status.exists():
            return None
        values = dict(line.split(":", 1) for line in status.read_text("ascii").splitlines())
        return int(values[what].split()[0]) * 1024

    def reset_peak(self) -> int | None:
        """Begin to measure the peak (VmHWM) from now on, where Linux lets us; the memory now."""
        with contextlib.suppress(OSError):
            # proc(5): 5 resets the peak to what is resident now.
            Path(f"/proc/{self.bridge.pid}/clear_refs").write_text("5", "ascii")
        return self.bridge_memory("VmHWM")

    @staticmethod
    def until(condition: Callable[[], object], what: str = "it", seconds: float = DEADLINE) -> Any:
        """Wait for a condition."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, f"{what} did not come about in {seconds} s"
            threading.Event().wait(0.005)
        return found

    def check_nothing_leaked(self) -> None:
        key = b"".join(self.credentials.computer.key_pem().splitlines()[1:-1])
        secrets = {TOKEN, PAYLOAD, "PRIVATE KEY", key[100:140].decode(), *self.secrets}
        secrets |= {base64.b64encode(one.encode()).decode() for one in (TOKEN, PAYLOAD)}
        secrets |= {"\\u0000".join(PAYLOAD)}
        said = "".join(self.bridge.lines[self._said_before :])
        for where in (self.audit_text(), said):
            for secret in secrets:
                assert secret not in where


def read_to_end(connection: socket.socket) -> bytes:
    """Everything until the other side closes."""
    received = bytearray()
    while chunk := connection.recv(65_536):
        received += chunk
    return bytes(received)


def read_exactly(connection: socket.socket, count: int) -> bytes:
    """So many bytes; EOFError when the other side closes before."""
    received = bytearray()
    while len(received) < count:
        chunk = connection.recv(min(65_536, count - len(received)))
        if not chunk:
            raise EOFError(f"{len(received)} of {count} bytes")
        received += chunk
    return bytes(received)


class _Answers(io.BytesIO):
    """A connection that has ended, for http.client; responses are taken from it in turn."""

    def makefile(self, *_: object) -> _Answers:
        return self

    def close(self) -> None:
        """http.client closes after each response."""


def read_replies(data: bytes, methods: Sequence[str]) -> list[Response]:
    """All responses in `data`, and nothing else."""
    answers, replies = _Answers(data), []
    for method in methods:
        if answers.tell() == len(data):
            break
        response = http.client.HTTPResponse(answers, method=method)  # type: ignore[arg-type]
        response.begin()
        body, fields = response.read(), tuple(response.getheaders())
        replies.append(Response(response.status, response.reason, fields, body))
    assert answers.tell() == len(data), data[answers.tell() :][:200]
    return replies


# Site systems that misbehave


class Peer:
    """A connection that a `RawSiteSystem` has accepted."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.received = bytearray()
        self.error: BaseException | None = None
        """What ended the script, if not its end: refused handshakes and closed connections too."""
        self.ended = threading.Event()

    def read_head(self) -> bytes:
        """Read a request head; empty when the other side closes instead."""
        start = len(self.received)
        while b"\r\n\r\n" not in self.received[start:]:
            chunk = self.connection.recv(65_536)
            if not chunk:
                return b""
            self.received += chunk
        return bytes(self.received[start:])

    def read_exactly(self, count: int) -> None:
        """Read so many bytes; EOFError when the other side closes before."""
        self.received += read_exactly(self.connection, count)

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def close_and_wait(self) -> None:
        """Close this side's direction, and wait until the other side closes, too."""
        self.connection.shutdown(socket.SHUT_WR)
        self.wait_for_end()

    def wait_for_end(self) -> None:
        """Read until the other side closes."""
        while chunk := self.connection.recv(65_536):
            self.received += chunk


type Script = Callable[[Peer], None]


class RawSiteSystem:
    """A TLS server (or a plain one) that runs a script on each connection, then closes it."""

    def __init__(self, pki: LabPki) -> None:
        self.pki = pki
        self.peers: list[Peer] = []
        self.trust = pki.root
        self.credential: LabCredential | None = None
        self.asks_late = False
        self.script: Script = Peer.wait_for_end
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = Address(*self._listener.getsockname())
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> RawSiteSystem:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        # close() alone does not wake a thread that is in accept().
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in self.peers:
            with contextlib.suppress(OSError):
                peer.connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(DEADLINE)

    def behave(self, script: Script, credential: LabCredential | None = None) -> None:
        """What to do from now on; without a credential, without TLS."""
        self.peers.clear()
        self.script, self.credential = script, credential

    def check_scripts(self) -> None:
        """Connections may break; a script that is wrong is a broken test."""
        for peer in self.peers:
            assert peer.error is None or isinstance(peer.error, OSError | EOFError), peer.error

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._start(self._serve, connection, self.script, self.credential)

    def _serve(
        self, plain: socket.socket, script: Script, credential: LabCredential | None
    ) -> None:
        plain.settimeout(DEADLINE)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = Peer(plain)
        self.peers.append(peer)
        with plain:
            try:
                if credential:
                    peer.connection = self._shake_hands(plain, credential)
                script(peer)
            except BaseException as error:
                peer.error = error
            finally:
                with contextlib.suppress(OSError):
                    peer.connection.close()
                peer.ended.set()

    def _shake_hands(self, plain: socket.socket, credential: LabCredential) -> ssl.SSLSocket:
        tls = self._context(credential).wrap_socket(
            plain, server_side=True, do_handshake_on_connect=False
        )
        try:
            tls.do_handshake()
        except ssl.SSLError:
            # Closed with something still to be read, TCP would say RST and may lose the alert.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(tls, socket.SHUT_WR)
                while socket.socket.recv(tls, 65_536):
                    pass
            tls.close()
            raise
        return tls

    def _context(self, credential: LabCredential) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        load_credential(context, credential)
        context.load_verify_locations(cadata=self.trust.public_bytes(Encoding.DER))
        context.verify_mode = ssl.CERT_REQUIRED
        # Together with CERT_REQUIRED: not in the handshake, but when the script says so.
        context.post_handshake_auth = self.asks_late
        return context


# Fixtures


@pytest.fixture(scope="session")
def pki() -> LabPki:
    return LabPki.make(now=datetime.now(UTC))


@pytest.fixture(scope="session")
def credentials(pki: LabPki) -> Credentials:
    """Made before any revocation list is."""
    now = datetime.now(UTC)
    mp_revoked = pki.server("mp01.corp.example")
    pki.revoke(mp_revoked)
    mp_expired = certificates.issue(
        pki._issuing,
        certificates.ec_key(),
        "mp01.corp.example",
        [x509.DNSName("mp01.corp.example")],
        valid=(now - timedelta(days=60), now - timedelta(days=1)),
        purposes=certificates.SERVER,
    )
    return Credentials(
        computer=pki.computer("pc1.corp.example"),
        other=pki.computer("pc9.corp.example"),
        revoked=pki.revoked_computer("pc2.corp.example"),
        expired=pki.expired_computer("pc3.corp.example"),
        wrong_purpose=pki.wrong_purpose("pc4.corp.example"),
        foreign=pki.foreign_computer("pc5.corp.example"),
        without_purpose=pki.without_purpose("pc6.corp.example"),
        self_signed=pki.self_signed("pc7.corp.example"),
        user=pki.user("alice@corp.example"),
        mp_revoked=mp_revoked,
        mp_expired=mp_expired,
    )


@pytest.fixture(scope="session")
def credential_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("credentials")


@pytest.fixture(scope="module")
def site_systems(pki: LabPki, credentials: Credentials) -> Iterator[SiteSystems]:
    with SiteSystems(pki) as site:
        yield site


@pytest.fixture(scope="module")
def raw_site_system(pki: LabPki) -> Iterator[RawSiteSystem]:
    with RawSiteSystem(pki) as raw:
        yield raw


@pytest.fixture(scope="module")
def policy() -> dict[str, Any]:
    """The shipped policy, for a module to change."""
    loaded: dict[str, Any] = yaml.safe_load(shipped_policy())
    return loaded


@pytest.fixture(scope="module")
def change_policy() -> None:
    """Overridden by modules that need another policy: they change `policy` in place."""


@pytest.fixture(scope="module")
def run_options() -> tuple[str, ...]:
    """Overridden by modules that run the bridge with more options."""
    return ()


@pytest.fixture(scope="module")
def module_lab(
    pki: LabPki,
    credentials: Credentials,
    credential_files: Path,
    site_systems: SiteSystems,
    policy: dict[str, Any],
    change_policy: None,
    run_options: tuple[str, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Lab]:
    demand("curl", "openssl")
    text = yaml.safe_dump(policy)
    directory = tmp_path_factory.mktemp("bridge")
    bridge = RunningBridge(directory, pki, site_systems, policy=text, options=run_options)
    with bridge:
        lab = Lab(pki, credentials, site_systems, bridge, credential_files)
        yield lab
        assert bridge.stop() == 0
    said = "".join(bridge.lines)
    assert "Traceback" not in said, said
    assert "ERROR" not in said, said
    assert "CRITICAL" not in said, said


@pytest.fixture
def lab(module_lab: Lab) -> Iterator[Lab]:
    module_lab.clear()
    yield module_lab
    module_lab.check_nothing_leaked()
    defects = [one for one in module_lab.audit() if one.get("reason") == "bridge-defect"]
    assert not defects, (defects, "".join(module_lab.bridge.lines))


@pytest.fixture(scope="session")
def run_command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """`ibcm-bridge` with these arguments, to its end."""

    def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ibcm_bridge", *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            cwd=cwd,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )

    return run
