"""How a client was installed (CLIENT-MODE)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ibcm_bridge.lab.simulated.failure import Failure
from ibcm_bridge.lab.simulated.known_site_systems import KnownSiteSystems

SECONDARY_SITES = frozenset(["SEC"])
"""The codes of secondary sites, which clients cannot be assigned to."""


class Mode(StrEnum):
    """The networks in which a client is managed."""

    INTRANET_ONLY = "intranet-only"
    INTERNET_ONLY = "internet-only"
    BOTH = "both"


class NotInstallable(ValueError):
    """A combination of options that CLIENT-MODE or ROLE-PRIMARY excludes."""

    def __init__(self, failure: Failure, text: str = "") -> None:
        super().__init__(text or failure.value)
        self.failure = failure


@dataclass(frozen=True)
class Installation:
    """The options of an installation. NotInstallable for a combination that is excluded."""

    mode: Mode
    knows: KnownSiteSystems
    """The site systems in the installation options."""
    in_domain: bool = True
    is_mobile: bool = False
    """True for a legacy mobile device: it presents a user certificate, and uses no web proxy."""
    site: str = "LAB"
    """The code of its site, which the installation names (NO-SITE-ASSIGNMENT)."""

    def __post_init__(self) -> None:
        internet_only = self.mode is Mode.INTERNET_ONLY
        if self.is_mobile and not internet_only:
            raise NotInstallable(Failure.MOBILE_DEVICE)
        if not self.in_domain and not internet_only:
            raise NotInstallable(Failure.WORKGROUP)
        if self.site in SECONDARY_SITES:
            text = f"{self.site} is a secondary site; {Failure.SECONDARY_SITE}"
            raise NotInstallable(Failure.SECONDARY_SITE, text)
        if internet_only and not self.knows.internet_management_points:
            raise NotInstallable(Failure.NO_INTERNET_NAME)

    @property
    def flag(self) -> int:
        """InternetFlag of the registration (protocol.md 3.1)."""
        if self.mode is Mode.INTERNET_ONLY:
            return 2
        if self.mode is Mode.INTRANET_ONLY:
            return 0
        return int(bool(self.knows.internet_management_points))
