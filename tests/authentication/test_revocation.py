"""Revocation: what a list says, for how long, and which of two counts."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ibcm_bridge.authentication.revocation import Lists, judge_revocation, lists_of, renew
from ibcm_bridge.authentication.revocation_list import RevocationList, key_of, read_list
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.lab.pki import certificates as made
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import ISSUING_CRL_URL, Credential
from ibcm_bridge.policy.trust import Revocation, Trust

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


def asked(trust: Trust, path: list[x509.Certificate], lists: Lists | None = None) -> object:
    """The reason of a refusal, else the notes."""
    verdict = judge_revocation(trust, lists or lists_of(trust, NOW), path, NOW)
    return verdict.reason if isinstance(verdict, Deny) else verdict


def authority(
    name: str, pki: LabPki, key: ec.EllipticCurvePrivateKey | None = None
) -> tuple[made.Authority, x509.Certificate]:
    """Another authority below the same root, and a computer's certificate it issued."""
    one = made.issuing_authority(name, pki._root, NOW)
    if key is not None:
        extensions = made.authority_extensions(path_length=0)
        period = made.authority_period(NOW)
        certificate = made.sign(key, made.distinguished_name(name), pki._root, period, extensions)
        one = made.Authority(certificate, key)
    return one, made.computer(one, "pc7.corp.example", made.current(NOW)).certificate


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
    named = {key_of(pki.issuing): "it has never published one"}
    (note,) = judge(without_crl=named)  # type: ignore[misc]
    assert "no revocation list of CN=Lab Issuing CA" in note
    assert judge(without_crl={key_of(pki.root): "another one"}) is Reason.REVOCATION_UNKNOWN


def test_an_authority_that_is_named_and_has_a_list_is_held_to_it(
    pki: LabPki, judge: Judge, serial: int
) -> None:
    named = {key_of(pki.issuing): "it has never published one"}
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
    found = lists.of(pki.issuing, pki.computer("pc9.corp.example").certificate)
    return next((one.number for one in found if one.base_number is None), None)


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


@pytest.mark.needs("openssl")
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


# Whose list it is: the name and the key


def test_a_list_answers_for_its_authority_only_though_another_has_the_same_key(
    pki: LabPki,
) -> None:
    twin, of_twin = authority("Lab Twin CA", pki, key=pki._issuing.key)
    serial = of_twin.serial_number
    root = pki.crls()[0]
    path = [of_twin, twin.certificate, pki.root]
    own = twin.crl([serial], 9, NOW - HOUR, NOW + DAY)
    newer = pki.issuing_crl([], 10, this_update=NOW)
    for lists, expected in (
        ((root, newer), Reason.REVOCATION_UNKNOWN),
        ((root, own, newer), Reason.CERTIFICATE_REVOKED),
        ((root, twin.crl([], 9, NOW - HOUR, NOW + DAY), newer), ()),
    ):
        trust = Trust((pki.root,), (pki.issuing, twin.certificate), lists)
        assert asked(trust, path) == expected


def test_an_authority_needs_no_list_by_name_and_key_and_not_by_name_alone(pki: LabPki) -> None:
    namesake, of_namesake = authority("Lab Issuing CA", pki)
    assert namesake.certificate.subject == pki.issuing.subject
    named = Revocation(without_crl={key_of(pki.issuing): "it has never published one"})
    trust = Trust((pki.root,), (pki.issuing,), (pki.crls()[0],), named)
    assert asked(trust, [of_namesake, namesake.certificate, pki.root]) is Reason.REVOCATION_UNKNOWN
    computer = pki.computer("pc1.corp.example").certificate
    (note,) = asked(trust, [computer, pki.issuing, pki.root])  # type: ignore[misc]
    assert "by policy" in note


# Several scopes of one authority


COVERED = {
    "a point": (
        {"full_name": [x509.UniformResourceIdentifier("http://other.internet.example/x.crl")]},
        "certificates that name the distribution point http://other.internet.example/x.crl",
    ),
    "authorities": ({"only_contains_ca_certs": True}, "certificates of authorities"),
}


@pytest.mark.parametrize(("said", "covered"), COVERED.values(), ids=COVERED)
def test_a_list_of_another_scope_is_named_where_none_covers_a_certificate(
    pki: LabPki, computer: Credential, said: dict[str, object], covered: str
) -> None:
    other = pki.issuing_crl([], 1, scope=scope(**said))
    name = pki.issuing.subject.rfc4514_string()
    for crls, detail in (
        ((other,), f"no revocation list of {name} covers it: what is held covers only "),
        ((), f"no revocation list of {name} (depth 0)"),
    ):
        trust = Trust((pki.root,), (pki.issuing,), crls)
        path = [computer.certificate, pki.issuing, pki.root]
        verdict = judge_revocation(trust, lists_of(trust, NOW), path, NOW)
        assert isinstance(verdict, Deny)
        assert verdict.reason is Reason.REVOCATION_UNKNOWN
        assert verdict.detail == (f"{detail}{covered} (depth 0)" if crls else detail)
    both = (other, pki.issuing_crl([], 2))
    trust = Trust((pki.root,), (pki.issuing,), (*both, *pki.crls()))
    assert judge_revocation(trust, lists_of(trust, NOW), path, NOW) == ()


def test_a_delta_list_of_another_scope_adds_and_takes_nothing_back(
    pki: LabPki, judge: Judge, serial: int
) -> None:
    here, full = scope(full_name=HERE), pki.issuing_crl([serial], 5)
    other = pki.issuing_crl([], 6, base=3, removed=[serial], scope=here)
    assert judge(full, other) is Reason.CERTIFICATE_REVOKED
    assert judge(full, pki.issuing_crl([], 6, base=3, removed=[serial])) == ()
    adding = pki.issuing_crl([serial], 6, base=3, scope=here)
    assert judge(pki.issuing_crl([], 5), adding) is Reason.CERTIFICATE_REVOKED
    # Numbers are counted within a scope (RFC 5280 §5.2.3): 9 of one is not later than 6 of another.
    assert judge(pki.issuing_crl([], 9), adding) is Reason.CERTIFICATE_REVOKED


def test_a_newer_list_of_another_scope_does_not_hide_what_is_revoked(
    pki: LabPki, judge: Judge, serial: int
) -> None:
    full = pki.issuing_crl([serial], 5, this_update=NOW - HOUR)
    newer = pki.issuing_crl([], 6, this_update=NOW, scope=scope(full_name=HERE))
    assert judge(full, newer) is Reason.CERTIFICATE_REVOKED
    assert judge(pki.issuing_crl([serial + 1], 5), newer) == ()
    elsewhere = pki.issuing_crl([serial], 5, scope=scope(full_name=ELSEWHERE))
    assert judge(elsewhere, newer) == ()
    # Taken back within its own scope: by a delta list, or by the next list.
    released = pki.issuing_crl([], 6, base=5, removed=[serial])
    assert judge(full, released, newer) == ()
    assert judge(full, pki.issuing_crl([], 6, this_update=NOW), newer) == ()


def test_an_ended_list_does_not_count_where_a_newer_one_of_another_scope_does(
    pki: LabPki, judge: Judge
) -> None:
    ended = pki.issuing_crl([], 5, this_update=NOW - DAY, next_update=NOW - HOUR)
    newer = pki.issuing_crl([], 6, scope=scope(full_name=HERE))
    assert judge(ended, newer) == ()
    assert judge(ended) is Reason.REVOCATION_UNKNOWN


def test_a_delta_list_that_has_ended_and_has_no_base_of_its_scope_leaves_it_unknown(
    pki: LabPki, judge: Judge
) -> None:
    base = pki.issuing_crl([], 5, scope=scope(full_name=HERE))
    ended = {"this_update": NOW - DAY, "next_update": NOW - HOUR}
    assert judge(base, pki.issuing_crl([], 6, base=5, **ended)) is Reason.REVOCATION_UNKNOWN
    assert judge(base, pki.issuing_crl([], 6, base=5)) == ()


# Lists that begin later


def test_a_list_that_begins_later_does_not_displace_one_of_another_scope(
    pki: LabPki, judge: Judge, serial: int
) -> None:
    users = scope(only_contains_user_certs=True)
    later = pki.issuing_crl([], 9, this_update=NOW + HOUR, scope=users)
    assert judge(pki.issuing_crl([], 5), later) == ()
    assert judge(later) is Reason.REVOCATION_UNKNOWN
    assert judge(pki.issuing_crl([serial], 5), later) is Reason.CERTIFICATE_REVOKED
    elsewhere = pki.issuing_crl([], 5, scope=scope(full_name=ELSEWHERE))
    assert judge(elsewhere, later) is Reason.REVOCATION_UNKNOWN


def test_what_a_list_that_begins_later_revokes_is_revoked_already(
    pki: LabPki, judge: Judge, serial: int
) -> None:
    users = scope(only_contains_user_certs=True)
    later = pki.issuing_crl([serial], 9, this_update=NOW + HOUR, scope=users)
    assert judge(pki.issuing_crl([], 5), later) is Reason.CERTIFICATE_REVOKED


def test_a_list_that_begins_later_takes_nothing_back(
    pki: LabPki, judge: Judge, serial: int
) -> None:
    held = pki.issuing_crl([serial], 5)
    late = {"this_update": NOW + HOUR}
    release = pki.issuing_crl([], 6, base=5, removed=[serial], **late)
    assert judge(held, release) is Reason.CERTIFICATE_REVOKED
    assert judge(held, release, now=NOW + 2 * HOUR) == ()
    # Nor does it replace a delta list of its scope.
    users = scope(only_contains_user_certs=True)
    delta = pki.issuing_crl([serial], 6, base=5, scope=users)
    replacing = pki.issuing_crl([], 7, scope=users, **late)
    good = pki.issuing_crl([], 5)
    assert judge(good, delta, replacing) is Reason.CERTIFICATE_REVOKED
    assert judge(good, delta, replacing, now=NOW + 2 * HOUR) == ()


@pytest.mark.parametrize("order", [1, -1])
def test_a_list_that_begins_later_gives_way_to_one_that_is_valid_in_any_order(
    pki: LabPki, order: int
) -> None:
    trust = Trust((pki.root,), (pki.issuing,), ())
    good = pki.issuing_crl([], 5)
    later = pki.issuing_crl([], 9, this_update=NOW + HOUR)
    renewal = renew(Lists(), trust, [("a.crl", good), ("b.crl", later)][::order], NOW)
    assert held_number(pki, renewal.lists) == 5
    assert renewal.early is True


# Lists of authorities that only clients send


def test_a_list_of_an_authority_that_a_client_sends_never_goes_back_either(
    pki: LabPki, trust: Trust
) -> None:
    branch, of_branch = authority("Lab Branch CA", pki)
    path = [of_branch, branch.certificate, pki.root]
    serial = of_branch.serial_number
    old = branch.crl([], 1, NOW - DAY, NOW + DAY)
    revoking = branch.crl([serial], 2, NOW - HOUR, NOW + DAY)
    first = renew(lists_of(trust, NOW), trust, [("b.crl", old)], NOW)
    assert asked(trust, path, first.lists) == ()
    second = renew(first.lists, trust, [("b.crl", revoking)], NOW)
    assert second.problems == ()
    assert asked(trust, path, second.lists) is Reason.CERTIFICATE_REVOKED
    third = renew(second.lists, trust, [("b.crl", old)], NOW)
    assert asked(trust, path, third.lists) is Reason.CERTIFICATE_REVOKED
    (problem,) = third.problems
    assert problem.startswith("b.crl: ")
    assert "older than the one held" in problem
    # A list that was released on, being newer, counts.
    fourth = renew(third.lists, trust, [("b.crl", branch.crl([], 3, NOW, NOW + DAY))], NOW)
    assert asked(trust, path, fourth.lists) == ()


def test_lists_of_two_authorities_of_one_name_that_clients_send_are_both_held(
    pki: LabPki, trust: Trust
) -> None:
    """As an authority renewed with another key has them: told apart by the key they name."""
    lists = lists_of(trust, NOW)
    paths = []
    for hours in (2, 1):
        branch, of_branch = authority("Lab Branch CA", pki)
        crl = branch.crl([], 1, NOW - hours * HOUR, NOW + DAY)
        renewal = renew(lists, trust, [("b.crl", crl)], NOW)
        assert renewal.problems == ()
        lists = renewal.lists
        paths.append([of_branch, branch.certificate, pki.root])
    assert [asked(trust, path, lists) for path in paths] == [(), ()]


def test_a_list_of_another_authority_that_cannot_be_used_displaces_none(
    pki: LabPki, trust: Trust
) -> None:
    branch, of_branch = authority("Lab Branch CA", pki)
    path = [of_branch, branch.certificate, pki.root]
    good = branch.crl([], 1, NOW - HOUR, NOW + DAY)
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    unusable = branch.crl([], 2, NOW, NOW + DAY, extensions=[(odd, True)])
    early = branch.crl([], 2, NOW + HOUR, NOW + DAY)
    held = renew(lists_of(trust, NOW), trust, [("b.crl", good)], NOW).lists
    for worse, said in ((unusable, "1.2.3.4"), (early, "not valid before")):
        renewal = renew(held, trust, [("b.crl", worse)], NOW)
        (problem,) = renewal.problems
        assert said in problem
        assert asked(trust, path, renewal.lists) == ()
