"""The TLS of the site systems: their certificates, and what they require of clients."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ibcm_bridge.lab.errors import LabError
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.running import SiteSystemPki
from ibcm_bridge.lab.protocol.client import load_credential
from ibcm_bridge.lab.site_systems.stand_ins import ClientAuthentication, StandIn
from ibcm_bridge.os_errors import cannot_write

_NO_CHECK_TIME = ssl.VerifyFlags(0x200000)
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which the ssl module does not name."""

_VERIFY_MODES = {
    ClientAuthentication.PER_DIRECTORY: ssl.CERT_OPTIONAL,
    ClientAuthentication.ALWAYS: ssl.CERT_REQUIRED,
    ClientAuthentication.IGNORED: ssl.CERT_NONE,
}


def server_context(
    stand_in: StandIn,
    pki: SiteSystemPki,
    key_log: Path | None,
    note: Callable[[str | None], None],
) -> ssl.SSLContext:
    """Return the context of a site system. LabError.

    `key_log`: the file for its TLS secrets. `note` gets the server name of each ClientHello.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    make = pki.server
    if stand_in.foreign:
        assert isinstance(pki, LabPki)  # no other has a foreign authority
        make = pki.foreign_server
    load_credential(context, make(*stand_in.names))
    # The ssl module loads CRLs only from a file.
    try:
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "trust.pem"
            trusted: tuple[x509.Certificate | x509.CertificateRevocationList, ...]
            trusted = (pki.root, *pki.crls())
            file.write_bytes(
                b"".join(
                    certificate_or_crl.public_bytes(Encoding.PEM) for certificate_or_crl in trusted
                )
            )
            context.load_verify_locations(file)
    except OSError as error:
        folder = error.filename or tempfile.gettempdir()
        raise LabError(cannot_write(error, folder, "set TMPDIR to another folder")) from error
    context.verify_mode = _VERIFY_MODES[stand_in.client_authentication]
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if stand_in.client_authentication is ClientAuthentication.PER_DIRECTORY:
        context.verify_flags |= _NO_CHECK_TIME
    else:
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    context.set_alpn_protocols(["http/1.1"])
    if key_log is not None:
        context.keylog_filename = str(key_log)

    def client_hello(_: ssl.SSLObject, sni: str | None, __: ssl.SSLContext) -> None:
        note(sni)

    context.sni_callback = client_hello
    return context
