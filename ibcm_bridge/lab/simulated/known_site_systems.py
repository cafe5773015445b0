"""What a client knows of site systems: what its installation told it, and what answers add.

Section numbers are those of protocol.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from xml.etree import ElementTree as ET

from ibcm_bridge.lab.clients.life_cycle import document
from ibcm_bridge.lab.protocol.client import Response


@dataclass(frozen=True)
class KnownSiteSystems:
    """Names, and URLs."""

    intranet_management_points: tuple[str, ...] = ()
    internet_management_points: tuple[str, ...] = ()
    fallback_status_point: str = ""
    content: tuple[str, ...] = ()
    """URLs of what was asked for last, one for each distribution point."""
    update_point: str = ""
    """URL."""
    uploads: str = ""
    """Name of where reports are uploaded to."""

    def updated_by(self, reply: Response) -> KnownSiteSystems:
        """The same and what an answer of a management point adds."""
        text = document(reply)
        root = ET.fromstring(text) if text.startswith("<") else ET.Element("nothing")
        learns = _LEARNS.get(root.tag)
        return learns(self, root) if learns else self

    def for_another_network(self) -> KnownSiteSystems:
        """What is still good in another network."""
        return replace(self, content=(), update_point="", uploads="")


def _management_points(known: KnownSiteSystems, reply: ET.Element) -> KnownSiteSystems:
    """3.4. Who is told a name of the Internet can go there from now on (CLIENT-MODE)."""
    internet = tuple(element.get("Value", "") for element in reply.iter("InternetName"))
    intranet = tuple(element.get("Value", "") for element in reply.iter("IntranetName"))
    return replace(
        known,
        internet_management_points=internet or known.internet_management_points,
        intranet_management_points=intranet or known.intranet_management_points,
    )


def _content(known: KnownSiteSystems, reply: ET.Element) -> KnownSiteSystems:
    """3.4."""
    return replace(known, content=tuple(element.get("Name", "") for element in reply.iter("URL")))


def _update_point(known: KnownSiteSystems, reply: ET.Element) -> KnownSiteSystems:
    """3.4."""
    found = reply.find(".//LocationRecord[@WSUSURL]")
    return known if found is None else replace(known, update_point=found.get("WSUSURL", ""))


def _uploads(known: KnownSiteSystems, reply: ET.Element) -> KnownSiteSystems:
    """3.6."""
    return replace(known, uploads=reply.findtext("Host", ""))


_LEARNS: dict[str, Callable[[KnownSiteSystems, ET.Element], KnownSiteSystems]] = {
    "EnumerateMPLocationReply": _management_points,
    "ContentLocationReply": _content,
    "WSUSLocationReply": _update_point,
    "UploadReply": _uploads,
}
"""By the root of the answer."""
