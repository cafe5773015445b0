"""The body of a PROPFIND: allowed properties, in the form of RFC 4918."""

from __future__ import annotations

import pytest

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.messages.limits import MAX_PROPFIND_ELEMENTS
from ibcm_bridge.messages.propfind import read_propfind
from ibcm_bridge.policy.roles import RoleTable

CLIENTS = (
    '<?xml version="1.0"?><a:propfind xmlns:a="DAV:"><a:prop><a:iscollection/>'
    "<a:getcontentlength/></a:prop></a:propfind>"
)


@pytest.fixture(scope="module")
def properties(table: RoleTable) -> frozenset[str]:
    return table.bodies["webdav"].properties


def dav(inner: str) -> str:
    return f'<propfind xmlns="DAV:">{inner}</propfind>'


@pytest.mark.parametrize(
    "text", [CLIENTS, dav("<allprop/>"), dav("<propname/>"), dav("<prop/>"), dav("<prop> </prop>")]
)
def test_the_requests_of_clients_are_allowed(properties: frozenset[str], text: str) -> None:
    assert isinstance(read_propfind(text, "here", properties), str)


def test_each_listed_property_is_allowed(properties: frozenset[str]) -> None:
    assert {"iscollection", "getcontentlength"} < properties
    for name in properties:
        assert read_propfind(dav(f"<prop><{name}/></prop>"), "here", properties) == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (dav(""), "none of"),
        ("<propfind><allprop/></propfind>", "the root element is not"),
        ('<propertyupdate xmlns="DAV:"/>', "the root element is not"),
        ('<PROPFIND xmlns="DAV:"><allprop/></PROPFIND>', "the root element is not"),
        (dav("<allprop/><propname/>"), "than one of"),
        (dav("<prop/><prop/>"), "than one of"),
        (dav("<allprop/><include/>"), "than one of"),
        (dav('<prop xmlns="urn:a"/>'), "than one of"),
        (dav("<prop><lockdiscovery/></prop>"), "lockdiscovery is not an allowed property"),
        (dav("<prop><acl/></prop>"), "acl is not an allowed property"),
        (dav('<prop><iscollection xmlns="urn:a"/></prop>'), "is not an allowed property"),
        (
            dav("<prop><iscollection><displayname/></iscollection></prop>"),
            "is not an allowed property",
        ),
        (dav("<allprop><displayname/></allprop>"), "is not an allowed property"),
    ],
)
def test_anything_else_is_refused(properties: frozenset[str], text: str, why: str) -> None:
    denial = read_propfind(text, "here", properties)
    assert isinstance(denial, Deny)
    assert (denial.reason, denial.rule) == (Reason.PROPFIND, "here.propfind")
    assert why in denial.detail


def test_the_parsed_text_has_character_data_and_attributes(properties: frozenset[str]) -> None:
    text = dav("<prop><displayname a='&#98;'>c<!-- -->d</displayname></prop>")
    assert read_propfind(text, "here", properties) == "cdb"


def test_the_number_of_properties_is_limited(properties: frozenset[str]) -> None:
    # propfind and prop are two more elements.
    many = "<displayname/>" * (MAX_PROPFIND_ELEMENTS - 2)
    assert read_propfind(dav(f"<prop>{many}</prop>"), "here", properties) == ""
    denial = read_propfind(dav(f"<prop>{many}<displayname/></prop>"), "here", properties)
    assert isinstance(denial, Deny)
    assert (denial.reason, denial.rule) == (Reason.XML, "here.limits")


def test_a_declaration_of_another_encoding_is_refused(properties: frozenset[str]) -> None:
    for encoding, allowed in (("utf-8", True), ("UTF-8", True), ("utf-16", False)):
        text = f'<?xml version="1.0" encoding="{encoding}"?>{dav("<allprop/>")}'
        assert isinstance(read_propfind(text, "here", properties), str) is allowed
