"""`ibcm-bridge lab request`: one HTTPS request as a client, with a certificate from PEM or PFX.

Windows' curl uses Schannel, which reads no client certificates from PEM files. This command needs
only Python.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12

from ibcm_bridge.lab.errors import LabError
from ibcm_bridge.lab.pki.certificates import LabCredential, PrivateKey
from ibcm_bridge.lab.protocol.client import (
    ConnectionEnded,
    HandshakeRefused,
    LabClient,
    Response,
)

_MAX_BODY = 64 * 1024 * 1024
_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class RequestOptions:
    """What the command line says."""

    method: str
    url: str
    headers: Sequence[str]
    header_file: Path | None
    """A file with a header field in each line."""
    body: Path | None
    root: Path
    certificate: Path | None
    key: Path | None
    passphrase_file: Path | None
    connect: tuple[str, int] | None


def lab_request(options: RequestOptions) -> int:
    """Send the request and print the response. The exit status is 0 for any response."""
    try:
        response = _send(options)
    except LabError as error:
        return _complain(str(error))
    except ssl.SSLCertVerificationError as error:
        why = error.verify_message
        return _complain(f"{options.root} does not verify the server's certificate: {why}")
    except HandshakeRefused as error:
        return _complain(f"refused in the TLS handshake: {error}")
    except ConnectionEnded as error:
        return _complain(f"the connection ended: {error}")
    except OSError as error:
        return _complain(f"no connection: {error.strerror or error}")
    _print(response)
    return 0


def _send(options: RequestOptions) -> Response:
    host, address, target = _target(options)
    fields = []
    for origin, header in _headers(options):
        name, colon, value = header.partition(":")
        if not colon:
            raise LabError(f"{origin} {header!r} is not NAME: VALUE")
        fields.append((name.strip(), value.strip()))
    body = None if options.body is None else _read(options.body)
    with LabClient(
        address,
        host,
        trust=_root(options.root),
        credential=_credential(options),
        timeout=_SECONDS,
        max_body=_MAX_BODY,
    ) as client:
        return client.request(options.method, target, fields, body)


def _headers(options: RequestOptions) -> Iterator[tuple[str, str]]:
    """Yield where a header field comes from, and the field."""
    if options.header_file is not None:
        for line in _read(options.header_file).decode("latin-1").replace("\r\n", "\n").split("\n"):
            if line:
                yield f"{options.header_file}:", line
    for header in options.headers:
        yield "--header", header


def _target(options: RequestOptions) -> tuple[str, tuple[str, int], str]:
    """Return the server name, the address to connect to, and the request target."""
    try:
        url = urlsplit(options.url)
        port = url.port or 443
    except ValueError as error:
        raise LabError(f"{options.url} is not a URL: {error}") from error
    if url.scheme != "https" or not url.hostname:
        raise LabError(f"{options.url} is not https://NAME/PATH")
    # As typed: urlsplit would drop an empty query, which the bridge should see.
    rest = options.url.split("://", 1)[1]
    start = min((rest.find(mark) for mark in "/?" if mark in rest), default=len(rest))
    target = rest[start:].split("#", 1)[0]
    if not target.startswith("/"):
        target = f"/{target}"
    return url.hostname, options.connect or (url.hostname, port), target


def _root(path: Path) -> x509.Certificate:
    data = _read(path)
    try:
        if b"-----BEGIN" in data:
            return x509.load_pem_x509_certificate(data)
        return x509.load_der_x509_certificate(data)
    except ValueError as error:
        raise LabError(f"{path} is not a certificate in PEM or DER") from error


def _credential(options: RequestOptions) -> LabCredential | None:
    if options.certificate is None:
        return None
    passphrase = None
    if options.passphrase_file is not None:
        passphrase = _read(options.passphrase_file).partition(b"\n")[0].rstrip(b"\r")
    data = _read(options.certificate)
    try:
        if b"-----BEGIN" not in data:
            loaded = pkcs12.load_pkcs12(data, passphrase)
            if loaded.cert is None or loaded.key is None:
                raise LabError(f"{options.certificate} lacks a certificate or its private key")
            issuers = tuple(item.certificate for item in loaded.additional_certs)
            return LabCredential(loaded.cert.certificate, _usable(loaded.key), issuers)
        if options.key is None:
            raise LabError("--certificate with a PEM file needs --key FILE")
        certificate, *rest = x509.load_pem_x509_certificates(data)
        key = load_pem_private_key(_read(options.key), passphrase)
        return LabCredential(certificate, _usable(key), tuple(rest))
    except (ValueError, TypeError) as error:
        raise LabError(f"the certificate or its key cannot be read: {error}") from error


def _usable(key: PrivateKeyTypes) -> PrivateKey:
    if not isinstance(key, EllipticCurvePrivateKey | RSAPrivateKey):
        raise LabError("the private key of the certificate is neither RSA nor EC")
    return key


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise LabError(f"{path}: {error.strerror}") from error


def _print(response: Response) -> None:
    print(f"HTTP/1.1 {response.status} {response.reason}".rstrip())
    for name, value in response.headers:
        print(f"{name}: {value}")
    if not response.body:
        return
    try:
        text = response.body.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    if text.replace("\r", "").replace("\n", "").replace("\t", "").isprintable() and text:
        print(f"\n{text.rstrip()}")
    else:
        print(f"\n({len(response.body):,} bytes)")


def _complain(text: str) -> int:
    print(f"ibcm-bridge lab request: {text}", file=sys.stderr)
    return 1
