"""Extensions that a software update point denies: WSUS documentation, appendix D."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.refusals import requirement
from ibcm_bridge.policy.resources import Resource
from ibcm_bridge.policy.roles import RoleAdditions, RoleProfile, RoleTable
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.request.head import RequestHead

DENIED = [
    *(".asp", ".cer", ".cdx", ".asa", ".bat", ".cmd", ".com", ".htw", ".ida", ".idq", ".htr"),
    *(".idc", ".shtm", ".shtml", ".stm", ".printer", ".ini", ".log", ".pol", ".dat"),
]

Decide = Callable[[RequestHead], Authorized | Deny]
Head = Callable[..., RequestHead]
ROLE = "software-update-point"


@pytest.fixture(scope="module")
def decide(table: RoleTable, decide_as: Callable[[RoleProfile], Decide]) -> Decide:
    """`authorize` with a policy that publishes everything below a directory."""
    anything = Resource(re.compile(".*", re.DOTALL), None, frozenset((b"GET",)), "")
    more = RoleAdditions({}, frozenset(), (("selfupdate", anything),), None)
    return decide_as(table.roles[ROLE].with_additions(more))


def test_the_role_denies_the_extensions_in_the_documentation(table: RoleTable) -> None:
    assert table.roles[ROLE].denied_extensions == set(DENIED)
    assert not table.roles[ROLE].dots_in_path
    others = [role for name, role in table.roles.items() if name != ROLE]
    assert all(not role.denied_extensions and role.dots_in_path for role in others)


@pytest.mark.parametrize(
    "path",
    ["wuident.cab", "a/b/x.exe", "x", "x.aspx", "asp/x.cab", "x/", "a/x~31bf~amd64~~7.6.1.cab"],
)
def test_any_other_name_may_be_published(decide: Decide, request_head: Head, path: str) -> None:
    assert isinstance(decide(request_head("GET", f"/SelfUpdate/{path}")), Authorized)


@pytest.mark.parametrize("extension", DENIED)
@pytest.mark.parametrize(
    "path",
    ["x{}", "a/x{}", "x{}/", "x{}/y", "x{}.cab", "x{}/y.cab", "{}", "x~1.2{}.cab", "x~{}.cab"],
)
def test_a_denied_extension_is_refused_whatever_a_policy_adds(
    decide: Decide, request_head: Head, extension: str, path: str
) -> None:
    escaped = f".%{ord(extension[1]):02X}{extension[2:]}"
    for spelt in (extension, extension.upper(), escaped):
        denial = decide(request_head("GET", f"/SelfUpdate/{path.format(spelt)}"))
        assert isinstance(denial, Deny)
        assert (denial.reason, denial.rule) == (Reason.RESOURCE, f"{ROLE}.denied_extensions")
        assert requirement(denial) == "SUP-WSUS"


@pytest.mark.parametrize(
    "path",
    ["a.b/x.cab", "x.1.cab", "a.b/x", "a.b/c/x", "x~1.2.exe", "a.b/x~1.2.cab", "x~1.2.cab/y"],
)
def test_another_dot_is_refused_whatever_a_policy_adds(
    decide: Decide, request_head: Head, path: str
) -> None:
    denial = decide(request_head("GET", f"/SelfUpdate/{path}"))
    assert isinstance(denial, Deny)
    assert (denial.reason, denial.rule) == (Reason.RESOURCE, f"{ROLE}.dots_in_path")
    assert requirement(denial) == "SUP-WSUS"


def test_a_character_beyond_ascii_is_refused(decide: Decide, request_head: Head) -> None:
    denial = decide(request_head("GET", "/SelfUpdate/%E4.cab"))
    assert isinstance(denial, Deny)
    assert denial.reason is Reason.TARGET_UNSAFE


def test_other_roles_accept_any_extension(
    decide_role: Callable[[str], Decide], request_head: Head
) -> None:
    content = "/SMS_DP_SMSPKG$/CAS00015/sccm?/setup.v1.ini"
    assert isinstance(decide_role("distribution-point")(request_head("GET", content)), Authorized)
