"""A perimeter with a bridge as its own process, and the clients that the tests send with.

Every allowed request carries a token, signatures and a payload that must never be written down;
`Expectations` looks for them in the audit file and in what the bridge printed, after each test.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from ibcm_bridge.lab.bridge.process import RunningBridge
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol import ccm, documents, signing
from ibcm_bridge.lab.protocol.client import LabClient, Response, load_credential, request_bytes
from ibcm_bridge.lab.site_systems.published import BRIDGED
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from tests.integration.expectations import GUID, PAYLOAD, TOKEN, Expectations
from tests.integration.reading import DEADLINE, read_exactly, read_responses, read_to_end, until


@dataclass(repr=False)
class Lab(Expectations):
    """What a test works with."""

    files: Path = Path()
    """Where keys are written for tools that want files."""
    _contexts: dict[int, ssl.SSLContext] = field(default_factory=dict)

    read_to_end = staticmethod(read_to_end)
    read_exactly = staticmethod(read_exactly)
    read_responses = staticmethod(read_responses)
    until = staticmethod(until)

    @property
    def pki(self) -> LabPki:
        return self.perimeter.pki

    @property
    def site(self) -> SiteSystems:
        return self.perimeter.site

    @property
    def bridge(self) -> RunningBridge:
        return self.perimeter.bridge

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

    # With any credential

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
        """Send bytes on a connection of their own; the responses, until the bridge closes it."""
        with self.connect(address=address) as connection:
            connection.sendall(data)
            return read_responses(
                read_to_end(connection), methods or (data.split(b" ")[0].decode(),)
            )

    def send_one(self, data: bytes, *, address: tuple[str, int] | None = None) -> Response:
        (response,) = self.send(data, address=address)
        return response

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

    # With curl, openssl and the like

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
