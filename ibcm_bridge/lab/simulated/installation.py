"""How a client was installed (CLIENT-MODE)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ibcm_bridge.lab.simulated.known_site_systems import KnownSiteSystems


class Mode(StrEnum):
    """Where a client may be managed."""

    INTERNET_ONLY = "internet-only"
    BOTH = "both"


@dataclass(frozen=True)
class Installation:
    """What was chosen; ValueError for what CLIENT-MODE rules out."""

    mode: Mode
    knows: KnownSiteSystems
    """The site systems it was given."""
    in_domain: bool = True

    def __post_init__(self) -> None:
        if not self.in_domain and self.mode is not Mode.INTERNET_ONLY:
            raise ValueError("a computer of a workgroup is Internet-only")
        if self.mode is Mode.INTERNET_ONLY and not self.knows.internet_management_points:
            raise ValueError("an Internet-only client needs a management point of the Internet")

    @property
    def flag(self) -> int:
        """InternetFlag, which its registration tells the site (protocol.md 3.1)."""
        if self.mode is Mode.INTERNET_ONLY:
            return 2
        return int(bool(self.knows.internet_management_points))
