"""The site systems that a client knows, from its installation and from replies.

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
    """Names and URLs of site systems."""

    intranet_management_points: tuple[str, ...] = ()
    internet_management_points: tuple[str, ...] = ()
    fallback_status_point: str = ""
    content: tuple[str, ...] = ()
    """URLs of the last requested content, one for each distribution point."""
    content_token: str = ""
    """The token for content in the cloud."""
    update_point: str = ""
    """URL of the software update point."""
    uploads: str = ""
    """Name of the management point for uploads."""

    def updated_by(self, reply: Response) -> KnownSiteSystems:
        """Return these site systems, updated by a reply of a management point."""
        text = document(reply)
        root = ET.fromstring(text) if text.startswith("<") else ET.Element("nothing")
        update = _UPDATES.get(root.tag)
        return update(self, root) if update else self

    def for_another_network(self) -> KnownSiteSystems:
        """Return the site systems that stay valid in another network."""
        return replace(self, content=(), content_token="", update_point="", uploads="")


def _management_points(known: KnownSiteSystems, reply: ET.Element) -> KnownSiteSystems:
    """3.4. A client that receives an Internet name becomes Internet-capable (CLIENT-MODE)."""
    internet = tuple(element.get("Value", "") for element in reply.iter("InternetName"))
    intranet = tuple(element.get("Value", "") for element in reply.iter("IntranetName"))
    return replace(
        known,
        internet_management_points=internet or known.internet_management_points,
        intranet_management_points=intranet or known.intranet_management_points,
    )


def _content(known: KnownSiteSystems, reply: ET.Element) -> KnownSiteSystems:
    """3.4."""
    urls = list(reply.iter("URL"))
    return replace(
        known,
        content=tuple(url.get("Name", "") for url in urls),
        content_token=next((url.get("Token", "") for url in urls), ""),
    )


def _update_point(known: KnownSiteSystems, reply: ET.Element) -> KnownSiteSystems:
    """3.4."""
    found = reply.find(".//LocationRecord[@WSUSURL]")
    return known if found is None else replace(known, update_point=found.get("WSUSURL", ""))


def _uploads(known: KnownSiteSystems, reply: ET.Element) -> KnownSiteSystems:
    """3.6."""
    return replace(known, uploads=reply.findtext("Host", ""))


_UPDATES: dict[str, Callable[[KnownSiteSystems, ET.Element], KnownSiteSystems]] = {
    "EnumerateMPLocationReply": _management_points,
    "ContentLocationReply": _content,
    "WSUSLocationReply": _update_point,
    "UploadReply": _uploads,
}
"""Root element of the reply -> update."""
