"""Revocation: what a list says, for how long, and which of two counts."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ibcm_bridge.decisions import Deny, Reason
from ibcm_bridge.lab.pki import ISSUING_CRL_URL, Credential, LabPki
from ibcm_bridge.policy import Revocation, Trust
from ibcm_bridge.revocation import (
    Lists,
    RevocationList,
    judge_revocation,
    lists_of,
    read_list,
    renew,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture(scope="module")
def computer(pki: LabPki) -> Credential:
    return pki.computer("pc1.corp.example")


@pytest.fixture(scope="module")
def serial(computer: Credential) -> int:
    return computer.certificate.serial_number


Judge = Callable[..., object]


@pytest.fixture
def judge(pki: LabPki, computer: Credential) -> Judge:
    """The reason of a refusal, else the notes, for a computer and these lists of its issuer."""

    def judged(
        *crls: x509.CertificateRevocationList, now: datetime = NOW, **policy: object
    ) -> object:
        root = pki.crls(next_update=NOW + 365 * DAY)[0]
        revocation = Revocation(**policy)  # type: ignore[arg-type]
        trust = Trust((pki.root,), (pki.issuing,), (root, *crls), revocation)
        path = [computer.certificate, pki.issuing, pki.root]
        verdict = judge_revocation(trust, lists_of(trust, now), path, now)
        return verdict.reason if isinstance(verdict, Deny) else verdict

    return judged


# One list


def test_a_certificate_on_the_list_is_revoked_and_its_twin_is_not(
    pki: LabPki, judge: Judge, serial: int
) -> None:
    assert judge(pki.issuing_crl([serial], 1)) is Reason.CERTIFICATE_REVOKED
    assert judge(pki.issuing_crl([serial + 1], 1)) == ()


def test_a_certificate_whose_authority_is_revoked_is_refused(
    pki: LabPki, computer: Credential
) -> None:
    root_crl = pki._root.crl([pki.issuing.serial_number], 1, NOW - HOUR, NOW + DAY)
    trust = Trust((pki.root,), (pki.issuing,), (root_crl, pki.issuing_crl([], 1)))
    path = [computer.certificate, pki.issuing, pki.root]
    verdict = judge_revocation(trust, lists_of(trust, NOW), path, NOW)
    assert isinstance(verdict, Deny)
    assert (verdict.reason, verdict.detail) == (
        Reason.CERTIFICATE_REVOKED,
        "certificate revoked (depth 1)",
    )


def test_without_a_list_it_cannot_be_told(judge: Judge) -> None:
    assert judge() is Reason.REVOCATION_UNKNOWN


def test_an_authority_that_is_named_needs_no_list_and_the_audit_says_so(
    pki: LabPki, judge: Judge
) -> None:
    named = {pki.issuing.subject: "it has never published one"}
    (note,) = judge(without_crl=named)  # type: ignore[misc]
    assert "no revocation list of CN=Lab Issuing CA" in note
    assert judge(without_crl={pki.root.subject: "another one"}) is Reason.REVOCATION_UNKNOWN


def test_an_authority_that_is_named_and_has_a_list_is_held_to_it(
    pki: LabPki, judge: Judge, serial: int
) -> None:
    named = {pki.issuing.subject: "it has never published one"}
    crl = pki.issuing_crl([serial], 1)
    assert judge(crl, without_crl=named) is Reason.CERTIFICATE_REVOKED


@pytest.mark.parametrize(
    ("after", "grace", "expected"),
    [
        (-HOUR, 0 * HOUR, ()),
        (HOUR, 0 * HOUR, Reason.REVOCATION_UNKNOWN),
        (HOUR, 12 * HOUR, "in its grace"),
        (13 * HOUR, 12 * HOUR, Reason.REVOCATION_UNKNOWN),
    ],
)
def test_a_list_past_its_end_counts_for_its_grace(
    pki: LabPki, judge: Judge, after: timedelta, grace: timedelta, expected: object
) -> None:
    crl = pki.issuing_crl([], 1, next_update=NOW + DAY)
    verdict = judge(crl, now=NOW + DAY + after, grace=grace)
    if expected == "in its grace":
        (note,) = verdict  # type: ignore[misc]
        assert expected in note
    else:
        assert verdict == expected


def test_what_a_list_revokes_is_revoked_in_its_grace_too(
    pki: LabPki, judge: Judge, serial: int
) -> None:
    crl = pki.issuing_crl([serial], 1, next_update=NOW + DAY)
    assert judge(crl, now=NOW + DAY + HOUR, grace=DAY) is Reason.CERTIFICATE_REVOKED


def test_a_list_that_begins_later_does_not_count_yet(pki: LabPki, judge: Judge) -> None:
    crl = pki.issuing_crl([], 1, this_update=NOW + HOUR)
    assert judge(crl) is Reason.REVOCATION_UNKNOWN
    assert judge(crl, now=NOW + 2 * HOUR) == ()


# Delta lists (RFC 5280 §5.2.4)


def test_a_delta_list_revokes_what_the_base_list_does_not(
    pki: LabPki, judge: Judge, serial: int
) -> None:
    base = pki.issuing_crl([], 10)
    assert judge(base, pki.issuing_crl([serial], 11, base=10)) is Reason.CERTIFICATE_REVOKED
    assert judge(base, pki.issuing_crl([serial + 1], 11, base=10)) == ()


def test_a_delta_list_takes_back_what_was_on_hold(pki: LabPki, judge: Judge, serial: int) -> None:
    base = pki.issuing_crl([serial], 10)
    assert judge(base, pki.issuing_crl([], 11, base=10, removed=[serial])) == ()
    assert judge(base, pki.issuing_crl([], 11, base=10)) is Reason.CERTIFICATE_REVOKED


def test_a_delta_list_for_a_later_base_takes_nothing_back_but_adds(
    pki: LabPki, judge: Judge, serial: int
) -> None:
    held = pki.issuing_crl([serial], 10)
    late = pki.issuing_crl([], 13, base=12, removed=[serial])
    assert judge(held, late) is Reason.CERTIFICATE_REVOKED
    assert (
        judge(pki.issuing_crl([], 10), pki.issuing_crl([serial], 13, base=12))
        is Reason.CERTIFICATE_REVOKED
    )


def test_a_base_list_that_was_made_later_replaces_the_delta_list(
    pki: LabPki, judge: Judge, serial: int
) -> None:
    delta = pki.issuing_crl([serial], 11, base=10)
    assert judge(pki.issuing_crl([], 11), delta) == ()
    assert judge(pki.issuing_crl([], 10), delta) is Reason.CERTIFICATE_REVOKED


def test_a_delta_list_past_its_end_leaves_it_unknown_unless_in_its_grace(
    pki: LabPki, judge: Judge
) -> None:
    base = pki.issuing_crl([], 10, next_update=NOW + 9 * DAY)
    delta = pki.issuing_crl([], 11, base=10, next_update=NOW + DAY)
    assert judge(base, delta, now=NOW + DAY + HOUR) is Reason.REVOCATION_UNKNOWN
    assert "the delta list" in str(judge(base, delta, now=NOW + DAY + HOUR, grace=DAY))
    assert judge(pki.issuing_crl([], 12), delta, now=NOW + DAY + HOUR) == ()


def test_a_delta_list_alone_is_no_list(pki: LabPki, judge: Judge) -> None:
    assert judge(pki.issuing_crl([], 11, base=10)) is Reason.REVOCATION_UNKNOWN


# Which certificates a list is about (RFC 5280 §5.2.5)


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


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"only_contains_user_certs": True}, ()),
        ({"only_contains_ca_certs": True}, Reason.REVOCATION_UNKNOWN),
        ({"full_name": HERE}, ()),
        ({"full_name": ELSEWHERE}, Reason.REVOCATION_UNKNOWN),
        ({"full_name": HERE, "indirect_crl": True}, Reason.REVOCATION_UNKNOWN),
        ({"only_contains_attribute_certs": True}, Reason.REVOCATION_UNKNOWN),
        (
            {"only_some_reasons": frozenset({x509.ReasonFlags.key_compromise}), "full_name": HERE},
            Reason.REVOCATION_UNKNOWN,
        ),
    ],
)
def test_a_list_counts_for_the_certificates_it_is_about(
    pki: LabPki, judge: Judge, said: dict[str, object], expected: object
) -> None:
    assert judge(pki.issuing_crl([], 1, scope=scope(**said))) == expected


# What can be used at all


def test_a_list_that_nobody_configured_has_signed_is_not_used(pki: LabPki) -> None:
    forged = LabPki.make(now=NOW).issuing_crl([], 99)
    assert "not signed by an authority" in str(read_list(forged, [pki.root, pki.issuing]))
    assert isinstance(read_list(pki.issuing_crl([], 99), [pki.issuing]), RevocationList)


def test_a_list_whose_signer_may_not_sign_lists_is_not_used(
    pki: LabPki, computer: Credential
) -> None:
    # The name is right and the key is too, but cRLSign is not in its keyUsage.
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(computer.certificate.subject)
        .last_update(NOW)
        .next_update(NOW + DAY)
    )
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

    crl = builder.sign(computer.key, SHA256())
    assert isinstance(read_list(crl, [computer.certificate]), str)


def test_a_list_with_something_critical_that_is_not_understood_is_not_used(pki: LabPki) -> None:
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    period = (NOW - HOUR, NOW + DAY)
    for critical in (True, False):
        crl = pki._issuing.crl([], 1, *period, extensions=[(odd, critical)])
        assert isinstance(read_list(crl, [pki.issuing]), str if critical else RevocationList)


# Renewal


@pytest.fixture
def trust(pki: LabPki) -> Trust:
    crls = (pki.crls()[0], pki.issuing_crl([], 5, this_update=NOW - HOUR))
    return Trust((pki.root,), (pki.issuing,), crls)


def held_number(pki: LabPki, lists: Lists) -> int | None:
    base, _ = lists.of(pki.issuing, pki.computer("pc9.corp.example").certificate)
    return base.number if base else None


def test_a_newer_list_takes_the_place_of_the_one_held(pki: LabPki, trust: Trust) -> None:
    newer = pki.issuing_crl([1], 6, this_update=NOW)
    renewal = renew(lists_of(trust, NOW), trust, [("a.crl", newer)], NOW)
    assert held_number(pki, renewal.lists) == 6
    assert (len(renewal.renewed), renewal.problems) == (1, ())


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda pki: pki.issuing_crl([], 4, this_update=NOW - DAY), "older than the one held"),
        (lambda pki: pki.issuing_crl([], 6, this_update=NOW + HOUR), "not valid before"),
        (lambda _: LabPki.make(now=NOW).issuing_crl([], 6, this_update=NOW), "not signed"),
    ],
)
def test_a_worse_list_leaves_the_one_held(
    pki: LabPki, trust: Trust, make: Callable[[LabPki], object], problem: str
) -> None:
    renewal = renew(lists_of(trust, NOW), trust, [("a.crl", make(pki))], NOW)  # type: ignore[list-item]
    assert held_number(pki, renewal.lists) == 5
    assert renewal.renewed == ()
    (said,) = renewal.problems
    assert said.startswith("a.crl: ")
    assert problem in said
    assert renewal.early is ("before" in problem)


def test_the_same_list_again_is_no_news(pki: LabPki, trust: Trust) -> None:
    again = [("a.crl", one) for one in trust.crls]
    renewal = renew(lists_of(trust, NOW), trust, again, NOW)
    assert (renewal.renewed, renewal.problems) == ((), ())


def test_a_list_of_an_authority_that_a_client_sends_counts_for_that_one_only(
    pki: LabPki, trust: Trust, computer: Credential
) -> None:
    credential, crl = pki.branch("pc7.branch.example")
    renewal = renew(lists_of(trust, NOW), trust, [("b.crl", crl)], NOW)
    path = [credential.certificate, *credential.issuers, pki.root]
    assert judge_revocation(trust, renewal.lists, path, NOW) == ()
    verdict = judge_revocation(trust, lists_of(trust, NOW), path, NOW)
    assert isinstance(verdict, Deny)
    assert verdict.reason is Reason.REVOCATION_UNKNOWN
    # A list by the same name and another key says nothing of it.
    _, other = LabPki.make(now=NOW).branch("pc7.branch.example")
    forged = renew(lists_of(trust, NOW), trust, [("b.crl", other)], NOW)
    verdict = judge_revocation(trust, forged.lists, path, NOW)
    assert isinstance(verdict, Deny)
    assert verdict.reason is Reason.REVOCATION_UNKNOWN


@pytest.mark.parametrize(("digest", "usable"), [("sha1", False), ("sha256", True)])
def test_a_list_with_a_weak_signature_is_not_used(
    pki: LabPki, tmp_path: Path, digest: str, usable: bool
) -> None:
    """As a certificate with one is not; only openssl's own command still makes one."""
    (tmp_path / "ca.pem").write_bytes(pki.issuing.public_bytes(Encoding.PEM))
    (tmp_path / "ca.key").write_bytes(
        pki._issuing.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    (tmp_path / "index").write_text("")
    (tmp_path / "cnf").write_text("[ca]\ndefault_ca=one\n[one]\ndatabase=index\n")
    command = (
        f"ca -gencrl -config cnf -cert ca.pem -keyfile ca.key -md {digest} -crldays 7 -out crl"
    )
    subprocess.run(["openssl", *command.split()], cwd=tmp_path, capture_output=True, check=True)
    crl = x509.load_pem_x509_crl((tmp_path / "crl").read_bytes())
    read = read_list(crl, [pki.issuing])
    assert isinstance(read, RevocationList) is usable
    if not usable:
        assert str(read).endswith("is signed with sha1")
