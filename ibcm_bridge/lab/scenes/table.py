"""All scenes."""

from __future__ import annotations

from collections.abc import Mapping

from ibcm_bridge.lab.scenes.clients import CLIENTS
from ibcm_bridge.lab.scenes.cloud import CLOUD_SCENES
from ibcm_bridge.lab.scenes.inside_outside import INSIDE_OUTSIDE
from ibcm_bridge.lab.scenes.name_resolution import NAME_RESOLUTION
from ibcm_bridge.lab.scenes.scene import Scene
from ibcm_bridge.lab.scenes.site_server import SITE_SERVER
from ibcm_bridge.lab.scenes.sites import SITES
from ibcm_bridge.lab.scenes.users import USERS
from ibcm_bridge.lab.scenes.usual import USUAL_SCENES
from ibcm_bridge.lab.scenes.web_proxy import WEB_PROXY

SCENES: Mapping[str, Scene] = {
    scene.name: scene
    for scene in (
        *USUAL_SCENES,
        *INSIDE_OUTSIDE,
        *SITE_SERVER,
        *CLIENTS,
        *WEB_PROXY,
        *USERS,
        *NAME_RESOLUTION,
        *SITES,
        *CLOUD_SCENES,
    )
}
