"""The server name selects the publication, and the directory selects the role."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.policy.publications import (
    BridgePublication,
    Listener,
    Publication,
    PublishedRole,
    TunnelPublication,
)
from ibcm_bridge.policy.roles import RoleTable
from ibcm_bridge.request.resources import published_role
from ibcm_bridge.request.target import RequestTarget, read_request_target
from ibcm_bridge.routing.client_hello import ClientHelloFacts
from ibcm_bridge.routing.publication import route

TUNNEL = TunnelPublication("mp-tunnel.internet.example", 443, (("192.0.2.1", 443),), ())


@pytest.fixture(scope="module")
def listener(publication: BridgePublication) -> Listener:
    names: dict[str, Publication] = {publication.name: publication, TUNNEL.name: TUNNEL}
    return Listener(("192.0.2.9", 443), names)


@pytest.mark.parametrize("name", ["bridge.internet.example", "Bridge.INTERNET.example"])
def test_a_server_name_in_any_case_selects_its_publication(
    listener: Listener, publication: BridgePublication, name: str
) -> None:
    assert route(listener, ClientHelloFacts(name)) is publication


def test_a_tunneled_name_selects_the_tunnel(listener: Listener) -> None:
    assert route(listener, ClientHelloFacts("mp-tunnel.internet.example")) is TUNNEL


@pytest.mark.parametrize(
    "name",
    [
        None,
        "",
        "other.internet.example",
        "internet.example",
        "x.bridge.internet.example",
        "bridge.internet.example.",
        "bridge.internet.example\0",
        " bridge.internet.example",
        "bridge.internet.example.evil.example",
        "*.internet.example",
        "192.0.2.9",
    ],
)
def test_any_other_server_name_or_none_is_refused(listener: Listener, name: str | None) -> None:
    denial = route(listener, ClientHelloFacts(name))
    assert isinstance(denial, Deny)
    assert denial.reason is Reason.UNKNOWN_NAME


def test_a_long_server_name_is_truncated_in_the_detail(listener: Listener) -> None:
    denial = route(listener, ClientHelloFacts("x" * 60_000))
    assert isinstance(denial, Deny)
    assert len(denial.detail) < 400


def role_of(publication: BridgePublication, table: RoleTable, raw: str) -> PublishedRole | Deny:
    target = read_request_target(raw.encode())
    assert isinstance(target, RequestTarget), target
    return published_role(publication, target, table.never)


@pytest.mark.parametrize(
    ("target", "role", "site_system"),
    [
        ("/ccm_system/request", "management-point", "mp01.corp.example"),
        ("/CCM_SYSTEM/request", "management-point", "mp01.corp.example"),
        ("/SMS_MP/.sms_aut?MPLIST", "management-point", "mp01.corp.example"),
        ("/sms_mp", "management-point", "mp01.corp.example"),
        ("/CCM_Incoming/x.msg", "management-point", "mp01.corp.example"),
        ("/SMS_DP_SMSPKG$/x", "distribution-point", "dp01.corp.example"),
        ("/sms_dp_smssig%24/x.1.tar", "distribution-point", "dp01.corp.example"),
    ],
)
def test_the_first_segment_selects_the_role_and_the_site_system(
    publication: BridgePublication, table: RoleTable, target: str, role: str, site_system: str
) -> None:
    found = role_of(publication, table, target)
    assert isinstance(found, PublishedRole)
    assert (found.profile.name, found.site_systems.first.name) == (role, site_system)


@pytest.mark.parametrize(
    "target",
    [
        "/ccm_system_altauth/request",
        "/CCM_System_AltAuth/request",
        "/ccm_system_tokenauth/request",
        "/SMS_MP_AltAuth/.sms_pol?x",
        "/SMS_MP_TokenAuth/.sms_pol?x",
        "/NOCERT_SMS_DP_SMSPKG$/x",
        "/nocert_sms_dp_smssig%24/x",
        "/CCMTOKENAUTH_SMS_DP_SMSPKG$/x",
        "/CCMTOKENAUTH_SMS_DP_SMSSIG$/x",
        "/CCM_STS",
    ],
)
def test_a_directory_that_requires_no_certificate_has_its_own_reason(
    publication: BridgePublication, table: RoleTable, target: str
) -> None:
    denial = role_of(publication, table, target)
    assert isinstance(denial, Deny)
    assert denial.reason is Reason.BYPASS_DIRECTORY


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/ccm_systemx/request",
        "/ccm/request",
        "/x/ccm_system/request",
        "/SMS_DP_SMSPKG/x",
        "/SMS_DP_SMSPKG$x/x",
        "/CCM_Client/ccmsetup.exe",
        "/CMUserService/x",
        "/bgb/handler.ashx",
        "/SMS_FSP/.sms_fsp",
        "/certsrv/mscep/mscep.dll",
    ],
)
def test_a_directory_of_no_published_role_is_refused(
    publication: BridgePublication, table: RoleTable, target: str
) -> None:
    denial = role_of(publication, table, target)
    assert isinstance(denial, Deny)
    assert denial.reason is Reason.DIRECTORY


def test_a_bypass_directory_is_refused_even_if_a_publication_has_it(
    publication: BridgePublication, table: RoleTable
) -> None:
    closed = replace(table.never, directories=table.never.directories | {"sms_mp"})
    denial = published_role(publication, RequestTarget(("SMS_MP",), None), closed)
    assert isinstance(denial, Deny)
    assert denial.reason is Reason.BYPASS_DIRECTORY
