"""The selected site system, and the known site systems (CLIENT-MODE, CLIENT-PICK)."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from ibcm_bridge.lab.protocol import ccm, reply_documents
from ibcm_bridge.lab.protocol.client import Response
from ibcm_bridge.lab.simulated.failure import Failure, Unreachable
from ibcm_bridge.lab.simulated.installation import Installation, Mode
from ibcm_bridge.lab.simulated.known_site_systems import KnownSiteSystems
from ibcm_bridge.lab.simulated.network import Host
from ibcm_bridge.lab.simulated.site_system_selection import SiteSystemSelection

OUTSIDE = ("mp1.internet.example", "mp2.internet.example", "mp3.internet.example")
INSIDE = ("mp01.corp.example",)
KNOWN = KnownSiteSystems(intranet_management_points=INSIDE, internet_management_points=OUTSIDE)
MESSAGE, FILE = "/ccm_system/request", "/SMS_DP_SMSPKG$/LAB00001/sccm?/a.msi"


class Reached:
    """The reachable names, and the attempts."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)
        self.tried: list[str] = []

    def __call__(self, host: Host) -> Failure | None:
        self.tried.append(host[0])
        return None if host[0] in self.names else Failure.TIMEOUT


def selection(mode: Mode, reached: Reached, seed: int = 1) -> SiteSystemSelection:
    return SiteSystemSelection(mode, Random(seed), reached)


def test_a_client_of_both_networks_tries_the_intranet_first() -> None:
    reached = Reached(*INSIDE, *OUTSIDE)
    assert selection(Mode.BOTH, reached).host(MESSAGE, KNOWN) == (INSIDE[0], 443)
    assert reached.tried == list(INSIDE)


def test_a_client_of_both_networks_falls_back_to_the_internet() -> None:
    reached = Reached(*OUTSIDE)
    name, _ = selection(Mode.BOTH, reached).host(MESSAGE, KNOWN)
    assert name in OUTSIDE
    assert reached.tried[0] == INSIDE[0]


def test_an_internet_only_client_never_tries_the_intranet() -> None:
    reached = Reached(*INSIDE)
    with pytest.raises(Unreachable, match="no management point can be reached"):
        selection(Mode.INTERNET_ONLY, reached).host(MESSAGE, KNOWN)
    assert sorted(reached.tried) == sorted(OUTSIDE)


def test_an_internet_name_is_selected_at_random() -> None:
    """CLIENT-PICK: equally distributed over many clients."""
    found = Counter(
        selection(Mode.INTERNET_ONLY, Reached(*OUTSIDE), seed).host(MESSAGE, KNOWN)[0]
        for seed in range(600)
    )
    assert set(found) == set(OUTSIDE)
    assert min(found.values()) > 150


def test_a_client_keeps_its_selection_until_it_fails() -> None:
    reached = Reached(*OUTSIDE)
    selected = selection(Mode.INTERNET_ONLY, reached)
    first = selected.host(MESSAGE, KNOWN)
    assert all(selected.host(MESSAGE, KNOWN) == first for _ in range(20))
    reached.names.remove(first[0])
    assert selected.host(MESSAGE, KNOWN) == first
    selected.forget(first)
    assert selected.host(MESSAGE, KNOWN)[0] in set(OUTSIDE) - {first[0]}


def test_content_comes_from_its_location() -> None:
    located = KnownSiteSystems(
        internet_management_points=OUTSIDE,
        content=("https://dp1.internet.example/SMS_DP_SMSPKG$/LAB00001",),
    )
    reached = Reached(*OUTSIDE, "dp1.internet.example")
    assert selection(Mode.BOTH, reached).host(FILE, located) == ("dp1.internet.example", 443)
    with pytest.raises(Unreachable, match="no distribution point"):
        selection(Mode.BOTH, reached).host(FILE, KNOWN)


# Known site systems


def reply(xml: str) -> Response:
    body = xml.encode("utf-16-le") + b"\0\0"
    header = ccm.message_header("SccmMessaging", len(body), hooks="")
    message = ccm.raw_message(header, body, inner_type=b"text/plain; charset=UTF-16")
    return Response(200, "OK", (), message)


NOTHING = reply_documents.ET.Element("nothing")


def test_a_client_learns_internet_names_on_the_intranet() -> None:
    """CLIENT-MODE: a client of an Internet-enabled management point becomes Internet-capable."""
    inside = KnownSiteSystems(intranet_management_points=INSIDE)
    updated = inside.updated_by(
        reply(reply_documents.management_points(NOTHING, reply_documents.INTRANET))
    )
    assert updated.internet_management_points == reply_documents.INTERNET.management_points
    assert updated.intranet_management_points == reply_documents.INTRANET.management_points


def test_a_client_keeps_its_intranet_names_on_the_internet() -> None:
    updated = KNOWN.updated_by(
        reply(reply_documents.management_points(NOTHING, reply_documents.INTERNET))
    )
    assert updated.intranet_management_points == INSIDE
    assert updated.internet_management_points == reply_documents.INTERNET.management_points


def test_a_client_learns_the_locations_of_content_updates_and_uploads() -> None:
    updated = KNOWN.updated_by(
        reply(reply_documents.content_location(NOTHING, reply_documents.INTERNET))
    )
    assert [url.split("/")[2] for url in updated.content] == list(reply_documents.PUBLISHED)
    updated = updated.updated_by(
        reply(reply_documents.wsus_location(NOTHING, reply_documents.INTERNET))
    )
    assert updated.update_point == "https://bridge.internet.example:8531"
    updated = updated.updated_by(reply(reply_documents.upload_reply("x", reply_documents.INTRANET)))
    assert updated.uploads == "mp01.corp.example"
    assert updated.for_another_network() == KNOWN


@pytest.mark.parametrize("body", [b"", b"<html>", b"--x\r\n"])
def test_an_invalid_reply_changes_nothing(body: bytes) -> None:
    assert KNOWN.updated_by(Response(200, "OK", (), body)) == KNOWN


# Installation


def test_a_workgroup_computer_must_be_internet_only() -> None:
    assert Installation(Mode.INTERNET_ONLY, KNOWN, in_domain=False).flag == 2
    with pytest.raises(ValueError, match="workgroup"):
        Installation(Mode.BOTH, KNOWN, in_domain=False)


def test_an_internet_only_client_needs_an_internet_name() -> None:
    with pytest.raises(ValueError, match="needs an Internet management point"):
        Installation(Mode.INTERNET_ONLY, KnownSiteSystems(intranet_management_points=INSIDE))


def test_the_flag_is_that_of_the_mode() -> None:
    """protocol.md 3.1, InternetFlag."""
    assert Installation(Mode.BOTH, KNOWN).flag == 1
    assert Installation(Mode.BOTH, KnownSiteSystems(intranet_management_points=INSIDE)).flag == 0


@pytest.mark.parametrize("locations", [("http",), ("https", "http")])
def test_a_content_location_without_https_is_refused(locations: tuple[str, ...]) -> None:
    """Nothing is tried, also if another location has HTTPS."""
    urls = tuple(f"{scheme}://dp{n}.internet.example/x" for n, scheme in enumerate(locations))
    reached = Reached("dp0.internet.example", "dp1.internet.example")
    known = KnownSiteSystems(content=urls)
    with pytest.raises(Unreachable, match="not https://") as refused:
        selection(Mode.INTERNET_ONLY, reached).host(FILE, known)
    assert refused.value.failure is Failure.NOT_HTTPS
    assert reached.tried == []
