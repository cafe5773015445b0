"""What may be asked in SOAP of a software update point: by service, in the head and in the body."""

from __future__ import annotations

import copy
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest
import yaml

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.refusals import REFUSALS
from ibcm_bridge.inspection.body import SMALL_SOAP, Inspected, inspect, inspect_small
from ibcm_bridge.inspection.scan import read_and_scan
from ibcm_bridge.inspection.subject import Subject
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
    """Send a head and a body to a software update point; no engine looks."""
    decide = decide_role("software-update-point")

    def answer(path: str, body: bytes, *lines: str) -> Inspected | Deny:
        head = request_head("POST", f"/{path}", f"Content-Length: {len(body)}", *lines)
        authorized = decide(head)
        return authorized if isinstance(authorized, Deny) else inspect(authorized, body, [])

    return answer


def body_of(action: str, inner: str = "", envelope: str = SOAP_1_1) -> bytes:
    namespace, _, name = action.rpartition("/")
    asked = f'<{name} xmlns="{namespace}">{inner}</{name}>' if name else ""
    text = f'<s:Envelope xmlns:s="{envelope}"><s:Body>{asked}</s:Body></s:Envelope>'
    return text.encode()


def in_1_1(action: str) -> tuple[str, str]:
    return 'Content-Type: text/xml; charset="utf-8"', f'SOAPAction: "{action}"'


def refusal(answer: Inspected | Deny) -> tuple[Reason, str]:
    assert isinstance(answer, Deny), answer
    return answer.reason, answer.rule


def test_the_table_has_what_a_scan_asks_and_no_more(actions: SoapTable) -> None:
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
def test_what_a_scan_asks_passes_in_both_versions(ask: Ask, path: str, operation: str) -> None:
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
def test_what_no_scan_asks_is_refused(ask: Ask, path: str, operation: str) -> None:
    action = f"{NAMESPACES[path]}/{operation}"
    answer = ask(path, body_of(action), *in_1_1(action))
    reason, rule = refusal(answer)
    assert reason is Reason.SOAP_ACTION
    assert rule in ("soap_actions.refused", f"soap_actions.{path}")
    assert REFUSALS[reason].requirement == "SUP-WSUS"


def test_what_is_for_others_is_refused_by_name(ask: Ask, actions: SoapTable) -> None:
    for operation, why in actions.refused.items():
        action = f"{NAMESPACES[REPORTING]}/{operation}"
        answer = ask(REPORTING, body_of(action), *in_1_1(action))
        assert refusal(answer) == (Reason.SOAP_ACTION, "soap_actions.refused")
        assert isinstance(answer, Deny)
        assert why in answer.detail


@pytest.mark.parametrize(("path", "operation"), EACH)
def test_an_operation_of_another_service_is_refused(ask: Ask, path: str, operation: str) -> None:
    action = f"{NAMESPACES[path]}/{operation}"
    for other in ASKED.keys() - {path}:
        answer = ask(other, body_of(action), *in_1_1(action))
        assert refusal(answer) == (Reason.SOAP_ACTION, f"soap_actions.{other}")


CONFIG = f"{NAMESPACES[CLIENT]}/GetConfig"
COOKIE = f"{NAMESPACES[CLIENT]}/GetCookie"


@pytest.mark.parametrize(
    ("said", "meant"),
    [(CONFIG, COOKIE), (COOKIE, CONFIG), (CONFIG, "urn:a/GetConfig"), ("", CONFIG)],
)
def test_a_head_that_says_other_than_the_body_is_refused(ask: Ask, said: str, meant: str) -> None:
    answer = ask(CLIENT, body_of(meant), *in_1_1(said))
    assert refusal(answer) == (Reason.SOAP_ACTION, "soap_actions.agreement")


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (("Content-Type: text/xml",), Reason.SOAP_ACTION),
        (("Content-Type: text/xml", f"SOAPAction: {CONFIG}"), Reason.SOAP_ACTION),
        ((*in_1_1(CONFIG), f'SOAPAction: "{CONFIG}"'), Reason.SOAP_ACTION),
        (("Content-Type: application/soap+xml", f'SOAPAction: "{CONFIG}"'), Reason.SOAP_ACTION),
        ((f'Content-Type: application/soap+xml; action="{CONFIG}"',), Reason.SOAP_ENVELOPE),
        ((f'Content-Type: text/xml; action="{CONFIG}"',), Reason.MEDIA_TYPE),
        (("Content-Type: text/xml; charset=utf-16", in_1_1(CONFIG)[1]), Reason.MEDIA_TYPE),
    ],
)
def test_a_head_that_is_not_that_of_a_soap_request_is_refused(
    ask: Ask, lines: tuple[str, ...], reason: Reason
) -> None:
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
def test_a_body_that_is_not_that_of_a_soap_request_is_refused(
    ask: Ask, body: bytes, reason: Reason
) -> None:
    assert refusal(ask(CLIENT, body, *in_1_1(CONFIG)))[0] is reason


def test_soap_at_a_path_that_is_no_service_is_refused(actions: SoapTable, table: RoleTable) -> None:
    # As where a policy publishes a path more.
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


def test_soap_that_takes_its_time_is_looked_at_elsewhere(
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


def test_what_is_asked_and_where_tell_subjects_apart(table: RoleTable) -> None:
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
def test_a_broken_table_is_a_defect(change: Callable[[dict[str, Any]], object]) -> None:
    data = copy.deepcopy(SOURCE)
    assert read_soap_table(data).services
    change(data)
    with pytest.raises((KeyError, ValueError, TypeError)):
        read_soap_table(data)


def test_a_table_is_known_by_all_that_is_in_it(actions: SoapTable) -> None:
    other = copy.deepcopy(SOURCE)
    other["services"][CLIENT]["operations"].append("x")
    third = copy.deepcopy(SOURCE)
    third["refused"] = []
    tables = [actions, read_soap_table(other), read_soap_table(third)]
    assert len({table.fingerprint() for table in tables}) == 3
    assert read_soap_table(SOURCE).fingerprint() == actions.fingerprint()
