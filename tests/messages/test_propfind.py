"""What a PROPFIND asks for: known properties, in the form of RFC 4918."""

from __future__ import annotations

import pytest

from ibcm_bridge.decisions.denial import Deny, Reason
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
def test_what_clients_ask_for_passes(properties: frozenset[str], text: str) -> None:
    assert isinstance(read_propfind(text, "here", properties), str)


def test_each_property_that_is_known_may_be_asked_for(properties: frozenset[str]) -> None:
    assert {"iscollection", "getcontentlength"} < properties
    for name in properties:
        assert read_propfind(dav(f"<prop><{name}/></prop>"), "here", properties) == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (dav(""), "does not say"),
        ("<propfind><allprop/></propfind>", "another root"),
        ('<propertyupdate xmlns="DAV:"/>', "another root"),
        ('<PROPFIND xmlns="DAV:"><allprop/></PROPFIND>', "another root"),
        (dav("<allprop/><propname/>"), "not one of"),
        (dav("<prop/><prop/>"), "not one of"),
        (dav("<allprop/><include/>"), "not one of"),
        (dav('<prop xmlns="urn:a"/>'), "not one of"),
        (dav("<prop><lockdiscovery/></prop>"), "lockdiscovery is no property"),
        (dav("<prop><acl/></prop>"), "acl is no property"),
        (dav('<prop><iscollection xmlns="urn:a"/></prop>'), "is no property"),
        (dav("<prop><iscollection><displayname/></iscollection></prop>"), "is no property"),
        (dav("<allprop><displayname/></allprop>"), "is no property"),
    ],
)
def test_what_no_client_asks_for_is_refused(
    properties: frozenset[str], text: str, why: str
) -> None:
    denial = read_propfind(text, "here", properties)
    assert isinstance(denial, Deny)
    assert (denial.reason, denial.rule) == (Reason.PROPFIND, "here.propfind")
    assert why in denial.detail


def test_texts_and_attributes_are_what_a_reader_sees(properties: frozenset[str]) -> None:
    text = dav("<prop><displayname a='&#98;'>c<!-- -->d</displayname></prop>")
    assert read_propfind(text, "here", properties) == "cdb"
