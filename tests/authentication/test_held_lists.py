"""Several lists of one authority: the list that is used, and the list that replaces another."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import AuthorityKeyIdentifier

from ibcm_bridge.authentication.revocation import Lists, judge_revocation, loaded_lists, renew
from ibcm_bridge.authentication.revocation_list import RevocationList, read_list
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential, PrivateKey
from ibcm_bridge.policy.trust import Trust
from tests.authentication.revocation_lists import (
    DAY,
    ELSEWHERE,
    HERE,
    HOUR,
    NOW,
    Judge,
    authority,
    judged,
    scope,
)

# Renewal


@pytest.fixture
def trust(pki: LabPki) -> Trust:
    crls = (pki.crls()[0], pki.issuing_crl([], 5, this_update=NOW - HOUR))
    return Trust((pki.root,), (pki.issuing,), crls)


def held_number(pki: LabPki, lists: Lists) -> int | None:
    found = lists.covering(pki.issuing, pki.computer("pc9.corp.example").certificate)
    return next((held.number for held in found if held.base_number is None), None)


def test_a_newer_list_replaces_the_current_one(pki: LabPki, trust: Trust) -> None:
    newer = pki.issuing_crl([1], 6, this_update=NOW)
    renewal = renew(loaded_lists(trust, NOW), trust, [("a.crl", newer)], NOW)
    assert held_number(pki, renewal.lists) == 6
    assert (len(renewal.renewed), renewal.problems) == (1, ())


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda pki: pki.issuing_crl([], 4, this_update=NOW - DAY), "older than the current one"),
        (lambda pki: pki.issuing_crl([], 6, this_update=NOW + HOUR), "not valid before"),
        (lambda _: LabPki.make(now=NOW).issuing_crl([], 6, this_update=NOW), "not signed"),
    ],
)
def test_a_list_that_is_older_early_or_forged_does_not_replace_the_current_one(
    pki: LabPki, trust: Trust, make: Callable[[LabPki], object], problem: str
) -> None:
    renewal = renew(loaded_lists(trust, NOW), trust, [("a.crl", make(pki))], NOW)  # type: ignore[list-item]
    assert held_number(pki, renewal.lists) == 5
    assert renewal.renewed == ()
    (text,) = renewal.problems
    assert text.startswith("a.crl: ")
    assert problem in text
    assert renewal.early is ("before" in problem)


@pytest.mark.parametrize("order", [1, -1])
def test_an_older_list_beside_the_current_one_is_normal(
    pki: LabPki, trust: Trust, order: int
) -> None:
    """A CA can publish each list as another file of a folder."""
    old = pki.issuing_crl([], 4, this_update=NOW - DAY)
    newer = pki.issuing_crl([1], 6, this_update=NOW)
    files = [("a.crl", old), ("b.crl", newer)][::order]
    for lists in (loaded_lists(trust, NOW), renew(Lists(), trust, files, NOW).lists):
        renewal = renew(lists, trust, files, NOW)
        assert (held_number(pki, renewal.lists), renewal.problems) == (6, ())
    # Without the current one, a restart would use the older one.
    (problem,) = renew(renewal.lists, trust, files[:1] if order > 0 else files[1:], NOW).problems
    assert "a.crl: " in problem


def test_the_same_list_again_changes_nothing(pki: LabPki, trust: Trust) -> None:
    again = [("a.crl", crl) for crl in trust.crls]
    renewal = renew(loaded_lists(trust, NOW), trust, again, NOW)
    assert (renewal.renewed, renewal.problems) == ((), ())


# Lists with the same number and date


@pytest.mark.parametrize("order", [*itertools.permutations(range(3))])
def test_of_lists_with_the_same_number_and_date_all_revocations_count(
    pki: LabPki, order: tuple[int, ...]
) -> None:
    made = [pki.issuing_crl(serials, 5, this_update=NOW) for serials in ([], [1], [1, 2])]
    trust = Trust((pki.root,), (pki.issuing,), tuple(made[index] for index in order))
    assert revoked(loaded_lists(trust, NOW)) == {1, 2}
    assert revoked(one_by_one(trust)) == {1, 2}


@pytest.mark.parametrize("order", [1, -1])
def test_two_lists_of_the_same_number_and_date_may_revoke_different_certificates(
    pki: LabPki, order: int
) -> None:
    made = [pki.issuing_crl([serial], 5, this_update=NOW) for serial in (1, 2)]
    trust = Trust((pki.root,), (pki.issuing,), tuple(made[::order]))
    assert revoked(one_by_one(trust)) == {1, 2}
    newer = pki.issuing_crl([2], 6, this_update=NOW + HOUR)
    renewal = renew(one_by_one(trust), trust, [("a.crl", newer)], NOW + HOUR)
    assert revoked(renewal.lists) == {2}, "a newer list can still release a certificate"


def test_of_delta_lists_with_the_same_number_and_date_a_removal_needs_both(
    pki: LabPki, judge: Judge, serial: int
) -> None:
    base = pki.issuing_crl([serial], 5, this_update=NOW - HOUR)
    releases = pki.issuing_crl([], 6, base=5, removed=[serial])
    keeps = pki.issuing_crl([], 6, base=5)
    assert judge(base, releases) == ()
    for order in ((releases, keeps), (keeps, releases)):
        assert judge(base, *order) is Reason.CERTIFICATE_REVOKED


def test_a_list_that_is_not_valid_yet_gets_the_revocations_of_its_twin(
    pki: LabPki, judge: Judge, serial: int
) -> None:
    users = scope(only_contains_user_certs=True)
    early = {"this_update": NOW + HOUR, "scope": users}
    made = [pki.issuing_crl(serials, 9, **early) for serials in ([], [serial])]
    assert judge(pki.issuing_crl([], 5), *made) is Reason.CERTIFICATE_REVOKED
    assert judge(pki.issuing_crl([], 5), made[0]) == ()


def test_a_list_that_lacks_revocations_of_the_current_one_is_reported(pki: LabPki) -> None:
    more, less = (pki.issuing_crl(serials, 5, this_update=NOW) for serials in ([1], []))
    trust = Trust((pki.root,), (pki.issuing,), (more,))
    renewal = renew(loaded_lists(trust, NOW), trust, [("a.crl", less)], NOW)
    assert (revoked(renewal.lists), renewal.renewed) == ({1}, ())
    (problem,) = renewal.problems
    assert "has the date and number of the current one, and lacks revocations of it" in problem
    added = renew(one_by_one(Trust((pki.root,), (pki.issuing,), (less,))), trust, [("", more)], NOW)
    assert (revoked(added.lists), added.problems) == ({1}, ())
    assert len(added.renewed) == 1


def test_an_unverified_list_adds_no_revocation_to_another_one(pki: LabPki, trust: Trust) -> None:
    """The authority is known only when a client sends it, and so is the signature."""
    branch, of_branch = authority("Lab Branch CA", pki)
    path = [of_branch, branch.certificate, pki.root]
    serial = of_branch.serial_number
    key = AuthorityKeyIdentifier.from_issuer_public_key(branch.certificate.public_key())
    forger = LabPki.make(now=NOW)._issuing
    forged = signed_list(forger.key, branch.certificate.subject, key, [serial])
    good = signed_list(branch.key, branch.certificate.subject, key, [serial + 1])
    lists = renew(loaded_lists(trust, NOW), trust, [("f.crl", good), ("g.crl", forged)], NOW).lists
    assert judged(trust, path, lists) == ()
    revoking = signed_list(branch.key, branch.certificate.subject, key, [serial, serial + 1])
    lists = renew(lists, trust, [("g.crl", revoking)], NOW).lists
    assert judged(trust, path, lists) is Reason.CERTIFICATE_REVOKED


def one_by_one(trust: Trust) -> Lists:
    """The lists of a trust, each added by a renewal of its own."""
    lists = Lists()
    for crl in trust.crls:
        lists = renew(lists, trust, [("a.crl", crl)], NOW).lists
    return lists


def revoked(lists: Lists) -> frozenset[int]:
    (held,) = lists.held.values()
    return held.revoked


def signed_list(
    key: PrivateKey, issuer: x509.Name, identifier: AuthorityKeyIdentifier, serials: list[int]
) -> x509.CertificateRevocationList:
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer)
    builder = builder.last_update(NOW).next_update(NOW + DAY)
    builder = builder.add_extension(x509.CRLNumber(5), False).add_extension(identifier, False)
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(key, SHA256())  # type: ignore[arg-type]


# Lists of authorities that a client sends


def test_a_list_of_an_authority_that_a_client_sends_applies_to_that_authority_only(
    pki: LabPki, trust: Trust, computer: LabCredential
) -> None:
    credential, crl = pki.branch("pc7.branch.example")
    renewal = renew(loaded_lists(trust, NOW), trust, [("b.crl", crl)], NOW)
    path = [credential.certificate, *credential.issuers, pki.root]
    assert judge_revocation(trust, renewal.lists, path, NOW) == ()
    verdict = judge_revocation(trust, loaded_lists(trust, NOW), path, NOW)
    assert isinstance(verdict, Deny)
    assert verdict.reason is Reason.REVOCATION_UNKNOWN
    # A list of an authority with the same name and another key does not apply.
    _, other = LabPki.make(now=NOW).branch("pc7.branch.example")
    forged = renew(loaded_lists(trust, NOW), trust, [("b.crl", other)], NOW)
    verdict = judge_revocation(trust, forged.lists, path, NOW)
    assert isinstance(verdict, Deny)
    assert verdict.reason is Reason.REVOCATION_UNKNOWN


@pytest.mark.needs("openssl")
@pytest.mark.parametrize(("digest", "usable"), [("sha1", False), ("sha256", True)])
def test_a_list_with_a_weak_signature_is_not_used(
    pki: LabPki, tmp_path: Path, digest: str, usable: bool
) -> None:
    """The same as for certificates. Only the openssl command still makes such a list."""
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


# Several scopes of one authority


COVERED = {
    "a point": (
        {"full_name": [x509.UniformResourceIdentifier("http://other.internet.example/x.crl")]},
        "certificates that name the distribution point http://other.internet.example/x.crl",
    ),
    "authorities": ({"only_contains_ca_certs": True}, "CA certificates"),
}


@pytest.mark.parametrize(("point", "covered"), COVERED.values(), ids=COVERED)
def test_the_detail_has_the_scopes_of_the_lists_if_none_covers_a_certificate(
    pki: LabPki, computer: LabCredential, point: dict[str, object], covered: str
) -> None:
    other = pki.issuing_crl([], 1, scope=scope(**point))
    name = pki.issuing.subject.rfc4514_string()
    for crls, detail in (
        ((other,), f"no revocation list of {name} covers it; its lists cover only "),
        ((), f"no revocation list of {name} (depth 0)"),
    ):
        trust = Trust((pki.root,), (pki.issuing,), crls)
        path = [computer.certificate, pki.issuing, pki.root]
        verdict = judge_revocation(trust, loaded_lists(trust, NOW), path, NOW)
        assert isinstance(verdict, Deny)
        assert verdict.reason is Reason.REVOCATION_UNKNOWN
        assert verdict.detail == (f"{detail}{covered} (depth 0)" if crls else detail)
    both = (other, pki.issuing_crl([], 2))
    trust = Trust((pki.root,), (pki.issuing,), (*both, *pki.crls()))
    assert judge_revocation(trust, loaded_lists(trust, NOW), path, NOW) == ()


def test_a_delta_list_of_another_scope_can_add_but_not_remove_revocations(
    pki: LabPki, judge: Judge, serial: int
) -> None:
    here, full = scope(full_name=HERE), pki.issuing_crl([serial], 5)
    other = pki.issuing_crl([], 6, base=3, removed=[serial], scope=here)
    assert judge(full, other) is Reason.CERTIFICATE_REVOKED
    assert judge(full, pki.issuing_crl([], 6, base=3, removed=[serial])) == ()
    adding = pki.issuing_crl([serial], 6, base=3, scope=here)
    assert judge(pki.issuing_crl([], 5), adding) is Reason.CERTIFICATE_REVOKED
    # Each scope has its own numbering (RFC 5280 §5.2.3): 9 of one is not later than 6 of another.
    assert judge(pki.issuing_crl([], 9), adding) is Reason.CERTIFICATE_REVOKED


def test_a_newer_list_of_another_scope_does_not_hide_a_revocation(
    pki: LabPki, judge: Judge, serial: int
) -> None:
    full = pki.issuing_crl([serial], 5, this_update=NOW - HOUR)
    newer = pki.issuing_crl([], 6, this_update=NOW, scope=scope(full_name=HERE))
    assert judge(full, newer) is Reason.CERTIFICATE_REVOKED
    assert judge(pki.issuing_crl([serial + 1], 5), newer) == ()
    elsewhere = pki.issuing_crl([serial], 5, scope=scope(full_name=ELSEWHERE))
    assert judge(elsewhere, newer) == ()
    # Within its own scope, a delta list or the next list can remove the revocation.
    released = pki.issuing_crl([], 6, base=5, removed=[serial])
    assert judge(full, released, newer) == ()
    assert judge(full, pki.issuing_crl([], 6, this_update=NOW), newer) == ()


def test_an_expired_list_is_ignored_if_a_newer_list_of_another_scope_covers_the_certificate(
    pki: LabPki, judge: Judge
) -> None:
    ended = pki.issuing_crl([], 5, this_update=NOW - DAY, next_update=NOW - HOUR)
    newer = pki.issuing_crl([], 6, scope=scope(full_name=HERE))
    assert judge(ended, newer) == ()
    assert judge(ended) is Reason.REVOCATION_UNKNOWN


def test_the_status_is_unknown_after_an_expired_delta_list_without_a_base_of_its_scope(
    pki: LabPki, judge: Judge
) -> None:
    base = pki.issuing_crl([], 5, scope=scope(full_name=HERE))
    ended = {"this_update": NOW - DAY, "next_update": NOW - HOUR}
    assert judge(base, pki.issuing_crl([], 6, base=5, **ended)) is Reason.REVOCATION_UNKNOWN
    assert judge(base, pki.issuing_crl([], 6, base=5)) == ()


# Lists that are not valid yet


def test_a_list_that_is_not_valid_yet_does_not_replace_one_of_another_scope(
    pki: LabPki, judge: Judge, serial: int
) -> None:
    users = scope(only_contains_user_certs=True)
    later = pki.issuing_crl([], 9, this_update=NOW + HOUR, scope=users)
    assert judge(pki.issuing_crl([], 5), later) == ()
    assert judge(later) is Reason.REVOCATION_UNKNOWN
    assert judge(pki.issuing_crl([serial], 5), later) is Reason.CERTIFICATE_REVOKED
    elsewhere = pki.issuing_crl([], 5, scope=scope(full_name=ELSEWHERE))
    assert judge(elsewhere, later) is Reason.REVOCATION_UNKNOWN


def test_a_list_that_is_not_valid_yet_already_revokes(
    pki: LabPki, judge: Judge, serial: int
) -> None:
    users = scope(only_contains_user_certs=True)
    later = pki.issuing_crl([serial], 9, this_update=NOW + HOUR, scope=users)
    assert judge(pki.issuing_crl([], 5), later) is Reason.CERTIFICATE_REVOKED


def test_a_list_that_is_not_valid_yet_removes_no_revocation(
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
def test_a_valid_list_replaces_one_that_is_not_valid_yet_in_any_order(
    pki: LabPki, order: int
) -> None:
    trust = Trust((pki.root,), (pki.issuing,), ())
    good = pki.issuing_crl([], 5)
    later = pki.issuing_crl([], 9, this_update=NOW + HOUR)
    renewal = renew(Lists(), trust, [("a.crl", good), ("b.crl", later)][::order], NOW)
    assert held_number(pki, renewal.lists) == 5
    assert renewal.early is True


# Lists of authorities that only clients send


def test_an_older_list_of_an_authority_that_a_client_sends_does_not_replace_a_newer_one(
    pki: LabPki, trust: Trust
) -> None:
    branch, of_branch = authority("Lab Branch CA", pki)
    path = [of_branch, branch.certificate, pki.root]
    serial = of_branch.serial_number
    old = branch.crl([], 1, NOW - DAY, NOW + DAY)
    revoking = branch.crl([serial], 2, NOW - HOUR, NOW + DAY)
    first = renew(loaded_lists(trust, NOW), trust, [("b.crl", old)], NOW)
    assert judged(trust, path, first.lists) == ()
    second = renew(first.lists, trust, [("b.crl", revoking)], NOW)
    assert second.problems == ()
    assert judged(trust, path, second.lists) is Reason.CERTIFICATE_REVOKED
    third = renew(second.lists, trust, [("b.crl", old)], NOW)
    assert judged(trust, path, third.lists) is Reason.CERTIFICATE_REVOKED
    (problem,) = third.problems
    assert problem.startswith("b.crl: ")
    assert "older than the current one" in problem
    # A newer list can remove the revocation.
    fourth = renew(third.lists, trust, [("b.crl", branch.crl([], 3, NOW, NOW + DAY))], NOW)
    assert judged(trust, path, fourth.lists) == ()


def test_lists_of_two_authorities_with_one_name_that_clients_send_are_both_stored(
    pki: LabPki, trust: Trust
) -> None:
    """As after a renewal with another key: the key identifiers differ."""
    lists = loaded_lists(trust, NOW)
    paths = []
    for hours in (2, 1):
        branch, of_branch = authority("Lab Branch CA", pki)
        crl = branch.crl([], 1, NOW - hours * HOUR, NOW + DAY)
        renewal = renew(lists, trust, [("b.crl", crl)], NOW)
        assert renewal.problems == ()
        lists = renewal.lists
        paths.append([of_branch, branch.certificate, pki.root])
    assert [judged(trust, path, lists) for path in paths] == [(), ()]


def test_an_unusable_list_of_another_authority_replaces_no_list(pki: LabPki, trust: Trust) -> None:
    branch, of_branch = authority("Lab Branch CA", pki)
    path = [of_branch, branch.certificate, pki.root]
    good = branch.crl([], 1, NOW - HOUR, NOW + DAY)
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    unusable = branch.crl([], 2, NOW, NOW + DAY, extensions=[(odd, True)])
    early = branch.crl([], 2, NOW + HOUR, NOW + DAY)
    held = renew(loaded_lists(trust, NOW), trust, [("b.crl", good)], NOW).lists
    for worse, text in ((unusable, "1.2.3.4"), (early, "not valid before")):
        renewal = renew(held, trust, [("b.crl", worse)], NOW)
        (problem,) = renewal.problems
        assert text in problem
        assert judged(trust, path, renewal.lists) == ()
