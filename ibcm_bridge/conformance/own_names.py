"""The published names of the proxy, in place of those of the kit: `serve --name ROLE=NAME`.

The kit gets a server certificate for each name, and the replies of the site systems have them.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

from ibcm_bridge.conformance.subject_file import PUBLICATIONS
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.protocol.reply_documents import LAB, SiteNames
from ibcm_bridge.lab.site_systems.stand_ins import STAND_INS, StandIn

_NAME = re.compile(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,62}")
_WITHOUT_CERTIFICATE = ("management-point-tunnel", "fallback-status-point")
"""A tunnel has the certificate of the site system; a fallback status point has no TLS."""


def own_name(text: str) -> tuple[str, str]:
    """Read `ROLE=NAME`, as a type of argparse."""
    role, _, name = text.partition("=")
    if role not in PUBLICATIONS:
        raise argparse.ArgumentTypeError(f"{role!r} is not one of: {', '.join(PUBLICATIONS)}")
    if not _NAME.fullmatch(name.lower()):
        raise argparse.ArgumentTypeError(f"{name!r} is not a full DNS name")
    return role, name.lower()


def write_certificates(pki: LabPki, folder: Path, names: Mapping[str, str]) -> None:
    """Write NAME.pem and NAME.key for each name that has none. OSError."""
    wanted = {name for role, name in names.items() if role not in _WITHOUT_CERTIFICATE}
    for name in sorted(wanted):
        if not (folder / f"{name}.pem").exists():
            pki.server(name).write(folder, name)


def site_names(names: Mapping[str, str]) -> SiteNames:
    """Return the names in replies to clients."""
    internet = LAB.internet
    if management_point := names.get("management-point"):
        internet = internet._replace(
            management_points=(management_point,), listed=(("", management_point),)
        )
    if distribution_point := names.get("distribution-point"):
        internet = internet._replace(distribution_points=(distribution_point,))
    return LAB._replace(
        internet=internet._replace(
            update_point=names.get("software-update-point", internet.update_point)
        )
    )


def stand_ins(names: Mapping[str, str]) -> Mapping[str, StandIn]:
    """Return the site systems; the management point has the name of its tunnel too."""
    tunnel = names.get("management-point-tunnel")
    if tunnel is None:
        return STAND_INS
    point = STAND_INS["management-point"]
    named = dataclasses.replace(point, names=(*point.names, tunnel))
    return {**STAND_INS, point.role: named}
