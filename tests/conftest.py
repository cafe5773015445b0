"""What many tests need: the shipped role table, a publication, a client that was authenticated.

All of it is immutable and made once: RSA keys are slow to make, and hypothesis wants fixtures that
outlive an example.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import settings

from ibcm_bridge.authorization import authorize
from ibcm_bridge.decisions import Authorized, Deny
from ibcm_bridge.identity import AuthenticatedClient, authenticate, certificate_facts
from ibcm_bridge.lab.pki import LabPki
from ibcm_bridge.policy import (
    BridgePublication,
    Credential,
    PublishedRole,
    SiteSystem,
    Trust,
    UnlistedHeaders,
)
from ibcm_bridge.policy_file import shipped_roles
from ibcm_bridge.request_head import RequestHead, read_request_head
from ibcm_bridge.roles import RoleTable

# No deadline: the first call of a test pays for imports, and the machine may be busy.
settings.register_profile("tests", deadline=None, max_examples=150)
settings.load_profile("tests")

NAME = "bridge.internet.example"


@pytest.fixture(scope="session")
def pki() -> LabPki:
    return LabPki.make(now=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture(scope="session")
def table() -> RoleTable:
    return shipped_roles()


@pytest.fixture(scope="session")
def publication(table: RoleTable) -> BridgePublication:
    """The management point and the distribution point under one name, as bridge.yaml has it."""
    return _publication(table, UnlistedHeaders.DROP)


@pytest.fixture(scope="session")
def strict_publication(table: RoleTable) -> BridgePublication:
    """The same, refusing header fields that are not listed."""
    return _publication(table, UnlistedHeaders.REFUSE)


@pytest.fixture(scope="session")
def client(pki: LabPki, publication: BridgePublication) -> AuthenticatedClient:
    facts = certificate_facts(pki.computer("pc1.corp.example").certificate)
    authenticated = authenticate(publication, facts)
    assert isinstance(authenticated, AuthenticatedClient)
    return authenticated


@pytest.fixture(scope="session")
def decide(
    client: AuthenticatedClient, publication: BridgePublication, table: RoleTable
) -> Callable[[RequestHead], Authorized | Deny]:
    """authorize, for `client` at `publication`."""
    return lambda head: authorize(client, publication, table.never, head)


@pytest.fixture(scope="session")
def decide_strictly(
    client: AuthenticatedClient, strict_publication: BridgePublication, table: RoleTable
) -> Callable[[RequestHead], Authorized | Deny]:
    """authorize, for `client` at `strict_publication`."""
    return lambda head: authorize(client, strict_publication, table.never, head)


@pytest.fixture(scope="session")
def request_head() -> Callable[..., RequestHead]:
    """A well-formed head with a right Host: method, target and more lines."""

    def make(method: str, target: str, *lines: str, host: str | None = NAME) -> RequestHead:
        host_lines = () if host is None else (f"Host: {host}",)
        text = "\r\n".join((f"{method} {target} HTTP/1.1", *host_lines, *lines)) + "\r\n\r\n"
        head = read_request_head(text.encode("latin-1"))
        assert isinstance(head, RequestHead), head
        return head

    return make


def _publication(table: RoleTable, unlisted_headers: UnlistedHeaders) -> BridgePublication:
    site_systems = {
        "management-point": SiteSystem(
            ("192.0.2.1", 443), "mp01.corp.example", "mp01.corp.example"
        ),
        "distribution-point": SiteSystem(
            ("192.0.2.2", 443), "dp01.corp.example", "dp01.corp.example"
        ),
    }
    return BridgePublication(
        name=NAME,
        public_port=443,
        credential=Credential(b"", b""),
        client_trust=Trust((), (), ()),
        certificate_policy=table.roles["management-point"].certificates[0],
        directories={
            directory: PublishedRole(profile, site_systems[profile.name])
            for profile in (
                table.roles[name].without_windows_authentication() for name in site_systems
            )
            for directory in profile.directories
        },
        site_system_credential=Credential(b"", b""),
        site_system_trust=Trust((), (), ()),
        unlisted_headers=unlisted_headers,
        request_head=65_536,
    )
