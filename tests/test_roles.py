"""The shipped role table against the page it restates, and what a broken table does."""

from __future__ import annotations

import copy
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest

from ibcm_bridge.role_table import read_role_table
from ibcm_bridge.roles import CertificatePolicy, Inspection, RoleTable
from ibcm_bridge.yaml_tree import read_yaml

BODIES = {
    "HEAD": Inspection.NO_BODY,
    "GET": Inspection.NO_BODY,
    "PROPFIND": Inspection.XML,
    "CCM_POST": Inspection.CCM_MESSAGE,
    "BITS_POST": Inspection.NOT_INSPECTABLE,
}


@pytest.fixture
def data() -> dict[str, Any]:
    text = files("ibcm_bridge.config").joinpath("roles.yaml").read_text("utf-8")
    tree = read_yaml(text)
    assert not tree.problems
    assert isinstance(tree.value, dict)
    return copy.deepcopy(tree.value)


def test_only_roles_that_can_be_enforced_are_there(table: RoleTable) -> None:
    assert set(table.roles) == {"management-point", "distribution-point"}
    assert {role.certificate for role in table.roles.values()} == {CertificatePolicy.COMPUTER}


@pytest.mark.parametrize(
    ("role", "verbs", "requirement"),
    [
        ("management-point", {"HEAD", "CCM_POST", "BITS_POST", "GET", "PROPFIND"}, "VERB-MP"),
        ("distribution-point", {"HEAD", "GET", "PROPFIND"}, "VERB-DP"),
    ],
)
def test_the_verbs_are_those_of_the_page(
    table: RoleTable, role: str, verbs: set[str], requirement: str
) -> None:
    profile = table.roles[role]
    assert set(profile.bodies) == {verb.encode() for verb in verbs}
    assert profile.verbs_requirement == requirement
    for verb, rule in profile.bodies.items():
        assert rule.inspection is BODIES[verb.decode()]


@pytest.mark.parametrize(
    ("role", "listed", "requirement"),
    [
        (
            "management-point",
            [
                "Range",
                "CCMClientID",
                "CCMClientIDSignature",
                "CCMClientTimestamp",
                "CCMClientTimestampsSignature",
            ],
            "HEADER-MP",
        ),
        ("distribution-point", ["Range"], "HEADER-DP"),
    ],
)
def test_the_microsoft_headers_are_those_of_the_page(
    data: dict[str, Any], table: RoleTable, role: str, listed: list[str], requirement: str
) -> None:
    assert data["roles"][role]["headers"]["microsoft"] == listed
    assert {name.lower().encode() for name in listed} <= table.roles[role].headers
    assert table.roles[role].headers_requirement == requirement


def test_the_spelling_that_clients_send_is_listed_beside_the_slip_of_the_page(
    table: RoleTable,
) -> None:
    headers = table.roles["management-point"].headers
    assert b"ccmclienttimestampsignature" in headers
    assert {b"clienttoken", b"clienttokensignature"} <= headers


@pytest.mark.parametrize(
    "field",
    [
        b"connection",
        b"keep-alive",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"proxy-authorization",
        b"expect",
        b"authorization",
        b"cookie",
        b"x-forwarded-for",
        b"x-original-url",
        b"x-http-method-override",
        b"content-encoding",
    ],
)
def test_no_role_sends_on_a_field_that_frames_routes_or_authenticates(
    table: RoleTable, field: bytes
) -> None:
    assert all(field not in role.headers for role in table.roles.values())


def test_directories_and_their_verbs(table: RoleTable) -> None:
    taken = {
        name: {method.decode() for one in directory.resources for method in one.methods}
        for role in table.roles.values()
        for name, directory in role.directories.items()
    }
    assert taken == {
        "ccm_system": {"CCM_POST"},
        "sms_mp": {"HEAD", "GET", "PROPFIND"},
        "ccm_incoming": {"BITS_POST"},
        "sms_dp_smspkg$": {"HEAD", "GET", "PROPFIND"},
        "sms_dp_smssig$": {"HEAD", "GET"},
    }


def test_every_verb_of_a_resource_is_one_of_the_role(table: RoleTable) -> None:
    for role in table.roles.values():
        for name, directory in role.directories.items():
            assert directory.name == name
            assert directory.resources
            for one in directory.resources:
                assert one.methods
                assert one.methods <= role.bodies.keys()


def test_what_is_refused_cites_why(table: RoleTable) -> None:
    cited = {
        (name, one.refused)
        for role in table.roles.values()
        for name, directory in role.directories.items()
        for one in directory.resources
        if one.refused
    }
    assert cited == {("sms_mp", "NO-OSD")}


def test_every_body_that_is_inspected_is_bounded(table: RoleTable) -> None:
    for role in table.roles.values():
        for rule in role.bodies.values():
            inspected = rule.inspection in (Inspection.CCM_MESSAGE, Inspection.XML)
            assert inspected == bool(rule.media_types)
            assert inspected == (rule.limit > 0 and rule.inflated_limit >= rule.limit)


def test_no_role_publishes_a_bypass_directory(table: RoleTable) -> None:
    published = {name for role in table.roles.values() for name in role.directories}
    assert not published & table.never
    assert all(name == name.lower() for name in published | table.never)


Change = Callable[[dict[str, Any]], object]

ROW = {"path": "x", "verbs": ["GET"]}


def directories(data: dict[str, Any]) -> dict[str, Any]:
    """Those of the distribution point, to change them."""
    found = data["roles"]["distribution-point"]["directories"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda d: d["bypass_directories"].append("ccm_SYSTEM"), ValueError),
        (lambda d: directories(d).update(x=["POST"]), TypeError),
        (lambda d: directories(d).update(x={"path": "x", "verbs": ["GET"]}), TypeError),
        (lambda d: directories(d).update(x=[{"path": "x", "verbs": ["POST"]}]), ValueError),
        (lambda d: directories(d).update(x=[{"path": "x", "verbs": ["get"]}]), ValueError),
        (lambda d: directories(d).update(x=[{"path": "x", "verbs": "GET"}]), TypeError),
        (lambda d: directories(d).update(x=[{"path": "x"}]), KeyError),
        (lambda d: directories(d).update(x=[{"verbs": ["GET"]}]), KeyError),
        (lambda d: directories(d).update(x=[{**ROW, "querry": "x"}]), ValueError),
        (lambda d: directories(d).update(x=[{**ROW, "path": "("}]), ValueError),
        (lambda d: directories(d).update(x=[{**ROW, "query": "["}]), ValueError),
        (lambda d: directories(d).update(x=[{**ROW, "path": "{CONTNT}"}]), ValueError),
        (lambda d: directories(d).update(x=[{**ROW, "path": None}]), TypeError),
        (lambda d: directories(d).update(x=[{**ROW, "verbs": []}]), ValueError),
        (lambda d: directories(d).update(x=[{**ROW, "refused": None}]), TypeError),
        (lambda d: directories(d).update(CCM_STS=[ROW]), ValueError),
        (lambda d: d["roles"]["management-point"].update(certificate="user"), ValueError),
        (lambda d: d["roles"]["management-point"].update(certificate="none"), ValueError),
        (lambda d: d["roles"]["management-point"].pop("certificate"), KeyError),
        (lambda d: d["roles"]["management-point"].pop("requirements"), KeyError),
        (lambda d: d["roles"]["management-point"]["headers"].pop("observed"), KeyError),
        (lambda d: d["roles"]["management-point"]["verbs"].update(GET="anything"), KeyError),
        (lambda d: d["roles"]["management-point"].update(verbs=["GET"]), TypeError),
        (lambda d: d["roles"]["management-point"]["directories"].update(x="GET"), TypeError),
        (lambda d: d["bodies"]["none"].update(inspection="trusted"), ValueError),
        (lambda d: d["bodies"]["none"].update(limit="4_194_304"), TypeError),
        (lambda d: d["bodies"]["none"].update(limit=None), TypeError),
        (lambda d: d["bodies"]["none"].pop("inflated_limit"), KeyError),
        (lambda d: d["base_headers"].append(1), TypeError),
        (lambda d: d["base_headers"].append("Häder"), ValueError),
        (lambda d: d.pop("bypass_directories"), KeyError),
        (lambda d: d.pop("patterns"), KeyError),
        (lambda d: d.update(patterns=["GUID"]), TypeError),
        (lambda d: d.update(roles=None), TypeError),
    ],
)
def test_a_broken_table_is_a_defect_and_not_a_wider_one(
    data: dict[str, Any], change: Change, error: type[Exception]
) -> None:
    assert read_role_table(data).roles
    change(data)
    with pytest.raises(error):
        read_role_table(data)
