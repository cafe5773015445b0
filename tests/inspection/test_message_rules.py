"""Allowed messages: each endpoint with its roots, next to refused variants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.observing import Observation
from ibcm_bridge.decisions.refusals import requirement
from ibcm_bridge.inspection.message_rules import judge_message
from ibcm_bridge.lab.protocol import ccm, documents
from ibcm_bridge.messages.ccm import CcmRequest, read_ccm_request
from ibcm_bridge.messages.guid_places import NO_PLACES
from ibcm_bridge.policy.endpoints import Endpoint, EndpointTable
from ibcm_bridge.policy.roles import RoleTable
from ibcm_bridge.policy_file.reading import Reading
from ibcm_bridge.policy_file.role_additions import read_profile
from ibcm_bridge.policy_file.rows.roles import ExtraMessageRow, RoleRow
from ibcm_bridge.policy_file.tables.endpoints import read_endpoint_table
from ibcm_bridge.policy_file.yaml_tree import Tree

GUID = "0a1b2c3d-0000-4000-8000-00000000000f"


def judge(table: EndpointTable, message: CcmRequest, *, user: bool) -> Endpoint | Deny:
    """Judge a message, with all refusals enforced."""
    return judge_message(table, message, Observation(active=False), user=user)


def policy_request(*users: str) -> str:
    """A policy request with these elements at the place of the user."""
    return (
        f'<RequestAssignments xmlns:x="urn:x"><Identification><Machine/>{"".join(users)}'
        '</Identification><Resource ResourceType="Machine"/></RequestAssignments>'
    )


SID = "<SID>S-1-5-21-1-2-3-4</SID>"
NOBODY = [
    "<User />",
    "<User></User>",
    "<USER/>",
    "<x:User/>",
    "<User> \t\r\n</User>",
    "<User><SID /></User>",
    "<User>\n  <SID></SID>\n  <NT4UserName/>\n  <Groups><Group/></Groups>\n</User>",
    "<User><User/></User>",
    "<User/><User/>",
    "<User><!-- S-1-5-21-1-2-3-4 --><?x S-1-5-21-1-2-3-4?></User>",
    "<User><![CDATA[]]><![CDATA[ ]]>&#32;&#x9;</User>",
]
"""Empty user elements, which name nobody."""
SOMEBODY = [
    f"<User>{SID}</User>",
    f"<user>{SID}</user>",
    f"<x:User>{SID}</x:User>",
    "<User>S-1-5-21-1-2-3-4</User>",
    "<User><SID/>0</User>",
    "<User><Groups><Group><SID/>a</Group></Groups></User>",
    "<User><![CDATA[0]]></User>",
    "<User>&#48;</User>",
    # Only XML's white space is ignored: another parser may read other characters as a name.
    "<User>&#160;</User>",
    "<User>\u200b</User>",
    '<User SID="S-1-5-21-1-2-3-4"/>',
    '<User SID=""/>',
    '<User><SID Value="S-1-5-21-1-2-3-4"/></User>',
    '<User xmlns="urn:S-1-5-21-1-2-3-4"/>',
    f"<User/><User>{SID}</User>",
    f"<User>{SID}</User><User/>",
    f"<User><User>{SID}</User></User>",
    f"<User><User/>{SID}</User>",
    f"<Machine><User>{SID}</User></Machine>",
    # Markup in character data may be an element to another parser, with the text after it.
    "<Note>&lt;User/&gt;</Note>",
    "<Note><![CDATA[<User></User>]]></Note>",
    '<Note Text="&lt;x:User />"/>',
]
"""User elements that name a user, or could to another parser."""
USERS_RESOURCE = documents.policy_request(GUID).replace(
    'ResourceType="Machine"', 'ResourceType="user"'
)
ON_BOOT_MEDIA = (
    '<ClientRegistrationRequest><Data><AgentInformation AgentType="1"/></Data>'
    "</ClientRegistrationRequest>"
)


@pytest.fixture(scope="module")
def messages(table: RoleTable) -> EndpointTable:
    found = table.bodies["ccm-message"].messages
    assert found is not None
    return found


def message(endpoint: str, xml: str, **more: Any) -> CcmRequest:
    body = ccm.ccm_post_body(endpoint=endpoint, body_xml=xml, client_guid=GUID, **more)
    read = read_ccm_request(ccm.CONTENT_TYPE.encode(), body, 1_000_000)
    assert isinstance(read, CcmRequest), read
    return read


def encrypted(endpoint: str) -> CcmRequest:
    header = ccm.message_header(endpoint, 10, '<Hook2 Name="encrypt"/>', GUID)
    body = ccm.raw_message(header, b"nobody can read this")
    read = read_ccm_request(ccm.CONTENT_TYPE.encode(), body, 1_000_000)
    assert isinstance(read, CcmRequest), read
    return read


def denied(messages: EndpointTable, one: CcmRequest, *, user: bool = False) -> Deny:
    result = judge(messages, one, user=user)
    assert isinstance(result, Deny), result
    return result


ROOTS = {
    "MP_ClientRegistration": ["ClientRegistrationRequest"],
    "MP_PolicyManager": ["RequestAssignments"],
    "MP_LocationManager": [
        "ContentLocationRequest",
        "WSUSLocationRequest",
        "EnumerateMPLocationRequest",
        "SiteInformationRequest",
    ],
    "MP_DdrEndpoint": ["Report", "ReportHeader", "ReportBody", "UploadRequest"],
    "MP_HinvEndpoint": ["Report", "UploadRequest"],
    "MP_SinvEndpoint": ["Report", "UploadRequest"],
    "MP_RelayEndpoint": ["Report", "UploadRequest"],
    "StatusReceiver": ["Status", "UploadRequest"],
    "MP_AppStateManager": ["AppStateServicesRequest"],
}


def test_the_table_has_these_endpoints_and_no_others(messages: EndpointTable) -> None:
    shipped = {endpoint.name: set(endpoint.roots) for endpoint in messages.endpoints.values()}
    assert shipped == {name: {root.lower() for root in roots} for name, roots in ROOTS.items()}
    anonymous = {endpoint.name for endpoint in messages.endpoints.values() if endpoint.anonymous}
    # protocol.md §1.6: location requests are anonymous, and a new client has no client GUID yet.
    assert anonymous == {"MP_ClientRegistration", "MP_LocationManager"}


@pytest.mark.parametrize(
    ("endpoint", "root"), [(name, root) for name, roots in ROOTS.items() for root in roots]
)
def test_each_endpoint_accepts_its_roots_in_any_case(
    messages: EndpointTable, endpoint: str, root: str
) -> None:
    for name in (endpoint, endpoint.upper()):
        for element in (root, root.lower()):
            judged = judge(messages, message(name, f"<{element}/>"), user=False)
            assert isinstance(judged, Endpoint)
            assert judged.name == endpoint


@pytest.mark.parametrize("endpoint", ROOTS)
def test_no_endpoint_accepts_another_root(messages: EndpointTable, endpoint: str) -> None:
    others = {root for roots in ROOTS.values() for root in roots} - set(ROOTS[endpoint])
    for root in (*others, "Anything", f"x{ROOTS[endpoint][0]}"):
        denial = denied(messages, message(endpoint, f"<{root}/>"))
        assert (denial.reason, denial.rule) == (Reason.MESSAGE, f"endpoints.{endpoint}.roots")
        assert requirement(denial) == "BRIDGE-INSPECT"


@pytest.mark.parametrize(
    "endpoint",
    ["MP_StatusManager", "MP_Anything", "", "MP_HinvEndpoint2", "EndpointProtectionAgent"],
)
def test_an_unlisted_endpoint_is_refused(messages: EndpointTable, endpoint: str) -> None:
    denial = denied(messages, message(endpoint, "<Report/>"))
    assert (denial.reason, denial.rule) == (Reason.ENDPOINT, "endpoints.endpoints")


def test_each_document_of_a_message_must_have_a_root_of_the_endpoint(
    messages: EndpointTable,
) -> None:
    first, second = "<Report/>".encode("utf-16-le"), "<Status/>".encode("utf-16-le")
    header = ccm.message_header("MP_HinvEndpoint", len(first), "", GUID)
    attachment = f'<Attachment Type="ByteRange" Offset="{len(first)}" Length="{len(second)}"/>'
    header = header.replace("</Msg>", f"{attachment}</Msg>")
    body = ccm.raw_message(header, first + second, inner_type=b"text/plain; charset=utf-16")
    read = read_ccm_request(ccm.CONTENT_TYPE.encode(), body, 1_000)
    assert isinstance(read, CcmRequest)
    assert denied(messages, read).reason is Reason.MESSAGE


@pytest.mark.parametrize("xml", [*map(policy_request, SOMEBODY), USERS_RESOURCE])
def test_user_policy_requires_windows_authentication(messages: EndpointTable, xml: str) -> None:
    request = message("MP_PolicyManager", xml)
    denial = denied(messages, request)
    assert (denial.reason, denial.requirement) == (Reason.MESSAGE, "NO-USER-DEPLOYMENT")
    assert isinstance(judge(messages, request, user=True), Endpoint)
    # The computer's policy, with or without a user.
    for user in (False, True):
        mine = message("MP_PolicyManager", documents.policy_request(GUID))
        assert isinstance(judge(messages, mine, user=user), Endpoint)


@pytest.mark.parametrize("element", NOBODY)
def test_an_empty_user_element_does_not_request_user_policy(
    messages: EndpointTable, element: str
) -> None:
    """Microsoft's SDK writes it for a computer (protocol.md §3.2)."""
    for user in (False, True):
        request = message("MP_PolicyManager", policy_request(element))
        assert isinstance(judge(messages, request, user=user), Endpoint)
    # Other elements also have the subject of the request.
    request = message("MP_PolicyManager", policy_request(element).replace('"Machine"', '"USER"'))
    assert denied(messages, request).requirement == "NO-USER-DEPLOYMENT"


def test_a_user_in_a_second_document_is_found(messages: EndpointTable) -> None:
    for element in (NOBODY[0], SOMEBODY[0]):
        request = message("MP_PolicyManager", policy_request(), attached=policy_request(element))
        refused = isinstance(judge(messages, request, user=False), Deny)
        assert refused == (element in SOMEBODY)


@pytest.mark.parametrize(
    ("root", "element", "cites"),
    [
        ("ContentLocationRequest", "ClientPackage", "NO-CLIENT-DEPLOYMENT"),
        ("SiteInformationRequest", "UpdateSFRequest", "BRIDGE-INSPECT"),
    ],
)
def test_an_empty_element_that_is_itself_the_request_is_refused(
    messages: EndpointTable, root: str, element: str, cites: str
) -> None:
    for inner in (f"<{element}/>", f"<{element}></{element}>", f"<{element}> <a/> </{element}>"):
        denial = denied(messages, message("MP_LocationManager", f"<{root}>{inner}</{root}>"))
        assert (denial.reason, denial.requirement) == (Reason.MESSAGE, cites)
    assert isinstance(
        judge(messages, message("MP_LocationManager", f"<{root}/>"), user=False), Endpoint
    )


def test_the_registration_of_a_boot_media_client_is_refused(messages: EndpointTable) -> None:
    for kind in ("1", "OsdCD", "osdcd"):
        xml = ON_BOOT_MEDIA.replace('"1"', f'"{kind}"')
        denial = denied(messages, message("MP_ClientRegistration", xml))
        assert (denial.reason, denial.requirement) == (Reason.MESSAGE, "NO-OSD")
    installed = ON_BOOT_MEDIA.replace('AgentType="1"', 'AgentType="0"')
    assert isinstance(
        judge(messages, message("MP_ClientRegistration", installed), user=False), Endpoint
    )


# Encrypted messages


def test_an_encrypted_message_is_refused_unless_the_policy_allows_it(
    messages: EndpointTable,
) -> None:
    opted_in = messages.with_encrypted()
    for name, endpoint in messages.endpoints.items():
        denial = denied(messages, encrypted(name))
        assert denial.reason is Reason.BODY_NOT_INSPECTABLE
        if endpoint.encrypted:
            assert denial.rule == "messages.encrypted"
            assert isinstance(judge(opted_in, encrypted(name), user=False), Endpoint)
        else:
            # Clients do not encrypt these; encryption would only hide the request.
            assert denial.rule == f"endpoints.{endpoint.name}.encrypted"
            assert denied(opted_in, encrypted(name)) == denial
    assert denied(opted_in, encrypted("MP_OOBMgr")).requirement == "NO-WAKE-ON-LAN"
    assert denied(opted_in, encrypted("MP_Anything")).reason is Reason.ENDPOINT


# What a policy adds


def with_additions(
    table: RoleTable, role: str, *added: tuple[str, str]
) -> tuple[EndpointTable, list[str]]:
    rows = [
        ExtraMessageRow(endpoint=endpoint, root=root, because="the tests want it")
        for endpoint, root in added
    ]
    reading = Reading(Path("bridge.yaml"), Tree())
    row = RoleRow(site_system="https://ss.corp.example", extra_messages=rows)
    profile = read_profile(reading, (), row, table.roles[role], table)
    problems = [problem.message for problem in reading.tree.problems]
    return profile.messages or EndpointTable({}, ()), problems


def test_a_policy_may_add_a_message(table: RoleTable, messages: EndpointTable) -> None:
    more, problems = with_additions(
        table,
        "management-point",
        ("MP_LocationManager", "UpdateSFRequest"),
        ("MP_New", "Anything"),
    )
    assert not problems
    for endpoint, root in (("MP_LocationManager", "UpdateSFRequest"), ("mp_new", "ANYTHING")):
        request = message(endpoint, f"<{root}/>")
        assert isinstance(judge(more, request, user=False), Endpoint)
        denied(messages, request)
    # And no more than that.
    for endpoint, root in (("MP_HinvEndpoint", "UpdateSFRequest"), ("MP_New", "Report")):
        denied(more, message(endpoint, f"<{root}/>"))
    hidden = message("MP_HinvEndpoint", "<Report><UpdateSFRequest/></Report>")
    assert denied(more, hidden).requirement == "BRIDGE-INSPECT"


@pytest.mark.parametrize(
    ("endpoint", "root", "cites"),
    [
        ("MP_OOBMgr", "Anything", "NO-WAKE-ON-LAN"),
        ("mp_clientidmanager", "ClientIDRequest", "NO-OSD"),
        ("MP_LocationManager", "AssignedSiteRequest", "NO-SITE-ASSIGNMENT"),
        ("MP_Other", "localmplocationrequest", "NO-SITE-ASSIGNMENT"),
        ("MP_TokenManager", "x", "BRIDGE-AUTH-COMPUTER"),
        ("MP_SinvCollFileEndpoint", "Report", "BRIDGE-INSPECT"),
    ],
)
def test_an_unsupported_key_cannot_be_added(
    table: RoleTable, endpoint: str, root: str, cites: str
) -> None:
    more, problems = with_additions(table, "management-point", (endpoint, root))
    assert problems == [f"{root} for {endpoint} is refused for {cites}"]
    assert isinstance(judge(more, message(endpoint, f"<{root}/>"), user=False), Deny)


def test_a_role_without_messages_takes_none(table: RoleTable) -> None:
    _, problems = with_additions(table, "distribution-point", ("MP_New", "Anything"))
    assert problems == ["distribution-point does not accept messages; remove this row"]


# The table as it is written


GOOD: dict[str, Any] = {
    "client_guids": {"own": ["ClientID"]},
    "endpoints": {"MP_x": {"roots": ["Report"]}},
    "refused": [{"root": "Other", "requirement": "NO-OSD"}],
}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda data: data.update(more=1), ValueError),
        (lambda data: data.pop("refused"), KeyError),
        (lambda data: data.pop("client_guids"), KeyError),
        (lambda data: data.update(client_guids={"own": "ClientID"}), TypeError),
        (lambda data: data.update(client_guids={"own": ["@ClientID"]}), ValueError),
        (lambda data: data.update(client_guids={"own": ["a/b/ClientID"]}), ValueError),
        (lambda data: data.update(client_guids={"mine": ["ClientID"]}), ValueError),
        (lambda data: data["endpoints"]["MP_x"].update(client_guids={"Other": {}}), ValueError),
        (lambda data: data["endpoints"].update(mp_X={"roots": ["Report"]}), ValueError),
        (lambda data: data["endpoints"]["MP_x"].update(roots=[]), ValueError),
        (lambda data: data["endpoints"]["MP_x"].update(roots="Report"), TypeError),
        (lambda data: data["endpoints"]["MP_x"].update(anonymous="yes"), TypeError),
        (lambda data: data["endpoints"]["MP_x"].update(signed=True), ValueError),
        (lambda data: data["refused"].append({"requirement": "NO-OSD"}), ValueError),
        (lambda data: data["refused"].append({"root": "x"}), KeyError),
        (
            lambda data: data["refused"].append(
                {"at": "Resource/@ResourceType", "requirement": "NO-OSD"}
            ),
            ValueError,
        ),
        (
            lambda data: data["refused"].append(
                {"at": "Nowhere", "is": "1", "requirement": "NO-OSD"}
            ),
            ValueError,
        ),
        (
            lambda data: data["refused"].append({"endpoint": "mp_x", "requirement": "NO-OSD"}),
            ValueError,
        ),
        (
            # The parser checks only known subject elements for being empty.
            lambda data: data["refused"].append({"subject": "x", "requirement": "NO-OSD"}),
            ValueError,
        ),
    ],
)
def test_an_invalid_table_is_a_defect(
    change: Callable[[dict[str, Any]], object], error: type[Exception]
) -> None:
    data = {
        "client_guids": dict(GOOD["client_guids"]),
        "endpoints": {"MP_x": dict(GOOD["endpoints"]["MP_x"])},
        "refused": list(GOOD["refused"]),
    }
    assert read_endpoint_table(data).endpoints
    change(data)
    with pytest.raises(error):
        read_endpoint_table(data)


def test_the_fingerprint_of_a_table_covers_all_of_it(messages: EndpointTable) -> None:
    without_places = {
        name: replace(endpoint, client_guids={}) for name, endpoint in messages.endpoints.items()
    }
    seen = {
        messages.fingerprint(),
        messages.with_encrypted().fingerprint(),
        messages.with_message("MP_New", "Anything").fingerprint(),
        EndpointTable(messages.endpoints, ()).fingerprint(),
        EndpointTable({}, messages.refused).fingerprint(),
        replace(messages, client_guids=NO_PLACES).fingerprint(),
        replace(messages, endpoints=without_places).fingerprint(),
    }
    assert len(seen) == 7
