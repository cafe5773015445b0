"""The shipped role table agrees with Microsoft's page, and an invalid table is a defect."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest

from ibcm_bridge.policy.bodies import Inspection
from ibcm_bridge.policy.endpoints import EndpointTable
from ibcm_bridge.policy.resources import Resource
from ibcm_bridge.policy.roles import Mode, RoleAdditions, RoleTable
from ibcm_bridge.policy.soap_actions import SoapTable
from ibcm_bridge.policy_file.tables.roles import read_role_table
from ibcm_bridge.policy_file.yaml_tree import read_yaml

ROLES: dict[str, tuple[dict[str, str], str, str]] = {
    # verbs with the inspection of their bodies, and the requirements of verbs and headers
    "management-point": (
        {
            "HEAD": "no-body",
            "CCM_POST": "ccm-message",
            "BITS_POST": "bits-upload",
            "GET": "no-body",
            "PROPFIND": "propfind",
        },
        "VERB-MP",
        "HEADER-MP",
    ),
    "distribution-point": (
        {"HEAD": "no-body", "GET": "no-body", "PROPFIND": "propfind"},
        "VERB-DP",
        "HEADER-DP",
    ),
    "software-update-point": (
        {"GET": "no-body", "HEAD": "no-body", "POST": "soap"},
        "SUP-WSUS",
        "SUP-WSUS",
    ),
    "fallback-status-point": ({"POST": "xml-text"}, "VERB-FSP", "VERB-FSP"),
    "application-catalog-website-point": (
        {"POST": "form", "GET": "no-body"},
        "VERB-APPCATALOG",
        "VERB-APPCATALOG",
    ),
    "policy-module": (
        {"GET": "scep-query", "POST": "scanned"},
        "BRIDGE-INSPECT",
        "BRIDGE-INSPECT",
    ),
}
PUBLISHED = {
    "management-point": {"bridge", "tunnel"},
    "distribution-point": {"bridge", "tunnel"},
    "software-update-point": {"bridge", "tunnel"},
    "fallback-status-point": {"plaintext"},
    "application-catalog-website-point": {"bridge", "tunnel"},
    "enrollment-proxy-point": {"tunnel"},
    "policy-module": {"bridge", "tunnel"},
}
CERTIFICATES = {
    # the first is the default
    "management-point": ["computer", "user", "either"],
    "distribution-point": ["computer", "user", "either"],
    "software-update-point": ["none", "optional"],
    "fallback-status-point": ["none"],
    "application-catalog-website-point": ["none", "optional"],
    "policy-module": ["none"],
}


MESSAGES = EndpointTable({}, ())
ACTIONS = SoapTable({}, {})


@pytest.fixture(scope="module")
def shipped() -> dict[str, Any]:
    text = files("ibcm_bridge.config").joinpath("roles.yaml").read_text("utf-8")
    tree = read_yaml(text)
    assert not tree.problems
    assert isinstance(tree.value, dict)
    return tree.value


@pytest.fixture
def data(shipped: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(shipped)


def test_all_seven_roles_have_the_modes_of_the_page(table: RoleTable) -> None:
    assert {name: {*map(str, modes)} for name, modes in table.modes.items()} == PUBLISHED
    # A role that is only tunneled has no requests to authorize.
    assert set(table.roles) == set(PUBLISHED) - {"enrollment-proxy-point"}
    assert table.not_bridged == {
        "fallback-status-point": "BRIDGE-HTTPS-ONLY",
        "enrollment-proxy-point": "BRIDGE-NOT-ENROLLED",
    }


def test_the_certificate_policies_of_each_role(table: RoleTable) -> None:
    found = {name: [*map(str, role.certificates)] for name, role in table.roles.items()}
    assert found == CERTIFICATES


@pytest.mark.parametrize(("role", "row"), ROLES.items())
def test_the_verbs_are_those_of_the_page(
    table: RoleTable, role: str, row: tuple[dict[str, str], str, str]
) -> None:
    bodies, verbs_requirement, headers_requirement = row
    profile = table.roles[role]
    found = {verb.decode(): str(rule.inspection) for verb, rule in profile.bodies.items()}
    assert found == bodies
    assert profile.verbs_requirement == verbs_requirement
    assert profile.headers_requirement == headers_requirement


def test_every_role_with_requests_is_in_this_test(table: RoleTable) -> None:
    assert set(ROLES) == set(table.roles)


@pytest.mark.parametrize(
    ("role", "microsoft", "observed"),
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
            ["CCMClientTimestampSignature", "ClientToken", "ClientTokenSignature"],
        ),
        ("distribution-point", ["Range"], []),
        ("software-update-point", [], ["SOAPAction", "MS-CV"]),
        ("fallback-status-point", [], []),
        ("application-catalog-website-point", [], ["SOAPAction"]),
        ("policy-module", [], []),
    ],
)
def test_the_headers_are_those_of_the_page_and_the_observed_ones_can_be_switched_off(
    data: dict[str, Any], table: RoleTable, role: str, microsoft: list[str], observed: list[str]
) -> None:
    headers = data["roles"][role]["headers"]
    assert (headers["microsoft"], headers["observed"]) == (microsoft, observed)
    base = {name.lower().encode() for name in data["base_headers"] + headers["base"]}
    listed = {name.lower().encode() for name in microsoft}
    seen = {name.lower().encode() for name in observed}
    assert table.roles[role].headers == base | listed | seen
    without = table.roles[role].without_observed_headers()
    assert without.headers == base | listed
    assert without.observed_headers == frozenset()


def test_the_spelling_of_clients_and_the_misspelling_of_the_page_are_both_listed(
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
def test_no_role_forwards_a_field_that_frames_routes_or_authenticates(
    table: RoleTable, field: bytes
) -> None:
    assert all(field not in role.headers for role in table.roles.values())


def test_directories_and_their_verbs(table: RoleTable) -> None:
    taken = {
        name: {method.decode() for row in directory.resources for method in row.methods}
        for role in table.roles.values()
        for name, directory in role.directories.items()
        if not any(row.refused and row.path.pattern == ".*" for row in directory.resources)
    }
    assert taken == {
        "ccm_system": {"CCM_POST"},
        "sms_mp": {"HEAD", "GET", "PROPFIND"},
        "ccm_incoming": {"BITS_POST"},
        "sms_dp_smspkg$": {"HEAD", "GET", "PROPFIND"},
        "sms_dp_smssig$": {"HEAD", "GET"},
        "simpleauthwebservice": {"POST"},
        "clientwebservice": {"HEAD", "GET", "POST"},
        "reportingwebservice": {"POST"},
        "selfupdate": {"GET", "HEAD"},
        "sms_fsp": {"POST"},
        "cmapplicationcatalog": {"GET", "POST"},
        "certsrv": {"GET", "POST"},
    }


def test_no_two_roles_share_a_directory(table: RoleTable) -> None:
    found = [
        name
        for role in table.roles.values()
        for name in role.without_windows_authentication().directories
    ]
    assert len(found) == len(set(found))


# Windows authentication (USER-WINDOWS-AUTH)


def test_windows_authentication_adds_its_directories(table: RoleTable) -> None:
    before = table.roles["management-point"]
    after = before.with_windows_authentication()
    authenticating = {name for name, row in after.directories.items() if row.authenticates_users}
    assert authenticating == {"ccm_system_windowsauth", "sms_mp_windowsauth"}
    assert set(after.directories) - set(before.directories) == {
        "ccm_system_windowsauth",
        "sms_mp_windowsauth",
    }
    assert not any(
        row.refused
        for name in ("ccm_system_windowsauth", "sms_mp_windowsauth")
        for row in after.directories[name].resources
    )


ADDED = Resource(re.compile("x"), None, frozenset((b"GET",)), "")


def test_all_directories_of_the_application_catalog_authenticate_users(table: RoleTable) -> None:
    before = table.roles["application-catalog-website-point"]
    assert not any(directory.authenticates_users for directory in before.directories.values())
    more = RoleAdditions({}, frozenset(), (("reports", ADDED),), None)
    for after in (
        before.with_windows_authentication(),
        before.with_windows_authentication().with_additions(more),
    ):
        assert all(directory.authenticates_users for directory in after.directories.values())
    assert not before.with_additions(more).directories["reports"].authenticates_users
    management_point = table.roles["management-point"].with_windows_authentication()
    assert not management_point.with_additions(more).directories["reports"].authenticates_users


def test_without_it_the_directories_are_refused(table: RoleTable) -> None:
    after = table.roles["management-point"].without_windows_authentication()
    assert not any(directory.authenticates_users for directory in after.directories.values())
    for name in ("ccm_system_windowsauth", "sms_mp_windowsauth"):
        assert [row.refused for row in after.directories[name].resources] == ["NO-USER-DEPLOYMENT"]


def test_a_role_without_windows_authentication_cannot_have_it(table: RoleTable) -> None:
    offering = {n for n, role in table.roles.items() if role.windows_authentication}
    assert offering == {"management-point", "application-catalog-website-point"}
    profile = table.roles["distribution-point"]
    assert profile.without_windows_authentication() is profile
    with pytest.raises(ValueError, match="no Windows authentication"):
        profile.with_windows_authentication()


def test_responses_that_name_site_systems_and_no_others_are_inspected(table: RoleTable) -> None:
    found = [
        (name, row.path.pattern, row.reply.value)
        for role in table.roles.values()
        for name, directory in (
            {
                **role.directories,
                **(role.windows_authentication.directories if role.windows_authentication else {}),
            }
        ).items()
        for row in directory.resources
        if row.reply is not None
    ]
    assert found == [
        ("ccm_system", "request", "ccm-message"),
        ("sms_mp", r"\.sms_aut", "xml"),
        ("sms_mp", "", "xml"),
        ("ccm_system_windowsauth", "request", "ccm-message"),
        (
            "sms_dp_smspkg$",
            f"(?:{table.patterns['CONTENT']})/?".replace("{GUID}", f"(?:{table.patterns['GUID']})"),
            "xml",
        ),
    ]


def test_every_verb_of_a_resource_is_a_verb_of_its_role(table: RoleTable) -> None:
    for role in table.roles.values():
        for name, directory in role.directories.items():
            assert directory.name == name
            assert directory.resources
            for row in directory.resources:
                assert row.methods
                assert row.methods <= role.bodies.keys()


def test_a_refused_row_cites_its_requirement(table: RoleTable) -> None:
    cited = {
        (name, row.refused)
        for role in table.roles.values()
        for name, directory in role.directories.items()
        for row in directory.resources
        if row.refused
    }
    assert cited == {
        ("sms_mp", "NO-OSD"),
        ("apiremoting30", "SUP-WSUS"),
        ("serversyncwebservice", "SUP-WSUS"),
        ("dssauthwebservice", "SUP-WSUS"),
        ("inventory", "SUP-WSUS"),
        ("content", "SUP-WSUS"),
    }


def test_every_inspected_body_has_a_limit(table: RoleTable) -> None:
    for rule in table.bodies.values():
        inspected = rule.inspection not in (Inspection.NO_BODY, Inspection.SCEP_QUERY)
        # The Content-Type of a fragment has no meaning.
        typed = inspected and rule.inspection is not Inspection.BITS_UPLOAD
        assert typed == bool(rule.media_types)
        assert inspected == (rule.limit > 0 and rule.inflated_limit >= rule.limit)


def test_no_role_publishes_what_is_never_published(table: RoleTable) -> None:
    published = {name for role in table.roles.values() for name in role.directories}
    never = table.never
    assert not published & never.directories
    assert not published & never.explained.keys()
    assert never.below == {"datalib", "filelib"}
    names = [*published, *never.directories, *never.below, *never.explained]
    assert all(name == name.lower() for name in names)
    for role in table.roles.values():
        assert not never.headers & role.headers


def test_the_role_of_enrolled_devices_can_only_be_tunneled(table: RoleTable) -> None:
    # TUNNEL-ENROLLED: their site system does not support bridging.
    assert table.modes["enrollment-proxy-point"] == {Mode.TUNNEL}
    assert "enrollment-proxy-point" not in table.roles


def test_a_directory_of_no_role_has_its_requirement(table: RoleTable) -> None:
    assert table.never.explained == {
        "ccm_client": "NO-CLIENT-DEPLOYMENT",
        "cmuserservice": "NO-USER-DEPLOYMENT",
        "cmuserservice_windowsauth": "NO-USER-DEPLOYMENT",
        "cmcertificateregistration": "BRIDGE-INSPECT",
        "bgb": "BRIDGE-INSPECT",
        "enrollmentserver": "BRIDGE-NOT-ENROLLED",
    }


def test_only_the_policy_module_needs_a_longer_head(table: RoleTable) -> None:
    assert {n: r.request_head for n, r in table.roles.items() if r.request_head} == {
        "policy-module": 131_072
    }


Change = Callable[[dict[str, Any]], object]

ROW = {"path": "x", "verbs": ["GET"]}


def directories(data: dict[str, Any]) -> dict[str, Any]:
    """The directories of the distribution point, for changes."""
    found = data["roles"]["distribution-point"]["directories"]
    assert isinstance(found, dict)
    return found


def windows(data: dict[str, Any]) -> dict[str, Any]:
    """The Windows authentication of the management point, for changes."""
    found = data["roles"]["management-point"]["windows_authentication"]
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
        (lambda d: directories(d).update(x=[{**ROW, "reply": "json"}]), ValueError),
        (lambda d: directories(d).update(x=[{**ROW, "reply": None}]), TypeError),
        (lambda d: directories(d).update(x=[{**ROW, "acts": "yes"}]), TypeError),
        (lambda d: directories(d).update(x=[{**ROW, "reply": "xml", "refused": "X"}]), ValueError),
        (lambda d: directories(d).update(CCM_STS=[ROW]), ValueError),
        (lambda d: d["roles"]["management-point"].update(certificate="user"), TypeError),
        (lambda d: d["roles"]["management-point"].update(certificate=["admin"]), ValueError),
        (lambda d: d["roles"]["management-point"].update(publish=["everywhere"]), ValueError),
        (lambda d: d["roles"]["management-point"].pop("publish"), KeyError),
        (lambda d: d["roles"]["enrollment-proxy-point"].pop("not_bridged"), KeyError),
        (lambda d: d["roles"]["management-point"].update(verb={}), ValueError),
        (lambda d: d["roles"]["policy-module"].update(request_head="1"), TypeError),
        (lambda d: windows(d).update(header=[]), ValueError),
        (lambda d: windows(d).pop("otherwise"), KeyError),
        (lambda d: d["repeatable_headers"].append(1), TypeError),
        (lambda d: d.pop("repeatable_headers"), KeyError),
        (lambda d: d["dropped_headers"].update(Date="GET"), TypeError),
        (lambda d: d.pop("dropped_headers"), KeyError),
        (lambda d: windows(d)["directories"].update(CCM_STS=[ROW]), ValueError),
        (lambda d: d["roles"]["management-point"]["headers"].update(more=[]), ValueError),
        (lambda d: d["base_headers"].append("X-Forwarded-For"), ValueError),
        (lambda d: d["bodies"]["none"].update(limits=1), ValueError),
        (lambda d: d["bodies"]["none"].update(required="no"), TypeError),
        (lambda d: d.update(more=1), ValueError),
        (lambda d: d.pop("never_headers"), KeyError),
        (lambda d: d.pop("never_header_patterns"), KeyError),
        (lambda d: d.pop("never_below"), KeyError),
        (lambda d: d.pop("unpublished_directories"), KeyError),
        (lambda d: directories(d).update(x=[{**ROW, "path": "(a+)+"}]), ValueError),
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
def test_an_invalid_table_is_a_defect_and_does_not_publish_more(
    data: dict[str, Any], change: Change, error: type[Exception]
) -> None:
    assert read_role_table(data, MESSAGES, ACTIONS).roles
    change(data)
    with pytest.raises(error):
        read_role_table(data, MESSAGES, ACTIONS)
