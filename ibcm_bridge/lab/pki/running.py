"""The public key infrastructure of a running lab, for site systems in another process."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from ibcm_bridge.lab.pki.certificates import Authority, LabCredential, current, server


class SiteSystemPki(Protocol):
    """The certificates that site systems need."""

    @property
    def root(self) -> x509.Certificate:
        """The root of all client certificates."""

    def crls(self) -> Iterable[x509.CertificateRevocationList]:
        """Return the current CRLs."""

    def server(self, common_name: str, *names: str) -> LabCredential:
        """Issue a server certificate with these names."""


@dataclass(frozen=True)
class RunningPki:
    """The issuing authority of a running lab, with its root and CRLs."""

    root: x509.Certificate
    authority: LabCredential
    revoked: tuple[x509.CertificateRevocationList, ...]

    def crls(self) -> tuple[x509.CertificateRevocationList, ...]:
        """Return the CRLs of the lab."""
        return self.revoked

    def server(self, common_name: str, *names: str) -> LabCredential:
        """Issue a server certificate with these names."""
        assert isinstance(self.authority.key, ec.EllipticCurvePrivateKey)
        issuing = Authority(self.authority.certificate, self.authority.key)
        return server(issuing, (common_name, *names), current(datetime.now(UTC)))
