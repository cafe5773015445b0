"""Every message of the lab's client, and each reply of its site, has a view."""

from __future__ import annotations

import pytest

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.protocol import ccm, documents, reply_documents
from ibcm_bridge.messages.views import Message, render

TYPE = ccm.CONTENT_TYPE.encode()
GUID = "01234567-89ab-cdef-0123-456789abcdef"
SENT = {
    "MP_PolicyManager": documents.policy_request(GUID),
    "MP_LocationManager": documents.location_request("ContentLocationRequest"),
    "MP_HinvEndpoint": documents.inventory_report(GUID),
    "MP_SinvEndpoint": documents.software_inventory(GUID),
    "MP_RelayEndpoint": documents.state_report(GUID),
    "StatusReceiver": documents.status_message(GUID),
    "MP_SinvCollFileEndpoint": documents.upload_request(),
}


@pytest.mark.parametrize("endpoint", SENT)
def test_a_message_of_each_kind_is_shown_completely(endpoint: str) -> None:
    body = ccm.ccm_post_body(endpoint=endpoint, body_xml=SENT[endpoint], client_guid=GUID)
    text = render(Message.REQUEST, TYPE, body)
    assert text.startswith(f"CCM_POST for {endpoint}\n")
    assert "not shown" not in text
    assert "[" not in text
    assert SENT[endpoint].replace("><", ">\n<").splitlines()[-1] == text.splitlines()[-1]


def test_a_heartbeat_has_its_attachments() -> None:
    attached, body_xml = documents.heartbeat(GUID, name="PC1")
    body = ccm.ccm_post_body(
        endpoint="MP_DdrEndpoint", body_xml=body_xml, client_guid=GUID, attached=attached
    )
    text = render(Message.REQUEST, TYPE, body)
    assert text.startswith("CCM_POST for MP_DdrEndpoint\n")
    assert text.count("\n  Attachment  ") == 2
    assert "Document 3 of 3" in text


def test_certificates_and_signature_of_a_registration_are_only_counted(pki: LabPki) -> None:
    computer = pki.computer("pc1.corp.example")
    xml = documents.registration_request(
        computer.certificate, computer.key, fqdn="pc1.corp.example"
    )
    body = ccm.ccm_post_body(endpoint="MP_ClientRegistration", body_xml=xml, client_guid="")
    lines = render(Message.REQUEST, TYPE, body, how_to_see="ask").splitlines()
    assert lines[1] == "3 values are not shown, in [brackets]; ask"
    assert "    <SignatureValue>[256 bytes]</SignatureValue>" in lines


@pytest.mark.parametrize("query", reply_documents.ROOTS)
def test_a_list_and_a_policy_of_the_site_are_shown(query: str) -> None:
    text = render(Message.DOCUMENT, b"text/xml", reply_documents.authority(query))
    assert f"<{reply_documents.ROOTS[query]} Query=" in text


def test_an_error_page_is_recognized() -> None:
    text = render(Message.DOCUMENT, b"text/html", reply_documents.ERROR_PAGE)
    assert text.startswith("Web page instead of a document")
