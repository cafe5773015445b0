"""The public key infrastructure of the lab, with new random keys for each lab.

    root -> issuing -> servers, the bridge, client computers, users
    foreign root -> foreign issuing -> client computers, and a server

For each valid client certificate there are invalid ones: revoked, expired, for another purpose,
self-signed, foreign. Each differs from the valid one in one property.

Authorities, servers and the bridge have EC keys, which are fast to generate. Clients have RSA keys,
generated on demand: ConfigMgr clients sign their messages with them.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from ibcm_bridge.lab.pki.certificates import (
    AGENT,
    CLIENT,
    SERVER,
    Authority,
    Extension,
    LabCredential,
    PrivateKey,
    computer,
    current,
    ec_key,
    enrolled,
    issue,
    issuing_authority,
    past,
    pem,
    root_authority,
    rsa_key,
    server,
    user,
    write_new,
)

README = """\
Keys and certificates of the ibcm-bridge lab, random and made for a demonstration.
The keys are worthless and nothing must trust these roots: delete this directory when done.
"""


class LabPki:
    """Two authorities, their certificates and their CRLs."""

    root: x509.Certificate
    issuing: x509.Certificate
    foreign_root: x509.Certificate

    def __init__(
        self,
        *,
        now: datetime,
        root: Authority,
        issuing: Authority,
        foreign_root: Authority,
        foreign_issuing: Authority,
    ) -> None:
        self.root = root.certificate
        self.issuing = issuing.certificate
        self.foreign_root = foreign_root.certificate
        self.authorities: Mapping[str, Authority] = {
            "root": root,
            "issuing": issuing,
            "foreign-root": foreign_root,
            "foreign-issuing": foreign_issuing,
        }
        self._now = now
        self._root = root
        self._issuing = issuing
        self._foreign = foreign_issuing
        self._revoked: set[int] = set()
        self._crl_number = 0

    @classmethod
    def make(cls, *, now: datetime) -> "LabPki":
        if now.tzinfo is None:
            raise ValueError("now needs a time zone, such as datetime.now(UTC)")
        root = root_authority("Lab Root CA", now)
        foreign_root = root_authority("Lab Foreign Root CA", now)
        return cls(
            now=now,
            root=root,
            issuing=issuing_authority("Lab Issuing CA", root, now),
            foreign_root=foreign_root,
            foreign_issuing=issuing_authority("Lab Foreign Issuing CA", foreign_root, now),
        )

    def server(self, common_name: str, *names: str) -> LabCredential:
        """Issue a server certificate with these names, for a site system or the bridge."""
        return server(self._issuing, (common_name, *names), current(self._now))

    def foreign_server(self, common_name: str, *names: str) -> LabCredential:
        """Issue a valid server certificate whose path ends at `foreign_root`."""
        return server(self._foreign, (common_name, *names), current(self._now))

    def bridge_client(self, common_name: str) -> LabCredential:
        """Issue the client certificate that the bridge presents to site systems."""
        names = [x509.DNSName(common_name)]
        return issue(
            self._issuing,
            ec_key(),
            common_name,
            names,
            valid=current(self._now),
            purposes=CLIENT,
        )

    def computer(self, dns_name: str) -> LabCredential:
        return computer(self._issuing, dns_name, current(self._now))

    def user(self, principal: str) -> LabCredential:
        """Issue a client certificate of a user; most publications require one of a computer."""
        return user(self._issuing, principal, current(self._now))

    def registration_authority(self, dns_name: str) -> LabCredential:
        """Issue the certificate of a registration authority, which SCEP clients encrypt for."""
        return issue(
            self._issuing,
            rsa_key(),
            f"{dns_name}, registration authority",
            [x509.DNSName(dns_name)],
            valid=current(self._now),
            purposes=AGENT,
        )

    def enrolled(self, request: x509.CertificateSigningRequest) -> x509.Certificate:
        """Issue a client certificate for a request. ValueError if the request is refused."""
        return enrolled(self._issuing, request, current(self._now))

    def revoked_computer(self, dns_name: str) -> LabCredential:
        credential = self.computer(dns_name)
        self.revoke(credential)
        return credential

    def expired_computer(self, dns_name: str) -> LabCredential:
        return computer(self._issuing, dns_name, past(self._now))

    def wrong_purpose(self, dns_name: str) -> LabCredential:
        return computer(self._issuing, dns_name, current(self._now), SERVER)

    def without_purpose(self, dns_name: str) -> LabCredential:
        """Issue a certificate without extKeyUsage. OpenSSL accepts it for any purpose."""
        return computer(self._issuing, dns_name, current(self._now), ())

    def self_signed(self, dns_name: str) -> LabCredential:
        return computer(None, dns_name, current(self._now))

    def foreign_computer(self, dns_name: str) -> LabCredential:
        """Issue a valid computer certificate whose path ends at `foreign_root`."""
        return computer(self._foreign, dns_name, current(self._now))

    def revoke(self, credential: LabCredential) -> None:
        """Add the certificate to the CRL of the issuing authority, from the next `crls()` on."""
        try:
            credential.certificate.verify_directly_issued_by(self.issuing)
        except (ValueError, TypeError, InvalidSignature) as error:
            # On this CRL, its serial number could revoke another certificate.
            raise ValueError(
                f"{credential.certificate.subject.rfc4514_string()} was not issued by this PKI"
            ) from error
        self._revoked.add(credential.certificate.serial_number)

    def keep_revoked(self, crl: x509.CertificateRevocationList) -> None:
        """Also revoke the certificates of an earlier CRL of the issuing authority. ValueError."""
        if not crl.is_signature_valid(self._issuing.key.public_key()):
            raise ValueError("the CRL was not issued by this PKI")
        self._revoked |= {entry.serial_number for entry in crl}

    def crls(
        self,
        *,
        this_update: datetime | None = None,
        next_update: datetime | None = None,
        number: int | None = None,
    ) -> tuple[x509.CertificateRevocationList, x509.CertificateRevocationList]:
        """Return the CRLs of the root and of the issuing authority, with a new number.

        `number`: a larger one than those of an earlier process.
        """
        this_update = this_update or self._now - timedelta(hours=1)
        next_update = next_update or self._now + timedelta(days=7)
        # RFC 5280, 5.2.3: CRL numbers increase.
        self._crl_number = max(self._crl_number + 1, number or 0)
        return (
            self._root.crl((), self._crl_number, this_update, next_update),
            self._issuing.crl(sorted(self._revoked), self._crl_number, this_update, next_update),
        )

    def issuing_crl(
        self,
        serials: Iterable[int],
        number: int,
        *,
        base: int | None = None,
        removed: Iterable[int] = (),
        this_update: datetime | None = None,
        next_update: datetime | None = None,
        scope: x509.IssuingDistributionPoint | None = None,
    ) -> x509.CertificateRevocationList:
        """Create a CRL of the issuing authority for a test; with `base`, a delta CRL."""
        extensions: list[Extension] = []
        if base is not None:
            extensions.append((x509.DeltaCRLIndicator(base), True))
        if scope is not None:
            extensions.append((scope, True))
        return self._issuing.crl(
            serials,
            number,
            this_update or self._now - timedelta(hours=1),
            next_update or self._now + timedelta(days=7),
            removed=removed,
            extensions=extensions,
        )

    def computer_with_key(self, dns_name: str, key: PrivateKey) -> LabCredential:
        """Issue a computer certificate for the given key."""
        return issue(
            self._issuing,
            key,
            dns_name,
            [x509.DNSName(dns_name)],
            valid=current(self._now),
            purposes=CLIENT,
        )

    def branch(self, dns_name: str) -> tuple[LabCredential, x509.CertificateRevocationList]:
        """Issue a computer certificate from another issuing authority; also return its CRL."""
        authority = issuing_authority("Lab Branch CA", self._root, self._now)
        period = (self._now - timedelta(hours=1), self._now + timedelta(days=7))
        crl = authority.crl((), 1, *period)
        return computer(authority, dns_name, current(self._now)), crl

    @property
    def authority(self) -> LabCredential:
        """The issuing authority with its key, for `computer_of` in another process."""
        return LabCredential(self._issuing.certificate, self._issuing.key, ())

    def write(self, directory: Path) -> None:
        """Write the files of the shipped policy, only to a new or empty directory."""
        if directory.exists() and not (directory.is_dir() and not any(directory.iterdir())):
            raise FileExistsError(
                f"{directory} exists and is not an empty directory; name a new directory, or "
                "remove this one if an earlier lab created it"
            )
        # Generate all keys first, so that a failure there leaves no files.
        servers = {name: make(self) for name, make in _SERVERS.items()}
        clients = {name: make(self) for name, make in _CLIENTS.items()}
        root_crl, issuing_crl = self.crls()

        client_directory, was_there = directory / "clients", directory.exists()
        try:
            client_directory.mkdir(parents=True)
            write_new(directory / "README.txt", README.encode("ascii"))
            write_new(directory / "root.pem", pem(self.root))
            write_new(directory / "issuing.pem", pem(self.issuing))
            write_new(directory / "root.crl", pem(root_crl))
            write_new(directory / "issuing.crl", pem(issuing_crl))
            write_new(client_directory / "foreign-root.pem", pem(self.foreign_root))
            for name, credential in servers.items():
                credential.write(directory, name)
            for name, credential in clients.items():
                credential.write(client_directory, name)
        except OSError:
            # An incomplete directory would block the next attempt.
            with contextlib.suppress(OSError):
                shutil.rmtree(client_directory, ignore_errors=True)
                for file in directory.iterdir():
                    file.unlink()
                if not was_there:
                    directory.rmdir()
            raise


# The certificates that `write` creates: file name -> function.
_SERVERS: dict[str, Callable[[LabPki], LabCredential]] = {
    "bridge-server": lambda pki: pki.server("bridge.internet.example"),
    "bridge-client": lambda pki: pki.bridge_client("bridge.perimeter.example"),
    "mp01": lambda pki: pki.server("mp01.corp.example", "mp-tunnel.internet.example"),
    "dp01": lambda pki: pki.server("dp01.corp.example", "dp-tunnel.internet.example"),
    "sup01": lambda pki: pki.server("sup01.corp.example"),
    "enroll01": lambda pki: pki.server("enroll01.corp.example", "enroll.internet.example"),
    "ndes01": lambda pki: pki.server("ndes01.corp.example", "ndes.internet.example"),
}
_CLIENTS: dict[str, Callable[[LabPki], LabCredential]] = {
    "computer": lambda pki: pki.computer("pc1.corp.example"),
    "user": lambda pki: pki.user("alice@corp.example"),
    "revoked": lambda pki: pki.revoked_computer("pc2.corp.example"),
    "expired": lambda pki: pki.expired_computer("pc3.corp.example"),
    "wrong-purpose": lambda pki: pki.wrong_purpose("pc4.corp.example"),
    "foreign": lambda pki: pki.foreign_computer("pc5.corp.example"),
}
