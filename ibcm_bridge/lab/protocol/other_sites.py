"""Two more sites: their names in replies (protocol.md 3.4).

EUR is a primary site. Of its two site systems for the Internet, one accepts clients of the
Internet only, the other accepts clients of both networks. SEC is a secondary site of LAB.

A site system for the Internet only has no intranet name, and its certificate has only the Internet
name (9.2). The intranet of the lab is within the boundaries of LAB: a client of EUR that is there
roams, so its management point names the distribution point of LAB.
"""

from __future__ import annotations

from ibcm_bridge.lab.protocol.reply_documents import INTRANET, Names, SiteNames

INTERNET_ONLY = "eur1.internet.example"
"""The Internet name of the site system for the Internet only."""

BOTH = "eur2.internet.example"
BOTH_INSIDE = "eur-mp.corp.example"
"""The names of the site system for both networks."""

SECOND_PUBLISHED = (INTERNET_ONLY, BOTH)

CLOUD = "cloud.internet.example"
"""The cloud distribution point of EUR. It is not a site system, and not published."""

CLOUD_PACKAGE = "EUR00002"
"""The content that only the cloud distribution point of EUR has."""

EUR = SiteNames(
    Names(
        SECOND_PUBLISHED,
        SECOND_PUBLISHED,
        "",
        (("", INTERNET_ONLY), ("", BOTH)),
        "EUR",
        "EUR",
    ),
    Names(
        (BOTH_INSIDE,),
        INTRANET.distribution_points,
        "",
        ((BOTH_INSIDE, BOTH), ("", INTERNET_ONLY)),
        "EUR",
        "EUR",
    ),
)

SECONDARY = "sec-mp.corp.example"

SEC = SiteNames(
    Names((), (), "", (), "SEC", "LAB"),
    Names((SECONDARY,), INTRANET.distribution_points, "", ((SECONDARY, ""),), "SEC", "LAB"),
)
"""ROLE-PRIMARY: a secondary site has no names for clients on the Internet."""
