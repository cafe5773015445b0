"""The certificates of the tests: good ones, and twins that must be refused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from cryptography import x509

from ibcm_bridge.lab.cases.case import ClientCertificate
from ibcm_bridge.lab.pki import certificates
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential


@dataclass(frozen=True)
class Credentials:
    """Those of clients and of site systems."""

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

    @classmethod
    def make(cls, pki: LabPki) -> Self:
        """Make all credentials. `pki` revokes one of them, before it makes a revocation list."""
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
        return cls(
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

    @property
    def clients(self) -> dict[ClientCertificate, LabCredential | None]:
        """Those with which the lab's own clients come."""
        return {
            ClientCertificate.COMPUTER: self.computer,
            ClientCertificate.OTHER: self.other,
            ClientCertificate.USER: self.user,
            ClientCertificate.REVOKED: self.revoked,
            ClientCertificate.FOREIGN: self.foreign,
            ClientCertificate.NO_PURPOSE: self.without_purpose,
            ClientCertificate.NONE: None,
        }
