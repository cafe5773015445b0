"""Messages that are refused over the Internet, each next to an allowed one (protocol.md §2.4)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.inspection.verdict import Inspected, inspect
from ibcm_bridge.lab.protocol import ccm
from ibcm_bridge.lab.protocol.documents import inventory_report, location_request, policy_request
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.request.head import RequestHead

GUID = "0a1b2c3d-0000-4000-8000-00000000000f"
InspectBody = Callable[[bytes], Inspected | Deny]


@pytest.fixture(scope="module")
def inspect_body(
    decide: Callable[[RequestHead], Authorized | Deny], request_head: Callable[..., RequestHead]
) -> InspectBody:
    def run(body: bytes) -> Inspected | Deny:
        lines = (f"Content-Length: {len(body)}", f"Content-Type: {ccm.CONTENT_TYPE}")
        authorized = decide(request_head("CCM_POST", "/ccm_system/request", *lines))
        assert isinstance(authorized, Authorized)
        return inspect(authorized, body, ())

    return run


def message(endpoint: str, xml: str) -> bytes:
    return ccm.ccm_post_body(endpoint=endpoint, body_xml=xml, client_guid=GUID)


def reply_to(where: str) -> bytes:
    """A plain message with a ReplyTo."""
    xml = "<Report/>"
    payload = xml.encode("utf-16-le") + b"\0\0"
    header = ccm.message_header("MP_HinvEndpoint", len(payload), "", GUID)
    start = header.index("<ReplyTo>") + len("<ReplyTo>")
    header = header[:start] + where + header[header.index("</ReplyTo>") :]
    return ccm.raw_message(header, payload, inner_type=b"text/plain; charset=utf-16")


CLIENT_PACKAGE = location_request("ContentLocationRequest", package="<ClientPackage/>")

REFUSED = [
    ("MP_ClientIdManager", "<ClientIDRequest/>", "NO-OSD"),
    ("mp_clientidmanager", "<ClientIDRequest/>", "NO-OSD"),
    ("MP_DriverManager", "<Anything/>", "NO-OSD"),
    ("MP_OOBMgr", "<Anything/>", "NO-WAKE-ON-LAN"),
    ("MP_TokenManager", "<Anything/>", "BRIDGE-AUTH-COMPUTER"),
    ("MP_LocationManager", location_request("AssignedSiteRequest"), "NO-SITE-ASSIGNMENT"),
    ("MP_LocationManager", location_request("LocalMPLocationRequest"), "NO-SITE-ASSIGNMENT"),
    ("MP_LocationManager", location_request("UpdateSFRequest"), "BRIDGE-INSPECT"),
    ("MP_LocationManager", location_request("TokenServicesRequest"), "BRIDGE-AUTH-COMPUTER"),
    ("MP_LocationManager", CLIENT_PACKAGE, "NO-CLIENT-DEPLOYMENT"),
    # The root element counts, whatever precedes it and in any case.
    ("MP_LocationManager", "<!-- <Report> --><UpdateSFRequest/>", "BRIDGE-INSPECT"),
    ("MP_LocationManager", '<?xml version="1.0"?>\r\n<updatesfrequest />', "BRIDGE-INSPECT"),
    ("MP_LocationManager", '<x:UpdateSFRequest xmlns:x="urn:x"/>', "BRIDGE-INSPECT"),
    # The vulnerable element may be at any place, or only look like an element.
    ("MP_LocationManager", "<R><UpdateSFRequest/></R>", "BRIDGE-INSPECT"),
    ("MP_HinvEndpoint", "<Report><![CDATA[<UpdateSFRequest >]]></Report>", "BRIDGE-INSPECT"),
    # The endpoint does not matter.
    ("MP_HinvEndpoint", "<AssignedSiteRequest/>", "NO-SITE-ASSIGNMENT"),
]


@pytest.mark.parametrize(("endpoint", "xml", "requirement"), REFUSED)
def test_a_message_for_an_intranet_feature_is_refused(
    inspect_body: InspectBody, endpoint: str, xml: str, requirement: str
) -> None:
    denial = inspect_body(message(endpoint, xml))
    assert isinstance(denial, Deny), denial
    assert (denial.reason, denial.requirement) == (Reason.MESSAGE, requirement)
    assert denial.rule == "endpoints.refused"


ALLOWED = [
    ("MP_LocationManager", location_request("ContentLocationRequest")),
    ("MP_LocationManager", location_request("SiteInformationRequest")),
    ("MP_LocationManager", location_request("EnumerateMPLocationRequest")),
    ("MP_LocationManager", location_request("WSUSLocationRequest")),
    ("MP_PolicyManager", policy_request(GUID)),
    ("MP_HinvEndpoint", inventory_report(GUID)),
    # A report that mentions such a message is not one.
    ("MP_HinvEndpoint", "<Report><AssignedSiteRequest/><ClientPackage/></Report>"),
    ("MP_HinvEndpoint", "<Report><!-- <AssignedSiteRequest/> --></Report>"),
]


@pytest.mark.parametrize(("endpoint", "xml"), ALLOWED)
def test_a_message_of_an_internet_client_is_allowed(
    inspect_body: InspectBody, endpoint: str, xml: str
) -> None:
    assert isinstance(inspect_body(message(endpoint, xml)), Inspected)


@pytest.mark.parametrize("where", ["direct:OSD", "direct:osd", "direct:OSD:SccmMessaging"])
def test_a_reply_to_of_boot_media_is_refused(inspect_body: InspectBody, where: str) -> None:
    denial = inspect_body(reply_to(where))
    assert isinstance(denial, Deny)
    assert (denial.reason, denial.requirement) == (Reason.MESSAGE, "NO-OSD")


def test_a_reply_to_of_the_client_itself_is_allowed(inspect_body: InspectBody) -> None:
    assert isinstance(inspect_body(reply_to("direct:PC1:SccmMessaging")), Inspected)


def test_a_second_reply_to_is_refused(inspect_body: InspectBody) -> None:
    """One parser would use the first, another the last."""
    denial = inspect_body(reply_to("direct:PC1:x</ReplyTo><ReplyTo>direct:OSD"))
    assert isinstance(denial, Deny)
    assert denial.reason is Reason.XML


def test_the_second_document_of_a_message_is_checked_too(inspect_body: InspectBody) -> None:
    first, second = "<Report/>".encode("utf-16-le"), "<UpdateSFRequest/>".encode("utf-16-le")
    header = ccm.message_header("MP_LocationManager", len(first), "", GUID)
    attachment = f'<Attachment Type="ByteRange" Offset="{len(first)}" Length="{len(second)}"/>'
    header = header.replace("</Msg>", f"{attachment}</Msg>")
    body = ccm.raw_message(header, first + second, inner_type=b"text/plain; charset=utf-16")
    denial = inspect_body(body)
    assert isinstance(denial, Deny)
    assert denial.reason is Reason.MESSAGE


@pytest.mark.parametrize(
    "endpoint",
    ["mp:MP_ClientIdManager", "[http]MP_ClientIdManager", "MP_ClientIdManager/", "MP_Cl\u200bient"],
)
def test_an_endpoint_that_is_not_a_name_is_refused(
    inspect_body: InspectBody, endpoint: str
) -> None:
    """Another parser could read it as one of those above."""
    denial = inspect_body(message(endpoint, "<Report/>"))
    assert isinstance(denial, Deny)
    assert (denial.reason, denial.rule) == (Reason.XML, "ccm.header.endpoint")
