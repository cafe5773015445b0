"""The SOAP actions of a software update point: by service, in the head and in the body."""

from __future__ import annotations

import copy
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest
import yaml

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.refusals import REFUSALS
from ibcm_bridge.inspection.scan import read_and_scan
from ibcm_bridge.inspection.subject import Subject
from ibcm_bridge.inspection.verdict import SMALL_SOAP, Inspected, inspect, inspect_small
from ibcm_bridge.messages.soap import SHARED, SOAP_1_1, SOAP_1_2
from ibcm_bridge.policy.roles import RoleTable
from ibcm_bridge.policy.soap_actions import SoapTable
from ibcm_bridge.policy_file.tables.soap_actions import read_soap_table
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.request.head import RequestHead

CLIENT = "ClientWebService/client.asmx"
SIMPLE_AUTH = "SimpleAuthWebService/SimpleAuth.asmx"
REPORTING = "ReportingWebService/ReportingWebService.asmx"
NAMESPACES = {
    CLIENT: f"{SHARED}/Server/ClientWebService",
    SIMPLE_AUTH: f"{SHARED}/Server/SimpleAuthWebService",
    REPORTING: SHARED,
}
ASKED = {
    SIMPLE_AUTH: {"GetAuthorizationCookie"},
    CLIENT: {
        *("GetConfig", "GetConfig2", "GetCookie", "RegisterComputer", "StartCategoryScan"),
        *("SyncUpdates", "SyncPrinterCatalog", "RefreshCache", "GetFileLocations"),
        *("GetExtendedUpdateInfo", "GetExtendedUpdateInfo2"),
    },
    REPORTING: {"ReportEventBatch"},
}
EACH = [(path, operation) for path, operations in ASKED.items() for operation in sorted(operations)]

Ask = Callable[..., Inspected | Deny]


@pytest.fixture(scope="module")
def actions(table: RoleTable) -> SoapTable:
    found = table.bodies["soap"].actions
    assert found is not None
    return found


@pytest.fixture(scope="module")
def ask(
    decide_role: Callable[[str], Callable[[RequestHead], Authorized | Deny]],
    request_head: Callable[..., RequestHead],
) -> Ask:
    """Inspect a request to a software update point, without engines."""
    decide = decide_role("software-update-point")

    def result(path: str, body: bytes, *lines: str) -> Inspected | Deny:
        head = request_head("POST", f"/{path}", f"Content-Length: {len(body)}", *lines)
        authorized = decide(head)
        return authorized if isinstance(authorized, Deny) else inspect(authorized, body, [])

    return result


def body_of(action: str, inner: str = "", envelope: str = SOAP_1_1) -> bytes:
    namespace, _, name = action.rpartition("/")
    element = f'<{name} xmlns="{namespace}">{inner}</{name}>' if name else ""
    text = f'<s:Envelope xmlns:s="{envelope}"><s:Body>{element}</s:Body></s:Envelope>'
    return text.encode()


def in_1_1(action: str) -> tuple[str, str]:
    return 'Content-Type: text/xml; charset="utf-8"', f'SOAPAction: "{action}"'


def refusal(result: Inspected | Deny) -> tuple[Reason, str]:
    assert isinstance(result, Deny), result
    return result.reason, result.rule


def test_the_table_has_exactly_the_actions_of_a_scan(actions: SoapTable) -> None:
    found = {
        service.path: (service.namespace, service.operations)
        for service in actions.services.values()
    }
    assert found == {path: (NAMESPACES[path], operations) for path, operations in ASKED.items()}


def test_each_service_is_a_resource_of_the_role(table: RoleTable, actions: SoapTable) -> None:
    directories = table.roles["software-update-point"].directories
    for path in actions.services:
        directory, _, below = path.partition("/")
        assert any(resource.matches(below, None) for resource in directories[directory].resources)


@pytest.mark.parametrize(("path", "operation"), EACH)
def test_the_actions_of_a_scan_are_allowed_in_both_soap_versions(
    ask: Ask, path: str, operation: str
) -> None:
    action = f"{NAMESPACES[path]}/{operation}"
    assert isinstance(ask(path, body_of(action), *in_1_1(action)), Inspected)
    content_type = f'Content-Type: application/soap+xml; charset=utf-8; action="{action}"'
    body = body_of(action, envelope=SOAP_1_2)
    assert isinstance(ask(path.upper(), body, content_type), Inspected)


@pytest.mark.parametrize("path", ASKED)
@pytest.mark.parametrize(
    "operation",
    [
        *("GetServers", "ReportEventBatch2", "ReportInventory", "RollupComputers", "GetAuthConfig"),
        *("GetUpdateData", "getconfig", "GetConfig3", "GETCOOKIE", "GetConfigResponse", "x"),
    ],
)
def test_other_actions_are_refused(ask: Ask, path: str, operation: str) -> None:
    action = f"{NAMESPACES[path]}/{operation}"
    result = ask(path, body_of(action), *in_1_1(action))
    reason, rule = refusal(result)
    assert reason is Reason.SOAP_ACTION
    assert rule in ("soap_actions.refused", f"soap_actions.{path}")
    assert REFUSALS[reason].requirement == "SUP-WSUS"


def test_actions_of_administrators_and_servers_are_refused_by_name(
    ask: Ask, actions: SoapTable
) -> None:
    for operation, why in actions.refused.items():
        action = f"{NAMESPACES[REPORTING]}/{operation}"
        result = ask(REPORTING, body_of(action), *in_1_1(action))
        assert refusal(result) == (Reason.SOAP_ACTION, "soap_actions.refused")
        assert isinstance(result, Deny)
        assert why in result.detail


@pytest.mark.parametrize(("path", "operation"), EACH)
def test_an_operation_of_another_service_is_refused(ask: Ask, path: str, operation: str) -> None:
    action = f"{NAMESPACES[path]}/{operation}"
    for other in ASKED.keys() - {path}:
        result = ask(other, body_of(action), *in_1_1(action))
        assert refusal(result) == (Reason.SOAP_ACTION, f"soap_actions.{other}")


CONFIG = f"{NAMESPACES[CLIENT]}/GetConfig"
COOKIE = f"{NAMESPACES[CLIENT]}/GetCookie"


@pytest.mark.parametrize(
    ("in_head", "in_body"),
    [(CONFIG, COOKIE), (COOKIE, CONFIG), (CONFIG, "urn:a/GetConfig"), ("", CONFIG)],
)
def test_different_actions_in_head_and_body_are_refused(
    ask: Ask, in_head: str, in_body: str
) -> None:
    result = ask(CLIENT, body_of(in_body), *in_1_1(in_head))
    assert refusal(result) == (Reason.SOAP_ACTION, "soap_actions.agreement")


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (("Content-Type: text/xml",), Reason.SOAP_ACTION),
        (("Content-Type: text/xml", f"SOAPAction: {CONFIG}"), Reason.SOAP_ACTION),
        ((*in_1_1(CONFIG), f'SOAPAction: "{CONFIG}"'), Reason.MALFORMED_HEAD),
        (("Content-Type: application/soap+xml", f'SOAPAction: "{CONFIG}"'), Reason.SOAP_ACTION),
        ((f'Content-Type: application/soap+xml; action="{CONFIG}"',), Reason.SOAP_ENVELOPE),
        ((f'Content-Type: text/xml; action="{CONFIG}"',), Reason.MEDIA_TYPE),
        (("Content-Type: text/xml; charset=utf-16", in_1_1(CONFIG)[1]), Reason.MEDIA_TYPE),
    ],
)
def test_an_invalid_soap_head_is_refused(ask: Ask, lines: tuple[str, ...], reason: Reason) -> None:
    assert refusal(ask(CLIENT, body_of(CONFIG), *lines))[0] is reason


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (body_of("/"), Reason.SOAP_ENVELOPE),
        (b"<GetConfig/>", Reason.SOAP_ENVELOPE),
        (b"x", Reason.XML),
        (b"\xff", Reason.ENCODING),
        (body_of(CONFIG).decode().encode("utf-16"), Reason.ENCODING),
    ],
)
def test_an_invalid_soap_body_is_refused(ask: Ask, body: bytes, reason: Reason) -> None:
    assert refusal(ask(CLIENT, body, *in_1_1(CONFIG)))[0] is reason


def test_soap_at_another_path_is_refused(actions: SoapTable, table: RoleTable) -> None:
    # For example if a policy publishes an additional path.
    subject = Subject(
        table.bodies["soap"],
        b"text/xml",
        body_of(CONFIG),
        path="clientwebservice/other.asmx",
        soap_action=(f'"{CONFIG}"'.encode(),),
    )
    denial = read_and_scan(subject, [])
    assert isinstance(denial, Deny)
    assert (denial.reason, denial.rule) == (Reason.SOAP_ACTION, "soap_actions.services")


def test_large_soap_is_returned_as_a_subject(
    decide_role: Callable[[str], Callable[[RequestHead], Authorized | Deny]],
    request_head: Callable[..., RequestHead],
) -> None:
    for more, expected in ((0, Inspected), (SMALL_SOAP, Subject)):
        body = body_of(CONFIG, "<a/>" + " " * more)
        lines = (*in_1_1(CONFIG), f"Content-Length: {len(body)}")
        authorized = decide_role("software-update-point")(
            request_head("POST", f"/{CLIENT}", *lines)
        )
        assert isinstance(authorized, Authorized)
        assert isinstance(inspect_small(authorized, body, []), expected)


def test_subjects_differ_by_action_and_path(table: RoleTable) -> None:
    rule = table.bodies["soap"]
    subjects = [
        Subject(rule, b"text/xml", b""),
        Subject(rule, b"text/xml", b"", path="a"),
        Subject(rule, b"text/xml", b"", soap_action=(b"a",)),
    ]
    assert len({subject.digest() for subject in subjects}) == 3


# The table's file

SOURCE = yaml.safe_load(
    files("ibcm_bridge.config").joinpath("soap_actions.yaml").read_text("utf-8")
)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("refused"),
        lambda data: data.update(more=[]),
        lambda data: data["services"].update({CLIENT.lower(): data["services"][CLIENT]}),
        lambda data: data["services"][CLIENT].update(operations=[]),
        lambda data: data["services"][CLIENT].update(namespace="urn:a/"),
        lambda data: data["services"][CLIENT].update(more=1),
        lambda data: data["services"][CLIENT].pop("namespace"),
        lambda data: data["refused"].append({"operations": ["GetCookie"], "because": "x"}),
        lambda data: data["refused"].append(data["refused"][0]),
        lambda data: data["refused"].append({"operations": ["x"]}),
    ],
)
def test_an_invalid_table_is_a_defect(change: Callable[[dict[str, Any]], object]) -> None:
    data = copy.deepcopy(SOURCE)
    assert read_soap_table(data).services
    change(data)
    with pytest.raises((KeyError, ValueError, TypeError)):
        read_soap_table(data)


def test_the_fingerprint_of_a_table_covers_all_of_it(actions: SoapTable) -> None:
    other = copy.deepcopy(SOURCE)
    other["services"][CLIENT]["operations"].append("x")
    third = copy.deepcopy(SOURCE)
    third["refused"] = []
    tables = [actions, read_soap_table(other), read_soap_table(third)]
    assert len({table.fingerprint() for table in tables}) == 3
    assert read_soap_table(SOURCE).fingerprint() == actions.fingerprint()
