"""Which site system a client takes, and what it knows of them (CLIENT-MODE, CLIENT-PICK)."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from ibcm_bridge.lab.protocol import ccm, reply_documents
from ibcm_bridge.lab.protocol.client import Response
from ibcm_bridge.lab.simulated.installation import Installation, Mode
from ibcm_bridge.lab.simulated.known_site_systems import KnownSiteSystems
from ibcm_bridge.lab.simulated.network import Host, Unreachable
from ibcm_bridge.lab.simulated.site_system_selection import SiteSystemSelection

OUTSIDE = ("mp1.internet.example", "mp2.internet.example", "mp3.internet.example")
INSIDE = ("mp01.corp.example",)
KNOWN = KnownSiteSystems(intranet_management_points=INSIDE, internet_management_points=OUTSIDE)
MESSAGE, FILE = "/ccm_system/request", "/SMS_DP_SMSPKG$/LAB00001/sccm?/a.msi"


class Reached:
    """What can be reached, and what was tried."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)
        self.tried: list[str] = []

    def __call__(self, host: Host) -> bool:
        self.tried.append(host[0])
        return host[0] in self.names


def picks(mode: Mode, reached: Reached, seed: int = 1) -> SiteSystemSelection:
    return SiteSystemSelection(mode, Random(seed), reached)


def test_one_that_may_be_in_the_intranet_looks_there_first() -> None:
    reached = Reached(*INSIDE, *OUTSIDE)
    assert picks(Mode.BOTH, reached).host(MESSAGE, KNOWN) == (INSIDE[0], 443)
    assert reached.tried == list(INSIDE)


def test_and_on_the_internet_where_it_finds_none_there() -> None:
    reached = Reached(*OUTSIDE)
    name, _ = picks(Mode.BOTH, reached).host(MESSAGE, KNOWN)
    assert name in OUTSIDE
    assert reached.tried[0] == INSIDE[0]


def test_one_that_is_internet_only_never_looks_in_the_intranet() -> None:
    reached = Reached(*INSIDE)
    with pytest.raises(Unreachable, match="no management point can be reached"):
        picks(Mode.INTERNET_ONLY, reached).host(MESSAGE, KNOWN)
    assert sorted(reached.tried) == sorted(OUTSIDE)


def test_of_the_internet_it_picks_any() -> None:
    """CLIENT-PICK: over many clients, each about as often."""
    found = Counter(
        picks(Mode.INTERNET_ONLY, Reached(*OUTSIDE), seed).host(MESSAGE, KNOWN)[0]
        for seed in range(600)
    )
    assert set(found) == set(OUTSIDE)
    assert min(found.values()) > 150


def test_it_stays_with_what_it_picked_until_that_fails() -> None:
    reached = Reached(*OUTSIDE)
    picked = picks(Mode.INTERNET_ONLY, reached)
    first = picked.host(MESSAGE, KNOWN)
    assert all(picked.host(MESSAGE, KNOWN) == first for _ in range(20))
    reached.names.remove(first[0])
    assert picked.host(MESSAGE, KNOWN) == first
    picked.forget(first)
    assert picked.host(MESSAGE, KNOWN)[0] in set(OUTSIDE) - {first[0]}


def test_content_comes_from_where_it_was_located() -> None:
    located = KnownSiteSystems(
        internet_management_points=OUTSIDE,
        content=("https://dp1.internet.example/SMS_DP_SMSPKG$/LAB00001",),
    )
    reached = Reached(*OUTSIDE, "dp1.internet.example")
    assert picks(Mode.BOTH, reached).host(FILE, located) == ("dp1.internet.example", 443)
    with pytest.raises(Unreachable, match="no distribution point"):
        picks(Mode.BOTH, reached).host(FILE, KNOWN)


# What it knows


def reply(xml: str) -> Response:
    body = xml.encode("utf-16-le") + b"\0\0"
    header = ccm.message_header("SccmMessaging", len(body), hooks="")
    message = ccm.raw_message(header, body, inner_type=b"text/plain; charset=UTF-16")
    return Response(200, "OK", (), message)


NOTHING = reply_documents.ET.Element("nothing")


def test_it_learns_names_of_the_internet_in_the_intranet() -> None:
    """CLIENT-MODE: a client of a management point that is on the Internet can go there."""
    inside = KnownSiteSystems(intranet_management_points=INSIDE)
    updated_by = inside.updated_by(
        reply(reply_documents.management_points(NOTHING, reply_documents.INTRANET))
    )
    assert updated_by.internet_management_points == reply_documents.INTERNET.management_points
    assert updated_by.intranet_management_points == reply_documents.INTRANET.management_points


def test_and_on_the_internet_forgets_none_of_the_intranet() -> None:
    updated_by = KNOWN.updated_by(
        reply(reply_documents.management_points(NOTHING, reply_documents.INTERNET))
    )
    assert updated_by.intranet_management_points == INSIDE
    assert updated_by.internet_management_points == reply_documents.INTERNET.management_points


def test_it_learns_where_content_updates_and_uploads_are() -> None:
    updated_by = KNOWN.updated_by(
        reply(reply_documents.content_location(NOTHING, reply_documents.INTERNET))
    )
    assert [url.split("/")[2] for url in updated_by.content] == list(reply_documents.PUBLISHED)
    updated_by = updated_by.updated_by(
        reply(reply_documents.wsus_location(NOTHING, reply_documents.INTERNET))
    )
    assert updated_by.update_point == "https://bridge.internet.example:8531"
    updated_by = updated_by.updated_by(
        reply(reply_documents.upload_reply("x", reply_documents.INTRANET))
    )
    assert updated_by.uploads == "mp01.corp.example"
    assert updated_by.for_another_network() == KNOWN


@pytest.mark.parametrize("body", [b"", b"<html>", b"--x\r\n"])
def test_what_is_no_answer_teaches_nothing(body: bytes) -> None:
    assert KNOWN.updated_by(Response(200, "OK", (), body)) == KNOWN


# How it was installed


def test_a_computer_of_a_workgroup_is_internet_only() -> None:
    assert Installation(Mode.INTERNET_ONLY, KNOWN, in_domain=False).flag == 2
    with pytest.raises(ValueError, match="workgroup"):
        Installation(Mode.BOTH, KNOWN, in_domain=False)


def test_one_that_is_internet_only_was_given_a_name_of_the_internet() -> None:
    with pytest.raises(ValueError, match="needs a management point of the Internet"):
        Installation(Mode.INTERNET_ONLY, KnownSiteSystems(intranet_management_points=INSIDE))


def test_what_it_tells_the_site_of_itself() -> None:
    """protocol.md 3.1, InternetFlag."""
    assert Installation(Mode.BOTH, KNOWN).flag == 1
    assert Installation(Mode.BOTH, KnownSiteSystems(intranet_management_points=INSIDE)).flag == 0
