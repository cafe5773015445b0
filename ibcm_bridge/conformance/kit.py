"""The kit: the certificates of the proxy and of the clients, and the addresses of the site systems.

KIT/pki          the certificates for the proxy, and the CRLs
KIT/pki/clients  a certificate for each `Client`
KIT/authorities  the authorities with their keys; `serve --pki` takes such a folder
KIT/requests     what failed checks sent last
KIT/kit.json     the addresses, written last
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.x509 import load_pem_x509_certificate, load_pem_x509_certificates
from cryptography.x509.oid import NameOID

from ibcm_bridge.conformance.revocation_lists import renew_lists
from ibcm_bridge.lab.cases.policy import write_more
from ibcm_bridge.lab.cases.requests import Senders
from ibcm_bridge.lab.clients.device import Device
from ibcm_bridge.lab.command_line import pasted
from ibcm_bridge.lab.errors import LabError
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.authority_files import (
    AuthorityFilesError,
    read_authorities,
    read_key,
    write_authorities,
)
from ibcm_bridge.lab.pki.certificates import (
    CLIENT,
    SERVER,
    LabCredential,
    computer,
    current,
    write_new,
)
from ibcm_bridge.lab.site_systems.registrations import client_guid


class Client(StrEnum):
    """The certificate that a client presents; the value is the name of its files."""

    COMPUTER = "computer"
    OTHER = "other-computer"
    USER = "user"
    REVOKED = "revoked"
    EXPIRED = "expired"
    FOREIGN = "foreign"
    WRONG_PURPOSE = "wrong-purpose"
    NO_PURPOSE = "no-purpose"
    SELF_SIGNED = "self-signed"
    REVOKED_LATER = "revoked-later"
    """Valid until a check revokes it, which first issues a new one (`revocation`)."""
    NONE = "none"


REVOKED_LATER_NAME = "revoked-later.corp.example"

SUITE = "conformance.example"
"""The name of the server with the records of the site systems, and of its only client."""


@dataclass(frozen=True)
class Kit:
    """What the checks need."""

    root: x509.Certificate
    clients: Mapping[Client, LabCredential | None]
    suite: LabCredential
    folder: Path
    client_folder: Path
    """NAME.pem and NAME.key of each client: of the kit, or of the user."""
    root_file: Path
    """The authority of the proxy's own server certificates."""
    other: LabCredential
    """A client that messages name."""

    def senders(self) -> dict[Client, Senders]:
        """Return the ConfigMgr client for each certificate, and another client."""
        devices = {
            client: _device(credential)
            for client, credential in self.clients.items()
            if credential is not None
        }
        # A client without a TLS certificate still signs its messages with the computer's key.
        devices[Client.NONE] = devices[Client.COMPUTER]
        other = devices.get(Client.OTHER) or _device(self.other)
        return {client: Senders(device, other) for client, device in devices.items()}


def _device(credential: LabCredential) -> Device:
    names = credential.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    # A certificate can have its names only in its extension (RFC 5280 4.2.1.6).
    name = str(names[0].value) if names else "client"
    return Device.of(credential, name).with_guid(client_guid(credential.certificate))


def make_kit(folder: Path, authorities: Path | None, now: datetime) -> tuple[Kit, LabPki]:
    """Return the kit in a folder, which is made if there is none, and its authorities.

    Its revocation lists are new. LabError if the folder has other files, or if its certificates
    have expired.
    """
    if not (folder / "authorities").exists():
        _make(folder, authorities, now)
    elif authorities is not None:
        raise LabError(f"{folder} is already a kit; --pki needs a new folder: --kit DIR")
    kit = read_kit(folder)
    try:
        pki = read_authorities(folder / "authorities", now)
    except AuthorityFilesError as error:
        raise LabError(str(error)) from error
    if (expired := kit.suite.certificate.not_valid_after_utc) < now:
        raise LabError(f"the certificates in {folder} expired on {expired:%Y-%m-%d}; remove it")
    revoked = kit.clients[Client.REVOKED]
    assert revoked is not None
    pki.revoke(revoked)
    # Those of an earlier start are valid for less time than the certificates.
    renew_lists(pki, folder / "pki", now)
    return kit, pki


def _make(folder: Path, authorities: Path | None, now: datetime) -> None:
    try:
        pki = read_authorities(authorities, now) if authorities else LabPki.make(now=now)
        pki.write(folder / "pki")
    except (AuthorityFilesError, FileExistsError) as error:
        raise LabError(str(error)) from error
    write_more(pki, folder / "pki")
    # Some products read all authorities from one file.
    files = (folder / "pki" / "issuing.pem", folder / "pki" / "root.pem")
    write_new(folder / "pki" / "authorities.pem", b"".join(file.read_bytes() for file in files))
    clients = folder / "pki" / "clients"
    pki.computer("other-computer.corp.example").write(clients, Client.OTHER)
    pki.without_purpose("no-purpose.corp.example").write(clients, Client.NO_PURPOSE)
    pki.computer(REVOKED_LATER_NAME).write(clients, Client.REVOKED_LATER)
    pki.self_signed("self-signed.corp.example").write(clients, Client.SELF_SIGNED)
    computer(None, SUITE, current(now), (*CLIENT, *SERVER)).write(folder, "suite")
    write_authorities(pki, folder / "authorities")


_UNTRUSTED = (Client.FOREIGN, Client.SELF_SIGNED)
"""No proxy trusts these, so they stay those of the kit."""


def read_own(kit: Kit, clients: Path | None, root: Path | None) -> Kit:
    """Return the kit with the client certificates, and the authority, of the user. LabError.

    `clients`: a folder with NAME.pem and NAME.key, as in the kit. A client without a file has no
    certificate there, and is not in the result.
    """
    if root is not None:
        try:
            kit = replace(kit, root=load_pem_x509_certificate(root.read_bytes()), root_file=root)
        except (OSError, ValueError) as error:
            raise LabError(f"{root}: not a certificate in PEM: {error}") from error
    if clients is None:
        return kit
    own = {client: kit.clients[client] for client in (*_UNTRUSTED, Client.NONE)}
    for client in Client:
        if client not in own and (clients / f"{client}.pem").exists():
            own[client] = _read_client(clients, client)
    if Client.COMPUTER not in own:
        raise LabError(f"{clients} has no {Client.COMPUTER}.pem: a valid computer certificate")
    return replace(kit, clients=own, client_folder=clients)


def _read_client(folder: Path, client: Client) -> LabCredential:
    try:
        key = read_key(folder / f"{client}.key")
        certificate, *issuers = load_pem_x509_certificates((folder / f"{client}.pem").read_bytes())
    except AuthorityFilesError as error:
        raise LabError(str(error)) from error
    except (OSError, ValueError) as error:
        raise LabError(f"{folder / client}.pem and .key: not PEM files: {error}") from error
    if certificate.public_key() != key.public_key():
        raise LabError(f"{folder / client}.pem and .key do not belong together")
    if not isinstance(key, RSAPrivateKey):
        raise LabError(f"{folder / client}.key: ConfigMgr clients sign with RSA keys; use one")
    return LabCredential(certificate, key, tuple(issuers))


def read_kit(folder: Path) -> Kit:
    """Read the files. LabError if there is none."""
    try:
        clients: dict[Client, LabCredential | None] = {
            client: LabCredential.read(folder / "pki" / "clients", client)
            for client in Client
            if client is not Client.NONE
        }
        root = LabCredential.read(folder / "authorities", "root").certificate
        suite = LabCredential.read(folder, "suite")
    except OSError as error:
        raise LabError(
            f"{error.filename}: {error.strerror}; make the kit with: {serve_line(folder)}"
        ) from error
    other = clients[Client.OTHER]
    assert other is not None
    return Kit(
        root,
        {**clients, Client.NONE: None},
        suite,
        folder,
        client_folder=folder / "pki" / "clients",
        root_file=folder / "pki" / "root.pem",
        other=other,
    )


def serve_line(folder: Path) -> str:
    """Return the command line that makes or uses the kit in a folder."""
    return pasted(["ibcm-bridge", "conformance", "serve", "--kit", folder])


def write_addresses(
    folder: Path,
    control: tuple[str, int],
    roles: Mapping[str, Any],
    names: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write the addresses of a started server, and the names of the proxy (`serve --name`)."""
    values = {"records": list(control), "site_systems": {**roles}, "names": {**names}}
    text = json.dumps(values, indent=2)
    new = folder / "kit.json.new"
    new.write_text(text + "\n", "utf-8")
    new.replace(folder / "kit.json")


def records_address(folder: Path) -> tuple[str, int]:
    """Return the address of the server with the records. LabError."""
    try:
        host, port = json.loads((folder / "kit.json").read_text("utf-8"))["records"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabError(
            f"{folder / 'kit.json'} has no addresses; start: ibcm-bridge conformance serve"
        ) from error
    return str(host), int(port)


def own_names(folder: Path) -> dict[str, str]:
    """Return the names of `serve --name`, by role; none without a started server."""
    try:
        found = json.loads((folder / "kit.json").read_text("utf-8"))["names"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {str(role): str(name) for role, name in found.items()}


def now() -> datetime:
    """Return the current time."""
    return datetime.now(UTC)
