"""Revocation lists for tests, and the judgment with them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from ibcm_bridge.authentication.revocation import Lists, judge_revocation, loaded_lists
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.lab.pki import certificates as made
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import ISSUING_CRL_URL
from ibcm_bridge.policy.trust import Trust

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


Judge = Callable[..., object]


def judged(trust: Trust, path: list[x509.Certificate], lists: Lists | None = None) -> object:
    """The reason of a refusal, or the notes."""
    verdict = judge_revocation(trust, lists or loaded_lists(trust, NOW), path, NOW)
    return verdict.reason if isinstance(verdict, Deny) else verdict


def authority(
    name: str, pki: LabPki, key: ec.EllipticCurvePrivateKey | None = None
) -> tuple[made.Authority, x509.Certificate]:
    """Another authority below the same root, and a computer certificate that it issued."""
    issuer = made.issuing_authority(name, pki._root, NOW)
    if key is not None:
        extensions = made.authority_extensions(path_length=0)
        period = made.authority_period(NOW)
        certificate = made.sign(key, made.distinguished_name(name), pki._root, period, extensions)
        issuer = made.Authority(certificate, key)
    return issuer, made.computer(issuer, "pc7.corp.example", made.current(NOW)).certificate


def scope(**changes: object) -> x509.IssuingDistributionPoint:
    values: dict[str, object] = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**(values | changes))  # type: ignore[arg-type]


HERE = [x509.UniformResourceIdentifier(ISSUING_CRL_URL)]
ELSEWHERE = [x509.UniformResourceIdentifier("http://pki.internet.example/other.crl")]
