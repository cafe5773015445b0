"""Authorities without a current list are named before a client of them is refused."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from cryptography import x509
from hypothesis import example, given
from hypothesis import strategies as st

from ibcm_bridge.authentication.list_states import ListState, list_states
from ibcm_bridge.authentication.revocation import Lists, judge_revocation, loaded_lists
from ibcm_bridge.authentication.revocation_list import RevocationList, Scope, key_of, read_list
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential, distinguished_name
from ibcm_bridge.policy.trust import Revocation, Trust
from tests.authentication.revocation_lists import DAY, ELSEWHERE, HERE, HOUR, NOW, authority, scope

ROOT, ISSUING = (
    distinguished_name(name).rfc4514_string() for name in ("Lab Root CA", "Lab Issuing CA")
)

PLAIN = Revocation()


def states(
    pki: LabPki,
    *crls: x509.CertificateRevocationList,
    now: datetime = NOW,
    revocation: Revocation = PLAIN,
) -> dict[str, ListState]:
    """The state of each authority, by its name. The root has a current list."""
    root = pki.crls(next_update=NOW + 365 * DAY)[0]
    trust = Trust((pki.root,), (pki.issuing,), (root, *crls), revocation)
    return {state.issuer: state for state in list_states(trust, loaded_lists(trust, NOW), now)}


def problem(state: ListState) -> str:
    (text,) = state.problems()
    return text


def test_an_authority_with_a_current_list_has_no_problem(pki: LabPki) -> None:
    for state in states(pki, pki.issuing_crl([], 1)).values():
        assert state.is_current
        assert list(state.problems()) == []


def test_a_missing_list_is_named_with_its_authority(pki: LabPki) -> None:
    found = states(pki)
    assert found[ROOT].is_current
    assert not found[ISSUING].is_current
    assert problem(found[ISSUING]) == (
        f"no revocation list of {ISSUING}; its certificates are refused"
    )


def test_a_delta_list_alone_counts_as_missing(pki: LabPki) -> None:
    assert states(pki, pki.issuing_crl([], 2, base=1))[ISSUING].missing


def test_an_authority_in_without_crl_has_no_state_without_a_list(pki: LabPki) -> None:
    exempt = Revocation(without_crl={key_of(pki.issuing): "it publishes none"})
    assert states(pki, revocation=exempt).keys() == {ROOT}
    expired = pki.issuing_crl([], 1, next_update=NOW + DAY)
    # Its list is used, so its dates decide.
    found = states(pki, expired, now=NOW + 2 * DAY, revocation=exempt)
    assert not found[ISSUING].is_current


def test_the_list_of_another_authority_with_the_same_name_does_not_count(pki: LabPki) -> None:
    namesake, _ = authority("Lab Issuing CA", pki)
    own = namesake.crl([], 1, NOW - HOUR, NOW + DAY)
    trust = Trust((pki.root,), (pki.issuing, namesake.certificate), (pki.crls()[0], own))
    found = [state.is_current for state in list_states(trust, loaded_lists(trust, NOW), NOW)]
    assert found == [True, False, True]


def test_a_list_that_is_not_valid_yet_is_named(pki: LabPki) -> None:
    # The clock was set back after the list was read.
    state = states(pki, pki.issuing_crl([], 1), now=NOW - 3 * DAY)[ISSUING]
    assert not state.is_current
    text = problem(state)
    assert text.startswith(f"the revocation list of {ISSUING} is not valid before ")
    assert text.endswith("; its certificates are refused; check the clock")


@pytest.mark.parametrize(
    ("after", "grace", "current", "text"),
    [
        (HOUR, 0 * HOUR, False, "expired on 2026-01-02 00:00 UTC; every certificate is refused"),
        (HOUR, 2 * HOUR, True, "accepted in its grace period until 2026-01-02 02:00 UTC"),
        (3 * HOUR, 2 * HOUR, False, "every certificate is refused; renew the CRL"),
    ],
)
@pytest.mark.parametrize("delta", [False, True])
def test_an_expired_list_is_named_and_current_only_in_its_grace_period(
    pki: LabPki, after: timedelta, grace: timedelta, current: bool, text: str, delta: bool
) -> None:
    ending = pki.issuing_crl([], 2, base=1 if delta else None, next_update=NOW + DAY)
    lists = [pki.issuing_crl([], 1, next_update=NOW + 9 * DAY), ending] if delta else [ending]
    state = states(pki, *lists, now=NOW + DAY + after, revocation=Revocation(grace=grace))[ISSUING]
    assert state.is_current is current
    assert text in problem(state)
    assert ("the delta list" in problem(state)) is delta


def test_an_expired_delta_list_is_ignored_if_a_newer_base_list_includes_it(pki: LabPki) -> None:
    delta = pki.issuing_crl([], 2, base=1, next_update=NOW + DAY)
    base = pki.issuing_crl([], 2, next_update=NOW + 9 * DAY)
    assert list(states(pki, base, delta, now=NOW + 2 * DAY)[ISSUING].problems()) == []


@pytest.mark.parametrize(
    ("old", "new", "hidden"),
    [
        ({}, {}, True),
        ({"only_contains_user_certs": True}, {}, True),
        ({}, {"only_contains_user_certs": True}, False),
        ({}, {"only_contains_ca_certs": True}, False),
        ({}, {"full_name": HERE}, False),
        ({"full_name": HERE}, {}, True),
        ({"full_name": HERE}, {"full_name": ELSEWHERE}, False),
        ({"full_name": HERE}, {"full_name": [*HERE, *ELSEWHERE]}, True),
    ],
)
def test_an_expired_list_counts_unless_a_newer_one_covers_the_same_certificates(
    pki: LabPki, old: dict[str, object], new: dict[str, object], hidden: bool
) -> None:
    of_old, of_new = (scope(**point) if point else None for point in (old, new))
    expired = pki.issuing_crl([], 1, next_update=NOW + DAY, scope=of_old)
    newer = pki.issuing_crl([], 2, this_update=NOW, next_update=NOW + 9 * DAY, scope=of_new)
    assert states(pki, expired, newer, now=NOW + 2 * DAY)[ISSUING].is_current is hidden


# Compared with the judgment of a client


POINTS = frozenset(f"UniformResourceIdentifier {name.value}" for name in HERE)
SCOPES = [Scope(), Scope(authorities=False), Scope(points=POINTS)]
"""All cover a computer of the lab."""

OFFSETS = st.sampled_from([-3, -2, -1, 1, 2, 3])


@st.composite
def held_lists(draw: st.DrawFn) -> list[tuple[Scope, int | None, int, int, int]]:
    """The scope, the base number, the number, and the first and last day of each list."""
    rows = st.tuples(
        st.sampled_from(SCOPES),
        st.sampled_from([None, None, 1]),
        st.integers(1, 3),
        OFFSETS,
        OFFSETS,
    )
    return draw(st.lists(rows, max_size=4))


@given(held_lists(), st.sampled_from([0, 2]))
@example([(Scope(), None, 1, -2, -1), (Scope(authorities=False), None, 2, -1, 1)], 0)
@example([(Scope(), None, 1, -2, 2), (Scope(), 1, 2, -2, -1)], 0)
def test_no_client_is_refused_for_its_status_without_a_problem(
    pki: LabPki,
    computer: LabCredential,
    rows: list[tuple[Scope, int | None, int, int, int]],
    grace: int,
) -> None:
    root = read_list(pki.crls(next_update=NOW + 365 * DAY)[0], [pki.root])
    assert isinstance(root, RevocationList)
    lists = [
        RevocationList(
            *(key_of(pki.issuing), ISSUING, scope, number, base),
            *(NOW + begins * DAY, NOW + ends * DAY, frozenset(), frozenset()),
        )
        for scope, base, number, begins, ends in rows
    ]
    held = Lists({listed.key: listed for listed in (root, *lists)})
    trust = Trust((pki.root,), (pki.issuing,), (), Revocation(grace=grace * DAY))
    path = [computer.certificate, pki.issuing, pki.root]
    judged = judge_revocation(trust, held, path, NOW)
    refused = isinstance(judged, Deny) and judged.reason is Reason.REVOCATION_UNKNOWN
    (state,) = (found for found in list_states(trust, held, NOW) if found.issuer == ISSUING)
    if refused:
        assert not state.is_current
    # Without other scopes, a computer stands for all certificates of the authority.
    elif {scope for scope, *_ in rows} <= {Scope()}:
        assert state.is_current
