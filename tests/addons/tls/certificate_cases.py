"""Certification paths that verifiers have judged wrongly, each with its section and its verdict.

Every case is made here, as one certificate that can be presented on both legs: it names the same
computer, and is for client and for server authentication. `client` and `site_system` are the
reasons of the refusals; None if the leg accepts it, `SKIPPED` if the case is not for that leg.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID as Purpose

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.policy.trust import Trust
from tests.addons.tls.made_certificates import (
    BEGINS,
    DNS,
    ENDS,
    NAME,
    NOW,
    SHA_256,
    Extensions,
    Made,
    Pki,
    authority,
    make,
    names,
    raw,
    usage,
)
from tests.addons.tls.rewritten import (
    ISSUER,
    KEY,
    SERIAL,
    VALIDITY,
    extensions_of,
    rewritten,
    tlv,
    with_extensions,
)

R = Reason
SKIPPED = "skipped"
type Verdict = Reason | str | None


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


LEAF_KEY, ISSUING_KEY, OTHER_KEY = _key(), _key(), _key()
DAY = datetime.timedelta(days=1)
PAST, FUTURE = (NOW - 9 * DAY, NOW - DAY), (NOW + DAY, NOW + 9 * DAY)


@dataclass(frozen=True)
class Presented:
    """A certificate in DER with its key, the certificates sent with it, and the leg's trust."""

    leaf: bytes
    key: object
    sent: Sequence[bytes]
    trust: Trust


@dataclass(frozen=True)
class Case:
    """A path and its verdict on each leg."""

    section: str
    """Of RFC 5280, unless another RFC is named."""
    presented: Presented
    client: Verdict
    site_system: Verdict


def presented(
    leaf: Made | bytes,
    *issuers: Made,
    known: bool = True,
    sent: Sequence[Made | bytes] = (),
    anchors: Sequence[Made] = (),
    revoked: Sequence[int] = (),
) -> Presented:
    """Present a leaf below its issuers. The last issuer is the anchor.

    Without `known`, the leaf's side sends the intermediates. Every issuer has a revocation list.
    """
    tops = (issuers[-1], *anchors)
    between = issuers[:-1]
    trust = Trust(
        tuple(top.certificate for top in tops),
        tuple(issuer.certificate for issuer in between) if known else (),
        tuple(_list(issuer, revoked) for issuer in (*issuers, *anchors)),
    )
    key = leaf.key if isinstance(leaf, Made) else LEAF_KEY
    return Presented(
        der(leaf), key, [der(each) for each in (*(() if known else between), *sent)], trust
    )


def der(made: Made | bytes) -> bytes:
    return made if isinstance(made, bytes) else made.certificate.public_bytes(Encoding.DER)


def _list(issuer: Made, revoked: Sequence[int]) -> x509.CertificateRevocationList:
    made = Pki(issuer, issuer).crl(issuer)
    if not revoked:
        return made
    builder = x509.CertificateRevocationListBuilder(
        made.issuer,
        BEGINS,
        ENDS,
        list(made.extensions),
        [x509.RevokedCertificateBuilder(serial, BEGINS).build() for serial in revoked],
    )
    return builder.sign(issuer.key, hashes.SHA256())


# The path that the cases change: Root -> Issuing -> the leaf


def root(changes: Extensions | None = None, name: str | None = "Root", **more: object) -> Made:
    return authority(name, None, changes, **more)


def issuing(
    changes: Extensions | None = None,
    by: Made | None = None,
    name: str | None = "Issuing",
    **more: object,
) -> Made:
    return authority(name, by or ROOT, changes, **{"key": ISSUING_KEY, **more})


def leaf(
    changes: Extensions | None = None,
    by: Made | None = None,
    name: str | None = NAME,
    **more: object,
) -> Made:
    extensions: Extensions = {
        x509.ExtendedKeyUsage: (
            x509.ExtendedKeyUsage([Purpose.CLIENT_AUTH, Purpose.SERVER_AUTH]),
            False,
        ),
        x509.KeyUsage: (usage("digital_signature", "key_encipherment"), True),
        x509.BasicConstraints: (x509.BasicConstraints(False, None), True),
        **DNS,
        **(changes or {}),
    }
    return make(name, by or ISSUING, extensions, **{"key": LEAF_KEY, **more})  # type: ignore[arg-type]


ROOT = root()
ISSUING = issuing()
LEAF = leaf()


def of_leaf(changes: Extensions | None = None, **more: object) -> Presented:
    return presented(leaf(changes, **more), ISSUING, ROOT)


def of_issuing(
    changes: Extensions | None = None, *, known: bool = True, **more: object
) -> Presented:
    by = issuing(changes, **more)
    return presented(leaf(by=by), by, ROOT, known=known)


def below(by: Made, changes: Extensions | None = None) -> Presented:
    """Present a leaf below this issuing CA."""
    return presented(leaf(changes, by), by, ROOT)


def of_root(changes: Extensions | None = None, **more: object) -> Presented:
    top = root(changes, **more)
    by = issuing(by=top)
    return presented(leaf(by=by), by, top)


def self_signed() -> Made:
    """Return the leaf, signed with its own key."""
    return leaf(by=Made(LEAF.certificate, LEAF_KEY))


def changed(part: int, value: bytes) -> Presented:
    """Present a leaf with another part of the signed data (RFC 5280 §4.1)."""
    return presented(rewritten(LEAF, ISSUING, {part: value}), ISSUING, ROOT)


def both(section: str, path: Presented, verdict: Verdict) -> Case:
    return Case(section, path, verdict, verdict)


# Extensions

UNKNOWN = "1.3.6.1.4.1.55555.1"


def unknown(*, critical: bool) -> Extensions:
    return {"unknown": (raw(UNKNOWN, "0500"), critical)}


def constraints(ca: bool, length: int | None = None, *, critical: bool = True) -> Extensions:
    return {x509.BasicConstraints: (x509.BasicConstraints(ca, length), critical)}


def purposes(*values: x509.ObjectIdentifier, critical: bool = False) -> Extensions:
    return {x509.ExtendedKeyUsage: (x509.ExtendedKeyUsage(values), critical)}


def key_usage(*bits: str) -> Extensions:
    return {x509.KeyUsage: (usage(*bits), True)}


def subtrees(
    permitted: Sequence[x509.GeneralName] | None = None,
    excluded: Sequence[x509.GeneralName] | None = None,
    *,
    critical: bool = True,
) -> Extensions:
    return {x509.NameConstraints: (x509.NameConstraints(permitted, excluded), critical)}


def dns(name: str) -> x509.DNSName:
    return x509.DNSName(name)


def dns_names(*values: str) -> Extensions:
    return names(*map(dns, values))


NO_NAMES: Extensions = {x509.SubjectAlternativeName: None}
CORP, ELSEWHERE = dns("corp.example"), dns("elsewhere.example")
DIRECTORY = x509.DirectoryName(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)]))
OTHER_DIRECTORY = x509.DirectoryName(
    x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Another")])
)
ADDRESS = x509.IPAddress(ipaddress.ip_address("192.0.2.7"))
NETWORK, OTHER_NETWORK = (
    x509.IPAddress(ipaddress.ip_network(network)) for network in ("192.0.2.0/24", "198.51.100.0/24")
)
# Dates and serial numbers in DER


def utc_time(text: str) -> bytes:
    return tlv(0x17, text.encode())


def general_time(text: str) -> bytes:
    return tlv(0x18, text.encode())


def dates(begins: bytes, ends: bytes) -> Presented:
    return changed(VALIDITY, tlv(0x30, begins, ends))


FROM = utc_time("200101000000Z")
TO = utc_time("491231235959Z")

VALIDITIES: Mapping[str, Case] = {
    "leaf expired": both("6.1.3 (a)(2)", of_leaf(valid=PAST), R.CERTIFICATE_EXPIRED),
    "leaf not yet valid": both("6.1.3 (a)(2)", of_leaf(valid=FUTURE), R.CERTIFICATE_NOT_YET_VALID),
    "issuing expired": both("6.1.3 (a)(2)", of_issuing(valid=PAST), R.CERTIFICATE_EXPIRED),
    "issuing not yet valid": both(
        "6.1.3 (a)(2)", of_issuing(valid=FUTURE), R.CERTIFICATE_NOT_YET_VALID
    ),
    "issuing expired, sent": both(
        "6.1.3 (a)(2)", of_issuing(valid=PAST, known=False), R.CERTIFICATE_EXPIRED
    ),
    "root expired": both("6.1.3 (a)(2)", of_root(valid=PAST), R.CERTIFICATE_EXPIRED),
    "root not yet valid": both("6.1.3 (a)(2)", of_root(valid=FUTURE), R.CERTIFICATE_NOT_YET_VALID),
    # Only the dates of each certificate matter: validities need not be nested.
    "leaf outlives its issuer": both("6.1.3", of_leaf(valid=(BEGINS, ENDS + 900 * DAY)), None),
    "leaf older than its issuer": both("6.1.3", of_leaf(valid=(BEGINS - 900 * DAY, ENDS)), None),
    "no defined end": both("4.1.2.5", dates(FROM, general_time("99991231235959Z")), None),
    "from 1950": both("4.1.2.5.1", dates(utc_time("500101000000Z"), TO), None),
    "UTCTime in another zone": both(
        "4.1.2.5.1", dates(utc_time("200101000000+0100"), TO), R.CERTIFICATE_INVALID
    ),
    "GeneralizedTime with fractions": both(
        "4.1.2.5.2", dates(FROM, general_time("20991231235959.5Z")), R.CERTIFICATE_INVALID
    ),
    # Forbidden, but it has one meaning only.
    "GeneralizedTime before 2050": both(
        "4.1.2.5", dates(general_time("20200101000000Z"), TO), None
    ),
}

SERIALS: Mapping[str, Case] = {
    "serial of 20 octets": both("4.1.2.2", changed(SERIAL, tlv(0x02, b"\x7f" * 20)), None),
    # RFC 5280 asks verifiers to handle these gracefully. Some CAs still make them.
    "serial of 21 octets": both("4.1.2.2", changed(SERIAL, tlv(0x02, b"\x7f" * 21)), None),
    "serial 0": both("4.1.2.2", changed(SERIAL, tlv(0x02, b"\0")), None),
    "serial negative": both("4.1.2.2", changed(SERIAL, tlv(0x02, b"\x80")), None),
    "serial revoked": both(
        "6.3.3",
        presented(LEAF, ISSUING, ROOT, revoked=[LEAF.certificate.serial_number]),
        R.CERTIFICATE_REVOKED,
    ),
    "serial of the issuing revoked": both(
        "6.3.3",
        presented(LEAF, ISSUING, ROOT, revoked=[ISSUING.certificate.serial_number]),
        R.CERTIFICATE_REVOKED,
    ),
    "another serial revoked": both("6.3.3", presented(LEAF, ISSUING, ROOT, revoked=[4711]), None),
}

LEAF_ISSUES = leaf(name="pc2.corp.example", key=OTHER_KEY)
SUB = authority("Sub", ISSUING, key=OTHER_KEY)
ROOT_0 = root(constraints(True, 0), "Root 0")
ROOT_1 = root(constraints(True, 1), "Root 1")
ISSUING_0 = issuing(constraints(True, 0))
SUB_0 = authority("Sub", ISSUING_0, key=OTHER_KEY)
UNDER_0, UNDER_1 = issuing(by=ROOT_0), issuing(by=ROOT_1)

AUTHORITIES: Mapping[str, Case] = {
    "plain": both("6.1", presented(LEAF, ISSUING, ROOT), None),
    "issuing sent": both("6.1", presented(LEAF, ISSUING, ROOT, known=False), None),
    "of the root directly": both("6.1", presented(leaf(by=ROOT), ROOT), None),
    "a leaf issues": both(
        "6.1.4 (k)",
        presented(leaf(by=LEAF_ISSUES), LEAF_ISSUES, ISSUING, ROOT, known=False),
        R.CERTIFICATE_INVALID,
    ),
    "a leaf issues, known": both(
        "6.1.4 (k)",
        presented(leaf(by=LEAF_ISSUES), LEAF_ISSUES, ISSUING, ROOT),
        R.CERTIFICATE_INVALID,
    ),
    "issuing without basicConstraints": both(
        "6.1.4 (k)", of_issuing({x509.BasicConstraints: None}), R.CERTIFICATE_INVALID
    ),
    "issuing without cA": both("6.1.4 (k)", of_issuing(constraints(False)), R.CERTIFICATE_INVALID),
    "issuing without keyCertSign": both(
        "6.1.4 (n)", of_issuing(key_usage("crl_sign", "digital_signature")), R.CERTIFICATE_INVALID
    ),
    "issuing without keyUsage": both("6.1.4 (n)", of_issuing({x509.KeyUsage: None}), None),
    "basicConstraints not critical": both(
        "4.2.1.9", of_issuing(constraints(True, critical=False)), None
    ),
    "pathLen 0, then a leaf": both("6.1.4 (m)", of_issuing(constraints(True, 0)), None),
    "pathLen 0, then a CA": both(
        "6.1.4 (m)",
        presented(leaf(by=SUB_0), SUB_0, ISSUING_0, ROOT),
        R.CERTIFICATE_INVALID,
    ),
    "no pathLen, two CAs": both("6.1.4 (m)", presented(leaf(by=SUB), SUB, ISSUING, ROOT), None),
    "root with pathLen 0, then a CA": both(
        "6.1.4 (m)", presented(leaf(by=UNDER_0), UNDER_0, ROOT_0), R.CERTIFICATE_INVALID
    ),
    "root with pathLen 1, then a CA": both(
        "6.1.4 (m)", presented(leaf(by=UNDER_1), UNDER_1, ROOT_1), None
    ),
    "pathLen negative": both(
        "4.2.1.9",
        of_issuing(
            {x509.BasicConstraints: (raw("2.5.29.19", "30060101ff0201ff"), True)}, known=False
        ),
        R.CERTIFICATE_UNTRUSTED,
    ),
    "issuing without extensions": both(
        "6.1.4 (k)",
        of_issuing(
            dict.fromkeys(
                (
                    x509.BasicConstraints,
                    x509.KeyUsage,
                    x509.AuthorityKeyIdentifier,
                    x509.SubjectKeyIdentifier,
                )
            )
        ),
        R.CERTIFICATE_INVALID,
    ),
}

ANY = x509.ObjectIdentifier("2.5.29.37.0")
CLIENT, SERVER = Purpose.CLIENT_AUTH, Purpose.SERVER_AUTH

PURPOSES: Mapping[str, Case] = {
    "for both legs": both("4.2.1.12", of_leaf(), None),
    "for both, critical": both("4.2.1.12", of_leaf(purposes(CLIENT, SERVER, critical=True)), None),
    "for clients": Case("4.2.1.12", of_leaf(purposes(CLIENT)), None, R.CERTIFICATE_PURPOSE),
    "for servers": Case("4.2.1.12", of_leaf(purposes(SERVER)), R.CERTIFICATE_PURPOSE, None),
    "for code signing": both(
        "4.2.1.12", of_leaf(purposes(Purpose.CODE_SIGNING)), R.CERTIFICATE_PURPOSE
    ),
    # An application may require its purpose beside any other one.
    "for any purpose": both("4.2.1.12", of_leaf(purposes(ANY)), R.CERTIFICATE_PURPOSE),
    "for any purpose and both": both("4.2.1.12", of_leaf(purposes(ANY, CLIENT, SERVER)), None),
    "without purposes": Case(
        "4.2.1.12", of_leaf({x509.ExtendedKeyUsage: None}), R.CERTIFICATE_PURPOSE, None
    ),
    "with an empty list of purposes": both(
        "4.2.1.12",
        of_leaf({x509.ExtendedKeyUsage: (raw("2.5.29.37", "3000"), False)}),
        R.CERTIFICATE_INVALID,
    ),
    # Microsoft and OpenSSL take the purposes of a CA as those of all certificates below it.
    "issuing for both legs": both("4.2.1.12", of_issuing(purposes(CLIENT, SERVER)), None),
    "issuing for clients": Case(
        "4.2.1.12", of_issuing(purposes(CLIENT)), None, R.CERTIFICATE_PURPOSE
    ),
    "issuing for servers": Case(
        "4.2.1.12", of_issuing(purposes(SERVER)), R.CERTIFICATE_PURPOSE, None
    ),
    "without keyUsage": both("4.2.1.3", of_leaf({x509.KeyUsage: None}), None),
    "signs lists only": both("4.2.1.3", of_leaf(key_usage("crl_sign")), R.CERTIFICATE_PURPOSE),
    # A client signs its handshake, so it needs digitalSignature (RFC 8446 section 4.4.2.2).
    "enciphers only": Case(
        "4.2.1.3", of_leaf(key_usage("key_encipherment")), R.CERTIFICATE_PURPOSE, None
    ),
    "may sign certificates": both(
        "4.2.1.9",
        of_leaf(key_usage("digital_signature", "key_cert_sign")),
        R.CERTIFICATE_INVALID,
    ),
}

OF_ELSEWHERE = issuing(subtrees([ELSEWHERE]))
SUB_OF_ELSEWHERE = authority("Sub", OF_ELSEWHERE, subtrees([dns("example")]), key=OTHER_KEY)

CONSTRAINED: Mapping[str, Case] = {
    "permitted DNS": both("4.2.1.10", of_issuing(subtrees([CORP])), None),
    "permitted DNS, the name itself": both("4.2.1.10", of_issuing(subtrees([dns(NAME)])), None),
    "permitted DNS in other letters": both(
        "4.2.1.10", of_issuing(subtrees([dns("CORP.Example")])), None
    ),
    "permitted DNS elsewhere": both(
        "4.2.1.10", of_issuing(subtrees([ELSEWHERE])), R.CERTIFICATE_INVALID
    ),
    "permitted DNS elsewhere, not critical": both(
        "4.2.1.10", of_issuing(subtrees([ELSEWHERE], critical=False)), R.CERTIFICATE_INVALID
    ),
    "permitted DNS elsewhere, sent": both(
        "4.2.1.10", of_issuing(subtrees([ELSEWHERE]), known=False), R.CERTIFICATE_INVALID
    ),
    "permitted DNS elsewhere, in the root": both(
        "6.1.4 (g)", of_root(subtrees([ELSEWHERE])), R.CERTIFICATE_INVALID
    ),
    "permitted DNS of a part of a label": both(
        "4.2.1.10", of_issuing(subtrees([dns("orp.example")])), R.CERTIFICATE_INVALID
    ),
    "permitted DNS in two steps": both(
        "6.1.4 (g)",
        presented(leaf(by=SUB_OF_ELSEWHERE), SUB_OF_ELSEWHERE, OF_ELSEWHERE, ROOT),
        R.CERTIFICATE_INVALID,
    ),
    "excluded DNS": both("4.2.1.10", of_issuing(subtrees(excluded=[CORP])), R.CERTIFICATE_INVALID),
    "excluded DNS elsewhere": both("4.2.1.10", of_issuing(subtrees(excluded=[ELSEWHERE])), None),
    "excluded DNS inside the permitted": both(
        "4.2.1.10", of_issuing(subtrees([CORP], [dns(NAME)])), R.CERTIFICATE_INVALID
    ),
    "excluded DNS of the second name": both(
        "4.2.1.10",
        below(issuing(subtrees(excluded=[ELSEWHERE])), dns_names(NAME, "www.elsewhere.example")),
        R.CERTIFICATE_INVALID,
    ),
    # The bridge takes the common name of a client without DNS names, so it is constrained, too.
    "permitted DNS and a common name": Case(
        "4.2.1.10",
        below(issuing(subtrees([CORP])), NO_NAMES),
        None,
        SKIPPED,
    ),
    "permitted DNS elsewhere and a common name": Case(
        "4.2.1.10",
        below(issuing(subtrees([ELSEWHERE])), NO_NAMES),
        R.CERTIFICATE_INVALID,
        SKIPPED,
    ),
    "permitted DNS elsewhere, a common name and an address": Case(
        "4.2.1.10",
        below(issuing(subtrees([ELSEWHERE])), names(ADDRESS)),
        R.CERTIFICATE_INVALID,
        SKIPPED,
    ),
    "permitted addresses": Case(
        "4.2.1.10",
        below(issuing(subtrees([NETWORK])), names(ADDRESS)),
        None,
        SKIPPED,
    ),
    "permitted addresses elsewhere": both(
        "4.2.1.10",
        below(issuing(subtrees([OTHER_NETWORK])), names(dns(NAME), ADDRESS)),
        R.CERTIFICATE_INVALID,
    ),
    "permitted directory": both("4.2.1.10", of_issuing(subtrees([DIRECTORY])), None),
    "permitted directory elsewhere": both(
        "4.2.1.10", of_issuing(subtrees([OTHER_DIRECTORY])), R.CERTIFICATE_INVALID
    ),
    "excluded directory": both(
        "4.2.1.10", of_issuing(subtrees(excluded=[DIRECTORY])), R.CERTIFICATE_INVALID
    ),
    "constraints with a minimum": both(
        "4.2.1.10",
        of_issuing(
            {
                x509.NameConstraints: (
                    raw("2.5.29.30", "3015a0133011820c636f72702e6578616d706c65800101"),
                    True,
                )
            }
        ),
        R.CERTIFICATE_INVALID,
    ),
    "constraints that permit nothing and exclude nothing": both(
        "4.2.1.10",
        of_issuing({x509.NameConstraints: (raw("2.5.29.30", "3000"), True)}, known=False),
        R.CERTIFICATE_INVALID,
    ),
}

DUPLICATES = {
    oid: next(each for each in extensions_of(LEAF) if tlv(0x06, bytes.fromhex(oid)) in each)
    for oid in ("551d11", "551d25", "551d0f", "551d13")
}

POLICY: Extensions = {
    x509.CertificatePolicies: (
        x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier(UNKNOWN), None)]),
        False,
    )
}
REQUIRES_POLICY = issuing(
    {
        **POLICY,
        x509.PolicyConstraints: (
            x509.PolicyConstraints(require_explicit_policy=0, inhibit_policy_mapping=None),
            True,
        ),
    }
)

EXTENSIONS: Mapping[str, Case] = {
    "unknown": both("4.2", of_leaf(unknown(critical=False)), None),
    "unknown and critical": both("4.2", of_leaf(unknown(critical=True)), R.CERTIFICATE_INVALID),
    "unknown in the issuing": both("4.2", of_issuing(unknown(critical=False)), None),
    "unknown and critical in the issuing": both(
        "4.2", of_issuing(unknown(critical=True)), R.CERTIFICATE_INVALID
    ),
    "unknown and critical in the root": both(
        "4.2", of_root(unknown(critical=True)), R.CERTIFICATE_INVALID
    ),
    **{
        f"twice: {name}": both(
            "4.2",
            presented(
                with_extensions(LEAF, ISSUING, [*extensions_of(LEAF), DUPLICATES[oid]]),
                ISSUING,
                ROOT,
            ),
            R.CERTIFICATE_INVALID,
        )
        for oid, name in {
            "551d11": "subjectAltName",
            "551d25": "extKeyUsage",
            "551d0f": "keyUsage",
            "551d13": "basicConstraints",
        }.items()
    },
    # Not held (docs/threats.md): policies are not processed. The second path is invalid.
    "policies required and present": both("6.1.5 (g)", below(REQUIRES_POLICY, POLICY), None),
    "policies required and missing": both("6.1.5 (g)", below(REQUIRES_POLICY), None),
}

NAMES: Mapping[str, Case] = {
    **{
        f"name {name!r}": Case("RFC 9525 6.3", of_leaf(dns_names(name), name=None), client, site)
        for name, client, site in (
            (NAME.upper(), None, None),
            ("*.corp.example", R.CERTIFICATE_NAME, None),
            ("*.example", R.CERTIFICATE_NAME, R.CERTIFICATE_INVALID),
            ("*", R.CERTIFICATE_NAME, R.CERTIFICATE_INVALID),
            ("*.*.example", R.CERTIFICATE_NAME, R.CERTIFICATE_INVALID),
            ("*.*", R.CERTIFICATE_NAME, R.CERTIFICATE_INVALID),
            ("pc1.*.example", R.CERTIFICATE_NAME, R.CERTIFICATE_INVALID),
            ("pc*.corp.example", R.CERTIFICATE_NAME, R.CERTIFICATE_INVALID),
            ("*1.corp.example", R.CERTIFICATE_NAME, R.CERTIFICATE_INVALID),
            ("p*1.corp.example", R.CERTIFICATE_NAME, R.CERTIFICATE_INVALID),
            (f"{NAME}\0.elsewhere.example", R.CERTIFICATE_NAME, R.CERTIFICATE_INVALID),
            (f"{NAME} ", R.CERTIFICATE_NAME, R.CERTIFICATE_INVALID),
            (f"{NAME}.", R.CERTIFICATE_NAME, R.CERTIFICATE_INVALID),
            (f".{NAME}", R.CERTIFICATE_NAME, R.CERTIFICATE_INVALID),
            ("", R.CERTIFICATE_NAME, R.CERTIFICATE_INVALID),
            (" ", R.CERTIFICATE_NAME, R.CERTIFICATE_INVALID),
            ("corp.example", SKIPPED, R.CERTIFICATE_INVALID),
            (f"www.{NAME}", SKIPPED, R.CERTIFICATE_INVALID),
        )
    },
    "a common name only": Case("RFC 9525 2", of_leaf(NO_NAMES), None, R.CERTIFICATE_INVALID),
    "the name as an address": Case(
        "RFC 9525 6.5", of_leaf(names(ADDRESS)), None, R.CERTIFICATE_INVALID
    ),
    "the name second": Case(
        "RFC 9525 6.3", of_leaf(dns_names("www.elsewhere.example", NAME)), None, None
    ),
}


def _corrupted(made: Made) -> bytes:
    encoded = bytearray(der(made))
    encoded[-1] ^= 1
    return bytes(encoded)


IMPOSTOR = root(key=OTHER_KEY)
"""Another root with the name of the root."""
OF_IMPOSTOR = issuing(by=IMPOSTOR)
TWIN_ISSUING = issuing(key=OTHER_KEY)
CROSS_ROOT = root(name="Another root", key=OTHER_KEY)
CROSSED = issuing(by=CROSS_ROOT)
STALE_ISSUING = issuing(valid=PAST)
NEW_ROOT = root(key=OTHER_KEY)
NEW_CROSS = issuing(by=ROOT, name="Root", key=OTHER_KEY)
OF_NEW = issuing(by=NEW_ROOT)
LOOP_A = authority("Loop A", authority("Loop B", None, key=OTHER_KEY), key=ISSUING_KEY)
LOOP_B = authority("Loop B", authority("Loop A", None, key=ISSUING_KEY), key=OTHER_KEY)

SIGNATURES: Mapping[str, Case] = {
    "signature changed": both(
        "6.1.3 (a)(1)", presented(_corrupted(LEAF), ISSUING, ROOT), R.CERTIFICATE_INVALID
    ),
    "signed by another key, without key identifier": both(
        "6.1.3 (a)(1)",
        presented(leaf({x509.AuthorityKeyIdentifier: None}, TWIN_ISSUING), ISSUING, ROOT),
        R.CERTIFICATE_INVALID,
    ),
    "signed by another key, with its identifier": both(
        "6.1.3 (a)(4)", presented(leaf(by=TWIN_ISSUING), ISSUING, ROOT), R.CERTIFICATE_UNTRUSTED
    ),
    "another issuer name": both(
        "6.1.3 (a)(4)",
        presented(rewritten(LEAF, ISSUING, {ISSUER: tlv(0x30)}), ISSUING, ROOT),
        R.CERTIFICATE_UNTRUSTED,
    ),
    "an unknown algorithm": both(
        "4.1.1.2",
        presented(der(LEAF).replace(SHA_256, SHA_256[:-1] + b"\x7f"), ISSUING, ROOT),
        R.CERTIFICATE_UNTRUSTED,
    ),
}

PATHS: Mapping[str, Case] = {
    "self-signed": both("6.1", presented(self_signed(), ROOT), R.CERTIFICATE_UNTRUSTED),
    "an impostor of the root, sent": both(
        "6.1.1 (d)",
        presented(leaf(by=OF_IMPOSTOR), ROOT, sent=[OF_IMPOSTOR, IMPOSTOR]),
        R.CERTIFICATE_UNTRUSTED,
    ),
    "the root sent, too": both(
        "6.1.1 (d)", presented(LEAF, ISSUING, ROOT, known=False, sent=[ROOT]), None
    ),
    "issuing neither known nor sent": both("6.1", presented(LEAF, ROOT), R.CERTIFICATE_UNTRUSTED),
    "unrelated certificates sent": both(
        "RFC 8446 4.4.2", presented(LEAF, ISSUING, ROOT, sent=[CROSS_ROOT, SUB]), None
    ),
    "sent in another order": both(
        "RFC 8446 4.4.2",
        presented(leaf(by=SUB), SUB, ISSUING, ROOT, known=False),
        None,
    ),
    "sent in the reverse order": both(
        "RFC 8446 4.4.2",
        replace(
            presented(leaf(by=SUB), SUB, ISSUING, ROOT, known=False),
            sent=[der(ISSUING), der(SUB)],
        ),
        None,
    ),
    "cross-signed by the root": both(
        "3.2", presented(LEAF, CROSSED, CROSS_ROOT, known=False), None
    ),
    "cross-signed by another root": both(
        "3.2",
        presented(LEAF, ROOT_1, sent=[CROSSED, CROSS_ROOT]),
        R.CERTIFICATE_UNTRUSTED,
    ),
    "a root with a new key": both(
        "3.2", presented(leaf(by=OF_NEW), OF_NEW, NEW_ROOT, anchors=[ROOT], sent=[NEW_CROSS]), None
    ),
    "an expired and a current CA with one key": both(
        "6.1", presented(LEAF, ISSUING, ROOT, sent=[STALE_ISSUING]), None
    ),
    "a loop of two CAs": both(
        "6.1",
        presented(leaf(by=LOOP_A), ROOT, sent=[LOOP_A, LOOP_B]),
        R.CERTIFICATE_UNTRUSTED,
    ),
}


def _explicit(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A key of P-256 with the parameters of the curve instead of its name (RFC 5480 §2.1.1)."""
    p = 2**256 - 2**224 + 2**192 + 2**96 - 1
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    b = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
    base = ec.derive_private_key(1, ec.SECP256R1()).public_key()
    points = Encoding.X962, PublicFormat.UncompressedPoint
    prime_field, public_key = (
        bytes.fromhex("06072a8648ce3d0101"),
        bytes.fromhex("06072a8648ce3d0201"),
    )
    parameters = tlv(
        0x30,
        tlv(0x02, b"\x01"),
        tlv(0x30, prime_field, tlv(0x02, p.to_bytes(33))),
        tlv(0x30, tlv(0x04, (p - 3).to_bytes(32)), tlv(0x04, b.to_bytes(32))),
        tlv(0x04, base.public_bytes(*points)),
        tlv(0x02, order.to_bytes(33)),
        tlv(0x02, b"\x01"),
    )
    point = key.public_key().public_bytes(*points)
    return tlv(0x30, tlv(0x30, public_key, parameters), tlv(0x03, b"\0", point))


def _rsa(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


KEYS: Mapping[str, Case] = {
    # CVE-2020-0601: with parameters, the base point can be chosen for a known public key.
    "EC key with parameters": both(
        "RFC 5480 2.1.1", changed(KEY, _explicit(LEAF_KEY)), R.CERTIFICATE_INVALID
    ),
    "EC key with the name of its curve": both(
        "RFC 5480 2.1.1", presented(LEAF, ISSUING, ROOT), None
    ),
    "EC key of P-384": both("8", of_leaf(key=ec.generate_private_key(ec.SECP384R1())), None),
    "Ed25519 key": both("RFC 8410 3", of_leaf(key=ed25519.Ed25519PrivateKey.generate()), None),
    "RSA key of 2048 bits": both("8", of_leaf(key=_rsa(2048)), None),
    "RSA key of 1024 bits": both("8", of_leaf(key=_rsa(1024)), R.CERTIFICATE_WEAK),
    "issuing with an RSA key of 2048 bits": both("8", of_issuing(key=_rsa(2048)), None),
    "issuing with an RSA key of 1024 bits": both(
        "8", of_issuing(key=_rsa(1024)), R.CERTIFICATE_WEAK
    ),
    "root with an RSA key of 1024 bits": both("8", of_root(key=_rsa(1024)), R.CERTIFICATE_WEAK),
}

CASES: Mapping[str, Case] = {
    **VALIDITIES,
    **SERIALS,
    **AUTHORITIES,
    **PURPOSES,
    **CONSTRAINED,
    **EXTENSIONS,
    **NAMES,
    **SIGNATURES,
    **KEYS,
    **PATHS,
}
