"""Targets that match no row of the resource table."""

from __future__ import annotations

import re
import string
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.decisions.refusal_response import response_bytes
from ibcm_bridge.decisions.refusals import refusal, requirement
from ibcm_bridge.policy.roles import RoleTable
from ibcm_bridge.request.authorization import Authorized
from tests.request.published_targets import (
    AUT,
    COMPONENT,
    DOC,
    PKG,
    POL,
    REFUSED,
    ROWS,
    SIG,
    Decide,
    Head,
    denied,
    line_for,
    read,
    role_of,
)
from tests.request.refused_targets import TWINS


@pytest.mark.parametrize(("method", "target"), TWINS)
def test_a_target_that_matches_no_row_is_refused(
    table: RoleTable,
    decide_role: Callable[[str], Decide],
    request_head: Head,
    method: str,
    target: str,
) -> None:
    directory = read(target).directory
    decide = decide_role(role_of(table, directory))
    denial = denied(decide(request_head(*line_for(method, target))))
    rule = f"{role_of(table, directory)}.directories.{directory}"
    assert (denial.reason, denial.rule) == (Reason.RESOURCE, rule)
    assert requirement(denial) == "BRIDGE-INSPECT"
    assert refusal(denial).status == 404
    # The response offers no other resource.
    assert b"\r\nAllow:" not in response_bytes(denial, "r")


@pytest.mark.parametrize("target", [f"{PKG}/CAS00015/Datalib", f"{PKG}/x/DataLib/sccm?/x"])
def test_a_content_library_is_refused_at_any_depth(
    decide: Decide, request_head: Head, target: str
) -> None:
    denial = denied(decide(request_head("GET", target)))
    assert (denial.reason, denial.rule) == (Reason.RESOURCE, "roles.never_below")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PROPFIND"])
@pytest.mark.parametrize(
    "target",
    [
        *ROWS["sms_mp", 1][1],
        # A row that refuses also matches variants, so that no other row can match them.
        f"{AUT}/?MPLOCATION",
        f"{AUT}/x?MPLOCATION",
        f"{AUT}?MPKEYINFORMATIONMEDIA=1",
        f"{AUT}?MPKEYINFORMATIONMEDIAX",
        f"{AUT}?&MPKEYINFORMATIONMEDIA",
        f"{AUT}?MPLIST&MPLOCATION&ir=1",
        f"{AUT}?MPLIST;mplocation",
    ],
)
def test_a_request_of_boot_media_is_refused_by_its_requirement(
    decide: Decide, request_head: Head, method: str, target: str
) -> None:
    denial = denied(decide(request_head(*line_for(method, target))))
    assert denial.reason is Reason.RESOURCE
    assert denial.rule == "management-point.directories.sms_mp"
    assert requirement(denial) == "NO-OSD"
    assert b"NO-OSD" in response_bytes(denial, "r")


@pytest.mark.parametrize(
    "target",
    [
        f"{POL}?%257BLAB00001%257D.1_00",  # a second encoding
        f"{AUT}?MPLIST%2526CM1",
        f"{AUT}?MPLIST%00",
        f"{AUT}?MPLIST%0d%0aX:1",
        f"{POL}?../x",
        f"{DOC}?Id&DocumentId=../../x",
        f"{DOC}?Id&DocumentId=C:/x",
        f"{PKG}/CAS00015/sccm?/../x",
        f"{PKG}/CAS00015/sccm?//x",
        f"{PKG}/CAS00015/sccm?%2fsetup.exe",
        f"{PKG}/CAS00015/sccm?/x%3fy",
        f"{PKG}/CAS00015/sccm?/x%252fy",
        f"{PKG}/CAS00015/sccm?/SETUP~2.EXE",
        f"{PKG}/CAS00015/sccm?/con",
        "/selfupdate/wuident;x.cab",
        "/selfupdate/WUCLIE~1.CAB",
        f"/selfupdate/x{COMPONENT}.cab.",
        "/selfupdate/x~y./z.cab",
        f"{PKG}/CAS00015%2fsccm?/x",
        f"{PKG}/CAS00015./sccm?/x",
        f"{PKG}/CAS000~1/sccm?/x",
        f"{SIG}/CAS00015.3.tar::$DATA",
        f"{SIG}/CAS00015.3.tar.",
        "/SMS_MP/.sms_aut%3fMPLIST",
        "/ccm_system//request",
        "/ccm_system/./request",
    ],
)
def test_an_ambiguous_target_is_refused_before_any_row_is_matched(
    decide: Decide, request_head: Head, target: str
) -> None:
    for method in ("GET", "HEAD", "PROPFIND"):
        denial = denied(decide(request_head(*line_for(method, target))))
        assert denial.reason is Reason.TARGET_UNSAFE


ALLOWED = [
    (verb, target)
    for key, (verbs, targets) in ROWS.items()
    for verb in sorted(verbs)
    for target in targets
    if key not in (*REFUSED, ("ccm_incoming", 0)) and len(target) < 2_000
]
SAFE = "".join(sorted({*string.printable} - {*string.whitespace} - {*"%#"}))


@given(example=st.sampled_from(ALLOWED), data=st.data())
def test_the_escapes_of_a_target_never_change_a_verdict(
    table: RoleTable,
    decide_role: Callable[[str], Decide],
    request_head: Head,
    example: tuple[str, str],
    data: st.DataObject,
) -> None:
    method, target = example
    decide = decide_role(role_of(table, read(target).directory))
    chosen = data.draw(st.lists(st.booleans(), min_size=len(target), max_size=len(target)))
    # Separators are not part of a name, and an escape is not escaped again.
    other = re.sub(
        r"%..|[^/?&=]",
        lambda m: f"%{ord(m[0]):02X}" if chosen[m.start()] and len(m[0]) == 1 else m[0],
        target,
    )
    result = decide(request_head(*line_for(method, other)))
    assert isinstance(result, Authorized), (other, result)
    assert result.head.target.raw == other.encode()


@given(
    verb=st.sampled_from(("GET", "HEAD", "PROPFIND", "CCM_POST")),
    directory=st.sampled_from(("/ccm_system", "/SMS_MP", "/CCM_Incoming", PKG, SIG)),
    below=st.text(SAFE, min_size=1, max_size=40),
)
def test_arbitrary_text_below_a_directory_is_never_allowed(
    decide: Decide, request_head: Head, verb: str, directory: str, below: str
) -> None:
    if below.strip("/"):
        denied(decide(request_head(*line_for(verb, f"{directory}/{below}"))))


@given(query=st.text(SAFE, max_size=40))
def test_an_arbitrary_keyword_is_never_allowed(
    decide: Decide, request_head: Head, query: str
) -> None:
    known = re.compile(
        "(MPLIST|MPLIST1|MPLIST2|MPCERT|MPCERT2|SITESIGNCERT|MPKEYINFORMATION|"
        "MPKEYINFORMATIONEX|MPTRK)(&[A-Za-z0-9]{3})?",
        re.IGNORECASE,
    )
    result = decide(request_head("GET", f"{AUT}?{query}"))
    assert isinstance(result, Authorized) == bool(known.fullmatch(query))
