"""Certificates as real authorities make them, and malformed twins.

Windows authorities mark neither a subjectAltName beside an empty subject nor always
basicConstraints as critical; older roots have no key identifier and no keyUsage.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from ibcm_bridge.decisions.denial import Reason
from tests.addons.tls.made_certificates import (
    DNS,
    EC,
    GOOD_ONE,
    NAME,
    RSA,
    SHA_384,
    SID,
    VERSION_1,
    Made,
    computer,
    names,
    of,
    principal,
    raw,
    read_again,
    signed_again,
    uri,
    usage,
)

ACCOUNT = principal("PC1$@corp.example")
BY_SID = uri(f"tag:microsoft.com,2022-09-14:sid:{SID}")

ACCEPTED: Mapping[str, tuple[str, Made]] = {
    # case -> PKI, certificate
    "plain": ("good", of("good")),
    "rsa": ("good", computer(GOOD_ONE, DNS, key=RSA)),
    "p384": ("good", computer(GOOD_ONE, DNS, key=ec.generate_private_key(ec.SECP384R1()))),
    "cn-only": ("good", computer(GOOD_ONE)),
    "cn-netbios": ("good", computer(GOOD_ONE, None, "PC1")),
    "cn-guid": ("good", computer(GOOD_ONE, None, "1b671a64-40d5-491e-99b0-da01ff1f3341")),
    "san-dns-and-sid": ("good", computer(GOOD_ONE, names(x509.DNSName(NAME), BY_SID))),
    "san-account-and-dns": ("good", computer(GOOD_ONE, names(ACCOUNT, x509.DNSName(NAME)))),
    "template-and-sid": (
        "good",
        computer(
            GOOD_ONE,
            {
                **DNS,
                # szOID_CERTIFICATE_TEMPLATE and szOID_NTDS_CA_SECURITY_EXT
                "template": (raw("1.3.6.1.4.1.311.21.7", "300a06082b06010401823715"), False),
                "sid": (
                    raw("1.3.6.1.4.1.311.25.2", f"0c{len(SID):02x}{SID.encode().hex()}"),
                    False,
                ),
            },
        ),
    ),
    "authority-as-client": (
        "good",
        computer(
            GOOD_ONE,
            {**DNS, x509.BasicConstraints: (x509.BasicConstraints(True, 0), True)},
        ),
    ),
    "san-account": ("good", computer(GOOD_ONE, names(ACCOUNT))),
    "san-sid": ("good", computer(GOOD_ONE, names(BY_SID))),
    "san-address": (
        "good",
        computer(GOOD_ONE, names(x509.IPAddress(ipaddress.ip_address("192.0.2.7")))),
    ),
    "empty-subject": ("good", computer(GOOD_ONE, DNS, None)),
    "empty-subject-critical": (
        "good",
        computer(GOOD_ONE, names(x509.DNSName(NAME), critical=True), None),
    ),
    "no-aki": ("good", computer(GOOD_ONE, {**DNS, x509.AuthorityKeyIdentifier: None})),
    "no-ski": ("good", computer(GOOD_ONE, {**DNS, x509.SubjectKeyIdentifier: None})),
    "client-and-server": (
        "good",
        computer(
            GOOD_ONE,
            {
                **DNS,
                x509.ExtendedKeyUsage: (
                    x509.ExtendedKeyUsage(
                        [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
                    ),
                    False,
                ),
            },
        ),
    ),
    **{
        kind: (kind, of(kind))
        for kind in (
            "root-bc-not-critical",
            "issuing-bc-not-critical",
            "root-no-ski",
            "root-no-keyusage",
            "issuing-no-keyusage",
            "issuing-no-identifiers",
            "all-pss",
            "ms-crl-extensions",
            "sent-no-keyusage",
            "issuing-pathlen",
        )
    },
}

INVALID = Reason.CERTIFICATE_INVALID
NOT_READ = "the certificate cannot be read"

REFUSED: Mapping[str, tuple[str, Made, Reason, str]] = {
    # case -> PKI, certificate, reason, text in the detail
    "san-account-of-another": (
        "good",
        computer(GOOD_ONE, names(principal("PC2$@corp.example"))),
        Reason.CERTIFICATE_NAME,
        "the common name does not match the computer in the principal name",
    ),
    "san-user": (
        "good",
        computer(GOOD_ONE, names(principal("PC1@corp.example"))),
        Reason.CERTIFICATE_NAME,
        "the certificate does not name a computer",
    ),
    "san-mail": (
        "good",
        computer(GOOD_ONE, names(x509.RFC822Name("pki@corp.example"))),
        Reason.CERTIFICATE_NAME,
        "the certificate does not name a computer",
    ),
    "cn-with-space": (
        "good",
        computer(GOOD_ONE, None, "Contoso Device 1"),
        Reason.CERTIFICATE_NAME,
        "the certificate does not name a computer",
    ),
    "crl-idp": (
        "crl-idp",
        of("crl-idp"),
        Reason.REVOCATION_UNKNOWN,
        "no revocation list of CN=Issuing I covers it; its lists cover only "
        "certificates that name the distribution point http://pki.internet.example/i.crl "
        "(depth 0)",
    ),
    "san-empty": (
        "good",
        computer(GOOD_ONE, {"san": (raw("2.5.29.17", "3000"), False)}),
        INVALID,
        "has an empty subjectAltName (RFC 5280 section 4.2.1.6) (depth 0)",
    ),
    "no-name-at-all": (
        "good",
        computer(GOOD_ONE, None, None),
        INVALID,
        "has neither a subject nor a subjectAltName (RFC 5280 section 4.1.2.6) (depth 0)",
    ),
    "empty-subject-signs-lists": (
        "good",
        computer(
            GOOD_ONE,
            {**DNS, x509.KeyUsage: (usage("digital_signature", "crl_sign"), True)},
            None,
        ),
        INVALID,
        "has an empty subject but issues certificates or revocation lists "
        "(RFC 5280 section 4.1.2.6) (depth 0)",
    ),
    "end-entity-may-sign": (
        "good",
        computer(
            GOOD_ONE, {**DNS, x509.KeyUsage: (usage("digital_signature", "key_cert_sign"), True)}
        ),
        INVALID,
        "may sign certificates according to its keyUsage but is not a CA "
        "(RFC 5280 section 4.2.1.9) (depth 0)",
    ),
    "end-entity-with-pathlen": (
        "good",
        computer(GOOD_ONE, {**DNS, "bc": (raw("2.5.29.19", "3003020100"), True)}),
        INVALID,
        NOT_READ,
    ),
    "root-no-bc": (
        "root-no-bc",
        of("root-no-bc"),
        INVALID,
        "is not a CA according to its basicConstraints (RFC 5280 section 6.1.4 (k)) (depth 2)",
    ),
    "root-nameless": (
        "root-nameless",
        of("root-nameless"),
        INVALID,
        "has an empty issuer name (RFC 5280 section 4.1.2.4) (depth 1)",
    ),
    "sent-unreadable": (
        "sent-unreadable",
        of("sent-unreadable"),
        INVALID,
        "has an extension that cannot be read (RFC 5280 section 4.2) (depth 1)",
    ),
    "extensions-in-version-1": (
        "good",
        read_again(signed_again(of("good"), GOOD_ONE, version=VERSION_1)),
        INVALID,
        "has extensions but is not version 3 (RFC 5280 section 4.1.2.9) (depth 0)",
    ),
    "san-account-not-utf-8": (
        "good",
        computer(GOOD_ONE, names(principal("PC1$@corp.example", tag=0x16), x509.DNSName(NAME))),
        INVALID,
        NOT_READ,
    ),
    # OpenSSL refuses these in every mode.
    "algorithms-differ": (
        "good",
        read_again(signed_again(of("good"), GOOD_ONE, algorithm=SHA_384)),
        INVALID,
        "certificate signature failure (depth 0)",
    ),
    "aki-critical": (
        "good",
        computer(
            GOOD_ONE,
            {
                **DNS,
                x509.AuthorityKeyIdentifier: (
                    x509.AuthorityKeyIdentifier.from_issuer_public_key(GOOD_ONE.key.public_key()),
                    True,
                ),
            },
        ),
        INVALID,
        "unhandled critical extension (depth 0)",
    ),
    "ski-critical": (
        "good",
        computer(
            GOOD_ONE,
            {
                **DNS,
                x509.SubjectKeyIdentifier: (
                    x509.SubjectKeyIdentifier.from_public_key(EC.public_key()),
                    True,
                ),
            },
        ),
        INVALID,
        "unhandled critical extension (depth 0)",
    ),
    "issuing-no-bc": (
        "issuing-no-bc",
        of("issuing-no-bc"),
        INVALID,
        "invalid CA certificate (depth 1)",
    ),
    "issuing-is-none": (
        "issuing-is-none",
        of("issuing-is-none"),
        INVALID,
        "invalid CA certificate (depth 1)",
    ),
    "root-may-not-sign": (
        "root-may-not-sign",
        of("root-may-not-sign"),
        INVALID,
        "invalid CA certificate (depth 2)",
    ),
    "issuing-may-not-sign": (
        "issuing-may-not-sign",
        of("issuing-may-not-sign"),
        INVALID,
        "invalid CA certificate (depth 1)",
    ),
}
