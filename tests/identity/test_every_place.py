"""Every place of a client GUID in a message: another client's is refused, the client's own passes.

The places of the shipped table are covered, and all client GUIDs in all documents of the lab.
"""

from __future__ import annotations

import inspect as python
import re
from collections.abc import Callable, Iterator
from itertools import chain

import pytest

from ibcm_bridge.audit.record import approved_fields
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.identity.approval import Approved, approve
from ibcm_bridge.identity.bindings import Binding, Source
from ibcm_bridge.inspection.verdict import Inspected
from ibcm_bridge.lab.protocol import ccm, documents
from ibcm_bridge.lab.protocol.xml_style import STYLES
from ibcm_bridge.messages.guid_places import GuidPlace, GuidUse
from ibcm_bridge.policy.endpoints import EndpointTable
from ibcm_bridge.policy.message_policy import Enforcement, MessagePolicy
from ibcm_bridge.policy.roles import RoleTable
from tests.identity.conftest import GUID, NOW, OTHER, Computer

Judge = Callable[..., Approved | Deny]
"""Decide on a message: document, endpoint, and `enforce`, `attached` or `guid` of the header."""

ENFORCE = MessagePolicy(identity=Enforcement.ENFORCE)
OBSERVE = MessagePolicy(identity=Enforcement.OBSERVE)


@pytest.fixture(scope="module")
def judge(send: Callable[..., Inspected], computer: Computer, stranger: Computer) -> Judge:
    """`GUID` is bound to the client, `OTHER` to another one."""
    bindings = {
        guid: Binding(guid, Source.REGISTRATION, NOW, owner.client.certificate.key_sha256)
        for guid, owner in ((GUID, computer), (OTHER, stranger))
    }

    def run(
        xml: str, endpoint: str, *, enforce: bool = True, attached: str = "", guid: str = GUID
    ) -> Approved | Deny:
        body = ccm.ccm_post_body(
            endpoint=endpoint, body_xml=xml, client_guid=guid, attached=attached
        )
        terms = ENFORCE if enforce else OBSERVE
        return approve(send(body), computer.client, bindings.get, terms, NOW)

    return run


@pytest.fixture(scope="module")
def messages(table: RoleTable) -> EndpointTable:
    found = table.bodies["ccm-message"].messages
    assert found is not None
    return found


def passes(result: Approved | Deny) -> None:
    assert isinstance(result, Approved), result
    observed = {deny.reason for deny in result.observed}
    assert observed <= {Reason.SIGNATURE_MISSING, Reason.SIGNATURE_FORGED}, result.observed
    assert (result.identity.guid, result.identity.names_another) == (GUID, ())


def is_of_another(judge: Judge, xml: str, endpoint: str, attached: str = "") -> None:
    """The message is refused if `identity` is enforced, and otherwise at identifying places."""
    denial = judge(xml, endpoint, attached=attached)
    assert isinstance(denial, Deny), xml
    assert (denial.reason, denial.rule) == (Reason.IDENTITY_AMBIGUOUS, "identity.payload")
    assert OTHER in denial.detail
    observed = judge(xml, endpoint, enforce=False, attached=attached)
    if isinstance(observed, Deny):
        assert observed.reason is Reason.IDENTITY_AMBIGUOUS
        assert any(place in observed.detail for place in ("Machine/ClientID", "Data/SMSID"))
        return
    assert denial in observed.observed
    # Nothing is learned from it.
    assert (observed.identity.guid, observed.identity.binding_status) == ("", None)


# The documents of the lab

Documents = dict[str, list[tuple[str, str, str]]]
"""Function of `documents` -> endpoint, document, and the attached document, for each message."""


@pytest.fixture(scope="module")
def lab_documents(computer: Computer) -> Documents:
    registration = documents.registration_request(
        computer.credential.certificate, computer.key, fqdn="pc1.corp.example", client_guid=GUID
    )
    header, body = documents.heartbeat(GUID, name="PC1")
    locations = ("ContentLocationRequest", "WSUSLocationRequest", "EnumerateMPLocationRequest")
    return {
        "registration_request": [("MP_ClientRegistration", registration, "")],
        "policy_request": [("MP_PolicyManager", documents.policy_request(GUID), "")],
        "location_request": [
            ("MP_LocationManager", documents.location_request(root), "")
            for root in (*locations, "SiteInformationRequest")
        ],
        "inventory_report": [("MP_HinvEndpoint", documents.inventory_report(GUID), "")],
        "software_inventory": [("MP_SinvEndpoint", documents.software_inventory(GUID), "")],
        "heartbeat": [("MP_DdrEndpoint", body, header)],
        "state_report": [("MP_RelayEndpoint", documents.state_report(GUID), "")],
        "status_message": [("StatusReceiver", documents.status_message(GUID), "")],
        "application_state": [("MP_AppStateManager", documents.application_state(), "")],
        "upload_request": [
            (endpoint, documents.upload_request(), "")
            for endpoint in ("MP_DdrEndpoint", "MP_HinvEndpoint", "StatusReceiver")
        ],
    }


WITHOUT_GUID = {"location_request", "application_state", "upload_request"}
NOT_A_MESSAGE = {"fallback_report"}
"""A fallback status point has no client certificates (protocol.md §8.1)."""


def test_every_document_of_the_lab_is_covered(lab_documents: Documents) -> None:
    written = {
        name
        for name, function in vars(documents).items()
        if python.isfunction(function) and function.__module__ == documents.__name__
    }
    assert {name for name in written if name[0] != "_"} == {*lab_documents, *NOT_A_MESSAGE}
    assert {
        name
        for name, found in lab_documents.items()
        if not any(re.search(GUID[5:], "".join(texts), re.IGNORECASE) for texts in found)
    } == WITHOUT_GUID


def test_every_document_of_the_lab_passes_unchanged(judge: Judge, lab_documents: Documents) -> None:
    for endpoint, xml, attached in chain(*lab_documents.values()):
        passes(judge(xml, endpoint, attached=attached))


def with_another(text: str) -> Iterator[str]:
    """The text with another client's GUID instead of the client's, at one place after another."""
    for found in re.finditer(re.escape(GUID), text, re.IGNORECASE):
        yield text[: found.start()] + OTHER + text[found.end() :]


@pytest.mark.parametrize("style", STYLES)
def test_another_clients_guid_at_any_place_of_a_document_of_the_lab_is_refused(
    judge: Judge, lab_documents: Documents, style: str
) -> None:
    changes = 0
    for endpoint, xml, attached in chain(*lab_documents.values()):
        # A reformatted registration is not signed, and that is not what matters here.
        body = STYLES[style].document(xml) if not xml.startswith("<?xml") else xml
        header = STYLES[style].document(attached) if attached else ""
        passes(judge(body, endpoint, attached=header))
        for changed in with_another(body):
            is_of_another(judge, changed, endpoint, header)
            changes += 1
        for changed in with_another(header):
            is_of_another(judge, body, endpoint, changed)
            changes += 1
    # The SMSID and the hint of a registration, the topic of a state message, the header of each of
    # four reports, and one in a policy request and a status message.
    assert changes == 9


# The places of the table


def forms(place: GuidPlace, value: str) -> Iterator[str]:
    """A value at a place: as an element, an attribute and a property, in several spellings."""
    parent, _, name = place.label.rpartition("/")
    for spelling in (name, name.upper(), name.lower(), f"x:{name}"):
        of = f"x:{parent.upper()}" if parent and spelling[1] == ":" else parent
        yield _below(of, f"<{spelling}>{value}</{spelling}>")
        yield _below(of, f"<{spelling}><![CDATA[{value[:9]}]]>{value[9:]}</{spelling}>")
        yield f'<{of or "Any"} {spelling}="{value}"/>'
        if not parent and ":" not in spelling:
            yield f'<Property Name="{spelling}">{value}</Property>'
            yield f'<Property Name="{spelling}" Value="{value}" />'
            yield f'<x:property x:NAME=" {spelling} "><Value>{value}</Value></x:property>'
            yield f"<PROPERTY VALUE='{value}' name='{spelling}'>\n</PROPERTY>"


def _below(parent: str, inner: str) -> str:
    return f"<{parent}>{inner}</{parent}>" if parent else inner


def places(messages: EndpointTable) -> Iterator[tuple[str, str, GuidPlace]]:
    """Endpoint, root and place."""
    for endpoint in messages.endpoints.values():
        for root in sorted(endpoint.roots):
            found = messages.client_guid_places(endpoint.name.lower(), root)
            for place in found.places:
                yield endpoint.name, root, place


def document(root: str, inner: str) -> str:
    return f'<{root} xmlns:x="urn:x"><a>{inner}</a></{root}>'


@pytest.mark.parametrize("use", [GuidUse.OWN, GuidUse.OWN_IN_TEXT])
def test_another_clients_guid_at_any_place_of_the_table_is_refused(
    judge: Judge, messages: EndpointTable, use: GuidUse
) -> None:
    seen = set()
    for endpoint, root, place in places(messages):
        if place.use is use:
            seen.add(place.label)
            for mine, of_other in zip(forms(place, GUID), forms(place, OTHER), strict=True):
                passes(judge(document(root, mine), endpoint))
                is_of_another(judge, document(root, of_other), endpoint)
    assert (
        seen
        == {
            GuidUse.OWN: {
                "ClientID",
                "SMSID",
                "SMSUniqueIdentifier",
                "Machine/ClientID",
                "Data/SMSID",
            },
            GuidUse.OWN_IN_TEXT: {"Topic/ID", "CCM_Client/ClientID", "RegistrationHint"},
        }[use]
    )


def test_a_malformed_client_guid_is_refused_even_if_identity_is_observed(
    judge: Judge, messages: EndpointTable
) -> None:
    # CVE-2024-43468: SQL after GUID: (protocol.md §2.3).
    for endpoint, root, place in places(messages):
        if place.use is GuidUse.OWN:
            for form in forms(place, f"{GUID}) OR 1=1 --"):
                for enforce in (True, False):
                    denial = judge(document(root, form), endpoint, enforce=enforce)
                    assert isinstance(denial, Deny)
                    assert denial.reason is Reason.IDENTITY_MALFORMED
                    assert "OR 1" not in denial.detail


def test_a_previous_client_guid_may_be_another_and_is_not_audited(
    judge: Judge, messages: EndpointTable
) -> None:
    seen = set()
    for endpoint, root, place in places(messages):
        if place.use is GuidUse.OTHER:
            seen.add(place.label)
            for form in forms(place, OTHER):
                passes(judge(document(root, form), endpoint))
    assert seen == {"PreviousClientID", "PreviousSMSUUID"}


def test_a_message_that_the_policy_adds_has_the_places_of_all(messages: EndpointTable) -> None:
    added = messages.with_message("MP_New", "Anything")
    assert added.client_guid_places("mp_new", "anything") == messages.client_guids
    assert {place.label for place in messages.client_guids.places} >= {"ClientID", "SMSID"}


def test_a_token_in_the_header_must_have_the_clients_guid(
    send: Callable[..., Inspected], computer: Computer
) -> None:
    # protocol.md §1.5: lines of text.

    def ask(guid: str) -> Approved | Deny:
        token = f"ClientToken:{guid};2026-01-01T00:00:00Z;2\r\nClientTokenSignature:00"
        hook = f'<Hook2 Name="clientauth"><Property Name="Token">{token}</Property></Hook2>'
        xml = documents.location_request()
        body = ccm.ccm_post_body(endpoint="MP_LocationManager", body_xml=xml, client_guid=GUID)
        hooked = body.replace("<Hooks>".encode("utf-16-le"), f"<Hooks>{hook}".encode("utf-16-le"))
        return approve(send(hooked), computer.client, {}.get, ENFORCE, NOW)

    assert isinstance(ask(GUID), Approved)
    denial = ask(OTHER)
    assert isinstance(denial, Deny)
    assert (denial.reason, denial.rule) == (Reason.IDENTITY_AMBIGUOUS, "identity.Token")


# Places where a GUID is not the sender's


BARE = OTHER.removeprefix("GUID:")
INSTANCE = (
    '<Instance ParentClass="{0}" Class="{0}" Namespace="root\\cimv2" Content="New"><{0}>{1}</{0}>'
    "</Instance>"
)
LEGITIMATE = {
    # protocol.md §3.5: the classes of a heartbeat; the identity of the hardware is not a client's.
    "BIOS GUID": INSTANCE.format("Win32_ComputerSystemProduct", f"<UUID>{BARE}</UUID>"),
    "no previous GUID": INSTANCE.format(
        "CCM_Client", "<PreviousClientId>Unknown</PreviousClientId><ClientId>Unknown</ClientId>"
    ),
    "previous GUID": INSTANCE.format(
        "CCM_Client", f"<PreviousClientId>{OTHER}</PreviousClientId><ClientId>{GUID}</ClientId>"
    ),
    "ClientID of another product": INSTANCE.format(
        "Custom_Registry", f'<ClientID>{BARE}</ClientID><SMSID A="b">x</SMSID>'
    ),
    "client of an application": INSTANCE.format("Custom_App", "<ClientID>app-1 (test)</ClientID>"),
    "many clients of applications": "".join(
        INSTANCE.format("Custom_App", f"<ClientID>app-{number}</ClientID>") for number in range(99)
    ),
    "property of another product": INSTANCE.format(
        "Custom_App", '<Property Name="ClientID" Value="x" />'
    ),
    "topic is an update": f'<StateMessage><Topic ID="{BARE}" Type="500" /></StateMessage>',
    "topics are many": "".join(
        f'<StateMessage><Topic ID="{{{number:08X}{BARE[8:]}}}" Type="501" /></StateMessage>'
        for number in range(99)
    ),
    "topic is a package": '<StateMessage><Topic ID="P010000F" Type="902" /></StateMessage>',
    "parameter": f"<UserParameters><Param>{{{BARE}}}</Param></UserParameters>",
    "empty": "<Machine><ClientID /><SMSID></SMSID></Machine>",
    "bare": f"<Machine><ClientID IDType='0'>{GUID[5:].lower()}</ClientID></Machine>",
}


@pytest.mark.parametrize("name", LEGITIMATE)
@pytest.mark.parametrize("endpoint", ["MP_DdrEndpoint", "MP_HinvEndpoint", "MP_RelayEndpoint"])
def test_a_report_with_guids_of_other_things_passes(judge: Judge, endpoint: str, name: str) -> None:
    report = documents.inventory_report(GUID, rows=1)
    assert "<ReportBody>" in report
    passes(judge(report.replace("<ReportBody>", f"<ReportBody>{LEGITIMATE[name]}"), endpoint))


# Client GUIDs at other places


def mentioned(result: Approved | Deny) -> tuple[str, ...]:
    assert isinstance(result, Approved), result
    assert result.identity.guid == GUID
    found = result.identity.names_another
    assert approved_fields(result)["names_another"] == found
    return found


ELSEWHERE = [
    "<UserParameters><Param>{}</Param></UserParameters>",
    '<a b="x {} y"/>',
    "<StateDetails><![CDATA[<Machine>{}</Machine>]]></StateDetails>",
    "<StateDetails>&lt;ClientID&gt;{}</StateDetails>",
    '<a b="&amp;{}"/>',
    "<Owner>{}</Owner>",
    INSTANCE.format("Custom", "<ClientID>{}</ClientID>"),
]


@pytest.mark.parametrize("text", ELSEWHERE)
@pytest.mark.parametrize("enforce", [True, False])
def test_another_clients_guid_elsewhere_is_audited(judge: Judge, text: str, enforce: bool) -> None:
    report = documents.state_report(GUID)
    for guid, expected in ((OTHER, (OTHER,)), (OTHER.lower(), (OTHER,)), (GUID, ()), (BARE, ())):
        encoded = f"&#{ord(guid[0])};{guid[1:]}" if "&" in text else guid
        changed = report.replace("<ReportBody>", f"<ReportBody>{text.format(encoded)}")
        assert mentioned(judge(changed, "MP_RelayEndpoint", enforce=enforce)) == expected


def test_an_unbound_client_guid_elsewhere_is_not_audited(judge: Judge) -> None:
    unbound = f"{OTHER[:-1]}0"
    report = documents.state_report(GUID).replace("<ReportBody>", f"<ReportBody>{unbound}")
    assert mentioned(judge(report, "MP_RelayEndpoint")) == ()


def test_client_guids_in_the_header_are_audited(
    send: Callable[..., Inspected], computer: Computer, stranger: Computer
) -> None:
    xml, binding = documents.state_report(GUID), bound_to(stranger)
    body = ccm.ccm_post_body(
        endpoint="MP_RelayEndpoint", body_xml=xml, client_guid=GUID, file_type=OTHER
    )
    result = approve(send(body), computer.client, {OTHER: binding}.get, ENFORCE, NOW)
    assert mentioned(result) == (OTHER,)


def bound_to(one: Computer) -> Binding:
    return Binding(OTHER, Source.REGISTRATION, NOW, one.client.certificate.key_sha256)


def test_at_most_16_client_guids_are_looked_up(
    send: Callable[..., Inspected], computer: Computer, stranger: Computer
) -> None:
    found = [f"GUID:{number:08X}{OTHER[13:]}" for number in range(100)]
    xml = documents.state_report(GUID).replace("<ReportBody>", f"<ReportBody>{' '.join(found)}")
    body = ccm.ccm_post_body(endpoint="MP_RelayEndpoint", body_xml=xml, client_guid=GUID)
    looked_up = []

    def find(guid: str) -> Binding:
        looked_up.append(guid)
        return bound_to(stranger if guid != GUID else computer)

    assert mentioned(approve(send(body), computer.client, find, ENFORCE, NOW)) == tuple(found[:16])
    assert looked_up == [GUID, *found[:16]]
