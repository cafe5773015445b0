"""Certificates, keys and revocation lists of a policy file, as values."""

from __future__ import annotations

import re

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from ibcm_bridge import yaml_tree
from ibcm_bridge.policy import Credential, Trust
from ibcm_bridge.policy_file.reading import Reading
from ibcm_bridge.policy_file.rows import CertificateRow, TrustRow


def read_credential(
    reading: Reading, where: yaml_tree.Path, row: CertificateRow
) -> Credential | None:
    """A certificate with its key; None where there is a problem."""
    chain, key = reading.read((*where, "chain"), row.chain), reading.read((*where, "key"), row.key)
    if chain is None or key is None:
        return None
    try:
        certificates = x509.load_pem_x509_certificates(chain)
        certified = certificates[0].public_key()
    except (ValueError, UnsupportedAlgorithm):
        reading.report((*where, "chain"), f"{row.chain} has no PEM certificate that can be used")
        return None
    try:
        public = serialization.load_pem_private_key(key, None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The library's message can quote the file; ours must not.
        reading.report((*where, "key"), f"{row.key} is not a PEM private key without passphrase")
        return None
    if public != certified:
        reading.report((*where, "key"), f"{row.key} is not the key of {row.chain}")
        return None
    return Credential(chain, key)


def read_trust(reading: Reading, where: yaml_tree.Path, row: TrustRow) -> Trust | None:
    """Anchors, issuing authorities and revocation lists."""
    anchors = _read_certificates(reading, (*where, "anchors"), row.anchors)
    issuing = _read_certificates(reading, (*where, "issuing"), row.issuing)
    crls: list[x509.CertificateRevocationList] = []
    unread = False
    for index, name in enumerate(row.crls):
        data = reading.read((*where, "crls", index), name)
        if data is None:
            unread = True
            continue
        try:
            crls += _revocation_lists(data)
        except ValueError:
            reading.report((*where, "crls", index), f"{name} is not a revocation list")
            unread = True
    issuers = {crl.issuer for crl in crls}
    for certificate in () if unread else (*anchors, *issuing):
        # protocol.md §9.2: a list that cannot be had counts as revoked; better said now.
        if certificate.subject not in issuers:
            subject = certificate.subject.rfc4514_string()
            reading.report((*where, "crls"), f"no revocation list of {subject}")
    return Trust(tuple(anchors), tuple(issuing), tuple(crls))


def _read_certificates(
    reading: Reading, where: yaml_tree.Path, names: list[str]
) -> list[x509.Certificate]:
    found: list[x509.Certificate] = []
    for index, name in enumerate(names):
        data = reading.read((*where, index), name)
        if data is None:
            continue
        try:
            found += _certificates(data)
        except ValueError:
            reading.report((*where, index), f"{name} has no certificate")
    return found


_PEM_CRL = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)


def _revocation_lists(data: bytes) -> list[x509.CertificateRevocationList]:
    """All lists of a file: PEM, one or several, or DER, as Windows authorities publish them."""
    blocks = _PEM_CRL.findall(data)
    if not blocks:
        return [x509.load_der_x509_crl(data)]
    return [x509.load_pem_x509_crl(block) for block in blocks]


def _certificates(data: bytes) -> list[x509.Certificate]:
    if b"-----BEGIN" in data:
        return x509.load_pem_x509_certificates(data)
    return [x509.load_der_x509_certificate(data)]
