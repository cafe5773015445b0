"""The published resources: each row of the table, and the whole table."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.decisions.refusals import requirement
from ibcm_bridge.policy.bodies import Inspection
from ibcm_bridge.policy.roles import RoleTable
from ibcm_bridge.policy_file.patterns import ambiguities
from ibcm_bridge.request.authorization import Authorized
from tests.request.published_targets import (
    ALL_VERBS,
    DCM,
    GUID,
    REFUSED,
    ROWS,
    Decide,
    Head,
    denied,
    line_for,
    read,
    role_of,
    rows_of,
)

# Each row


def test_each_row_has_examples_and_its_verbs(table: RoleTable) -> None:
    there = {(name, number): row.methods for _, name, number, row in rows_of(table)}
    meant = {key: {verb.encode() for verb in verbs} for key, (verbs, _) in ROWS.items()}
    assert there == meant


@pytest.mark.parametrize(
    ("key", "target"), [(key, target) for key, (_, targets) in ROWS.items() for target in targets]
)
def test_a_target_matches_one_row(
    table: RoleTable,
    decide_role: Callable[[str], Decide],
    request_head: Head,
    key: tuple[str, int],
    target: str,
) -> None:
    directory, number = key
    role = role_of(table, directory)
    decide = decide_role(role)
    parsed = read(target)
    query = parsed.query_text
    rows = table.roles[role].directories[directory].resources
    matching = [row for row in rows if row.matches(parsed.below, query)]
    # An empty message can be requested with both verbs, and matches the row of each.
    assert rows[number] in matching
    assert len(matching) == len({frozenset(row.methods) for row in matching})

    rule = f"{role}.directories.{directory}"
    for verb in ALL_VERBS:
        result = decide(request_head(*line_for(verb, target)))
        if verb.encode() not in table.roles[role].bodies:
            assert (denied(result).reason, denied(result).rule) == (Reason.VERB, f"{role}.verbs")
        elif rows[number].refused:
            denial = denied(result)
            assert (denial.reason, denial.rule) == (Reason.RESOURCE, rule)
            assert requirement(denial) == REFUSED[key]
            assert denial.allowed_methods == ()
        elif verb not in ROWS[key][0]:
            denial = denied(result)
            assert (denial.reason, denial.rule) == (Reason.VERB, rule)
            assert denial.allowed_methods == tuple(sorted(ROWS[key][0]))
        elif verb == "BITS_POST":
            assert denied(result).reason in (Reason.UPLOAD_PACKET, Reason.LENGTH_REQUIRED)
        else:
            assert isinstance(result, Authorized), result
            assert result.rule == f"{role}.verbs.{verb}"
            # The target is forwarded as sent; only the checks decode it.
            assert result.head.target.raw == target.encode()


# The table as a whole


def test_no_row_matches_a_listing_or_a_bypass_directory(table: RoleTable) -> None:
    # The client chooses the name of an upload, and an upload lists nothing.
    seen = 0
    names = [*table.never.below, "SCCMContentLib", *table.never.directories, "SMS_MP_WindowsAuth"]
    for role, _, _, row in rows_of(table):
        if row.refused or role == "application-catalog-website-point":
            continue  # its paths are unknown, so it accepts any
        bodies = {table.roles[role].bodies[method].inspection for method in row.methods}
        if bodies == {Inspection.BITS_UPLOAD}:
            continue
        seen += 1
        for name in names:
            for spelling in (name, name.lower(), name.upper()):
                for around in ("{}", "{}/", "{}/x", "x/{}", "CAS00015/{}", "{}/sccm", "{}.tar"):
                    assert not row.path.fullmatch(around.format(spelling))
    # All rows except uploads, refused rows, and the two of the catalog.
    assert seen == len(ROWS) - 1 - len(REFUSED) - 2


def test_only_listed_rows_match_a_bare_directory(table: RoleTable) -> None:
    bare = {
        name: row.methods
        for _, name, _, row in rows_of(table)
        if row.path.fullmatch("") and not row.refused
    }
    assert bare == {
        "sms_mp": frozenset({b"PROPFIND"}),
        "cmapplicationcatalog": frozenset({b"GET", b"POST"}),
    }


def test_a_row_matches_a_complete_path_and_query(table: RoleTable) -> None:
    for key, (_, targets) in ROWS.items():
        directory, number = key
        if key in REFUSED or directory == "cmapplicationcatalog":
            continue  # which are about more than the letter, or nearly anything
        row = table.roles[role_of(table, directory)].directories[directory].resources[number]
        for target in targets:
            parsed = read(target)
            query = parsed.query_text
            assert row.matches(parsed.below, query)
            assert not row.matches(f"/{parsed.below}", query)
            if directory != "ccm_incoming":  # where a name may be any, and a control is unsafe
                assert not row.matches(f"{parsed.below}\n", query)
                assert not row.matches(f"\n{parsed.below}", query)
            if query is None:
                assert not row.matches(parsed.below, "")
                assert not row.matches(parsed.below, "x")
            else:
                assert not row.matches(parsed.below, None)
                assert not row.matches(parsed.below, "")
                if key != ("certsrv", 1):  # where a message in base64 may end in one
                    assert not row.matches(parsed.below, f"{query}\n")
                assert not row.matches(parsed.below, f"\n{query}")


def test_a_letter_beyond_ascii_is_not_a_case_variant_of_an_ascii_letter(table: RoleTable) -> None:
    # U+212A KELVIN SIGN and U+017F LONG S are case variants for `re` without re.ASCII.
    for _, _, _, row in rows_of(table):
        for pattern in filter(None, (row.path, row.query)):
            assert pattern.flags & re.ASCII
            assert pattern.flags & re.IGNORECASE
    assert not any(
        row.matches(".\u017fms_aut", "MPLIST") or row.matches(".sms_aut", "MPTR\u212a")
        for role, _, _, row in rows_of(table)
        if not row.refused and role != "application-catalog-website-point"
    )


def test_no_pattern_of_the_table_is_slow(table: RoleTable) -> None:
    patterns = {
        pattern.pattern
        for _, _, _, row in rows_of(table)
        for pattern in (row.path, row.query)
        if pattern is not None
    }
    # A pattern may match any text, but in one way only.
    assert {text: ambiguities(text).slow for text in patterns} == {text: [] for text in patterns}


@pytest.mark.parametrize(
    "text",
    [
        "A" * 65_536,
        "0" * 65_536,
        "x/" * 32_768,
        "/" + "x" * 65_535,
        "." * 65_536,
        "CAS00015" + ".1" * 32_764,
        f"Content_{GUID}" + ".1" * 32_746,
        "MPLIST" + "&CM1" * 16_382,
        "Id&DocumentId=" + "x" * 65_522,
        DCM + "&A=b" * 16_368,
        DCM + "&" * 65_472,
        "{" * 65_536,
    ],
)
def test_no_row_matches_a_very_long_text(table: RoleTable, text: str) -> None:
    for _, _, _, row in rows_of(table):
        if row.refused:
            continue
        assert not row.matches(text, None)
        for path in (".sms_aut", ".sms_pol", ".sms_dcm", "CAS00015/sccm", "request", text):
            assert not row.matches(path, text)
