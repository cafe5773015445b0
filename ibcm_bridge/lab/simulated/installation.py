"""How a client was installed (CLIENT-MODE)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ibcm_bridge.lab.simulated.known_site_systems import KnownSiteSystems

SECONDARY_SITES = frozenset(["SEC"])
"""The codes of secondary sites, which clients cannot be assigned to."""


class Mode(StrEnum):
    """The networks in which a client is managed."""

    INTRANET_ONLY = "intranet-only"
    INTERNET_ONLY = "internet-only"
    BOTH = "both"


@dataclass(frozen=True)
class Installation:
    """The options of an installation. ValueError for a combination that CLIENT-MODE excludes."""

    mode: Mode
    knows: KnownSiteSystems
    """The site systems in the installation options."""
    in_domain: bool = True
    site: str = "LAB"
    """The code of its site, which the installation names (NO-SITE-ASSIGNMENT)."""

    def __post_init__(self) -> None:
        if not self.in_domain and self.mode is not Mode.INTERNET_ONLY:
            raise ValueError("a workgroup computer must be Internet-only")
        if self.site in SECONDARY_SITES:
            raise ValueError(f"{self.site} is a secondary site; a client needs a primary site")
        if self.mode is Mode.INTERNET_ONLY and not self.knows.internet_management_points:
            raise ValueError("an Internet-only client needs an Internet management point")

    @property
    def flag(self) -> int:
        """InternetFlag of the registration (protocol.md 3.1)."""
        if self.mode is Mode.INTERNET_ONLY:
            return 2
        if self.mode is Mode.INTRANET_ONLY:
            return 0
        return int(bool(self.knows.internet_management_points))
