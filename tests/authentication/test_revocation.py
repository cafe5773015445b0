"""Revocation: the content of a list, its validity and its scope."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509

from ibcm_bridge.authentication.revocation import judge_revocation, loaded_lists
from ibcm_bridge.authentication.revocation_list import RevocationList, key_of, read_list
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.policy.trust import Revocation, Trust
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

# One list


def test_a_certificate_on_the_list_is_revoked_and_another_is_not(
    pki: LabPki, judge: Judge, serial: int
) -> None:
    assert judge(pki.issuing_crl([serial], 1)) is Reason.CERTIFICATE_REVOKED
    assert judge(pki.issuing_crl([serial + 1], 1)) == ()


def test_a_certificate_whose_authority_is_revoked_is_refused(
    pki: LabPki, computer: LabCredential
) -> None:
    root_crl = pki._root.crl([pki.issuing.serial_number], 1, NOW - HOUR, NOW + DAY)
    trust = Trust((pki.root,), (pki.issuing,), (root_crl, pki.issuing_crl([], 1)))
    path = [computer.certificate, pki.issuing, pki.root]
    verdict = judge_revocation(trust, loaded_lists(trust, NOW), path, NOW)
    assert isinstance(verdict, Deny)
    assert (verdict.reason, verdict.detail) == (
        Reason.CERTIFICATE_REVOKED,
        "certificate revoked (depth 1)",
    )


def test_the_status_is_unknown_without_a_list(judge: Judge) -> None:
    assert judge() is Reason.REVOCATION_UNKNOWN


def test_an_authority_in_without_crl_needs_no_list_and_the_audit_notes_it(
    pki: LabPki, judge: Judge
) -> None:
    named = {key_of(pki.issuing): "it has never published one"}
    (note,) = judge(without_crl=named)  # type: ignore[misc]
    assert "no revocation list of CN=Lab Issuing CA" in note
    assert judge(without_crl={key_of(pki.root): "another one"}) is Reason.REVOCATION_UNKNOWN


def test_the_list_of_an_authority_in_without_crl_is_used(
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
def test_an_expired_list_is_used_in_its_grace_period(
    pki: LabPki, judge: Judge, after: timedelta, grace: timedelta, expected: object
) -> None:
    crl = pki.issuing_crl([], 1, next_update=NOW + DAY)
    verdict = judge(crl, now=NOW + DAY + after, grace=grace)
    if expected == "in its grace":
        (note,) = verdict  # type: ignore[misc]
        assert expected in note
    else:
        assert verdict == expected


def test_a_list_in_its_grace_period_still_revokes(pki: LabPki, judge: Judge, serial: int) -> None:
    crl = pki.issuing_crl([serial], 1, next_update=NOW + DAY)
    assert judge(crl, now=NOW + DAY + HOUR, grace=DAY) is Reason.CERTIFICATE_REVOKED


def test_a_list_that_is_not_valid_yet_is_not_used(pki: LabPki, judge: Judge) -> None:
    crl = pki.issuing_crl([], 1, this_update=NOW + HOUR)
    assert judge(crl) is Reason.REVOCATION_UNKNOWN
    assert judge(crl, now=NOW + 2 * HOUR) == ()


# Delta lists (RFC 5280 §5.2.4)


def test_a_delta_list_adds_revocations_to_the_base_list(
    pki: LabPki, judge: Judge, serial: int
) -> None:
    base = pki.issuing_crl([], 10)
    assert judge(base, pki.issuing_crl([serial], 11, base=10)) is Reason.CERTIFICATE_REVOKED
    assert judge(base, pki.issuing_crl([serial + 1], 11, base=10)) == ()


def test_a_delta_list_removes_a_hold(pki: LabPki, judge: Judge, serial: int) -> None:
    base = pki.issuing_crl([serial], 10)
    assert judge(base, pki.issuing_crl([], 11, base=10, removed=[serial])) == ()
    assert judge(base, pki.issuing_crl([], 11, base=10)) is Reason.CERTIFICATE_REVOKED


def test_a_delta_list_for_a_later_base_can_add_but_not_remove_revocations(
    pki: LabPki, judge: Judge, serial: int
) -> None:
    held = pki.issuing_crl([serial], 10)
    late = pki.issuing_crl([], 13, base=12, removed=[serial])
    assert judge(held, late) is Reason.CERTIFICATE_REVOKED
    assert (
        judge(pki.issuing_crl([], 10), pki.issuing_crl([serial], 13, base=12))
        is Reason.CERTIFICATE_REVOKED
    )


def test_a_newer_base_list_replaces_the_delta_list(pki: LabPki, judge: Judge, serial: int) -> None:
    delta = pki.issuing_crl([serial], 11, base=10)
    assert judge(pki.issuing_crl([], 11), delta) == ()
    assert judge(pki.issuing_crl([], 10), delta) is Reason.CERTIFICATE_REVOKED


def test_the_status_is_unknown_after_an_expired_delta_list_unless_in_its_grace_period(
    pki: LabPki, judge: Judge
) -> None:
    base = pki.issuing_crl([], 10, next_update=NOW + 9 * DAY)
    delta = pki.issuing_crl([], 11, base=10, next_update=NOW + DAY)
    assert judge(base, delta, now=NOW + DAY + HOUR) is Reason.REVOCATION_UNKNOWN
    assert "the delta list" in str(judge(base, delta, now=NOW + DAY + HOUR, grace=DAY))
    assert judge(pki.issuing_crl([], 12), delta, now=NOW + DAY + HOUR) == ()


def test_the_status_is_unknown_with_a_delta_list_alone(pki: LabPki, judge: Judge) -> None:
    assert judge(pki.issuing_crl([], 11, base=10)) is Reason.REVOCATION_UNKNOWN


# The scope of a list (RFC 5280 §5.2.5)


@pytest.mark.parametrize(
    ("point", "expected"),
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
def test_a_list_applies_to_the_certificates_in_its_scope(
    pki: LabPki, judge: Judge, point: dict[str, object], expected: object
) -> None:
    assert judge(pki.issuing_crl([], 1, scope=scope(**point))) == expected


# Usable lists


def test_a_list_of_an_unconfigured_signer_is_not_used(pki: LabPki) -> None:
    forged = LabPki.make(now=NOW).issuing_crl([], 99)
    assert "not signed by a configured CA" in str(read_list(forged, [pki.root, pki.issuing]))
    assert isinstance(read_list(pki.issuing_crl([], 99), [pki.issuing]), RevocationList)


def test_a_list_whose_signer_may_not_sign_lists_is_not_used(
    pki: LabPki, computer: LabCredential
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


def test_a_list_with_an_unknown_critical_extension_is_not_used(pki: LabPki) -> None:
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    period = (NOW - HOUR, NOW + DAY)
    for critical in (True, False):
        crl = pki._issuing.crl([], 1, *period, extensions=[(odd, critical)])
        assert isinstance(read_list(crl, [pki.issuing]), str if critical else RevocationList)


# The authority of a list: its name and its key


def test_a_list_applies_to_its_authority_only_even_if_another_has_the_same_key(
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
        assert judged(trust, path) == expected


def test_without_crl_matches_an_authority_by_name_and_key(pki: LabPki) -> None:
    namesake, of_namesake = authority("Lab Issuing CA", pki)
    assert namesake.certificate.subject == pki.issuing.subject
    named = Revocation(without_crl={key_of(pki.issuing): "it has never published one"})
    trust = Trust((pki.root,), (pki.issuing,), (pki.crls()[0],), named)
    assert judged(trust, [of_namesake, namesake.certificate, pki.root]) is Reason.REVOCATION_UNKNOWN
    computer = pki.computer("pc1.corp.example").certificate
    (note,) = judged(trust, [computer, pki.issuing, pki.root])  # type: ignore[misc]
    assert "without_crl" in note
