"""A real bridge that a test can break, between the suite's site systems and its clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address
from multiprocessing.connection import Listener
from pathlib import Path

import pytest

from ibcm_bridge.conformance.collection import all_checks
from ibcm_bridge.conformance.exchange import Place
from ibcm_bridge.conformance.kit import Kit, make_kit, now
from ibcm_bridge.conformance.revocation import Revocation
from ibcm_bridge.conformance.runner import Result, run_checks
from ibcm_bridge.conformance.running import PUBLISHED
from ibcm_bridge.conformance.serving import kit_policy, serving
from ibcm_bridge.conformance.subject import Subject
from ibcm_bridge.conformance.subject_file import KIT_LIMITS
from ibcm_bridge.lab.bridge import process
from ibcm_bridge.lab.perimeter.perimeter import Perimeter
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems

PROGRAM = str(Path(__file__).parents[1] / "lab" / "cases" / "breakable_bridge.py")


@dataclass(frozen=True)
class SuiteLab:
    """The running bridge, the kit, and where the bridge publishes each role."""

    kit: Kit
    pki: LabPki
    site: SiteSystems
    places: dict[str, Place]
    subject: Subject
    break_bridge: Callable[[str], None]
    """Breaks the bridge in one way; an empty name repairs it."""

    def run(self, *checks: str) -> list[Result]:
        """Run checks, with the records of the site systems in this process."""
        return list(run_checks([all_checks()[check] for check in checks], self.subject, {}))


@pytest.fixture(scope="session")
def suite_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SuiteLab]:
    folder = tmp_path_factory.mktemp("suite")
    with ExitStack() as stack:
        listener = stack.enter_context(Listener(("127.0.0.1", 0)))
        kit_folder = folder / "kit"
        site = stack.enter_context(serving(IPv4Address("127.0.0.1"), kit_folder, fixed_ports=False))
        kit, pki = make_kit(kit_folder, None, now())
        bridge = folder / "bridge"
        bridge.mkdir()
        # With ClamAV, a second process inspects every body.
        perimeter = Perimeter(bridge, pki=pki, site=site, policy=kit_policy())
        # Only for the start: this fixture stays until the last test of all.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(process, "PROGRAM", (PROGRAM, str(listener.address[1])))
            lab = stack.enter_context(perimeter)
        connection = stack.enter_context(listener.accept())

        def break_bridge(name: str) -> None:
            connection.send(name)
            connection.recv()

        places = {
            role: Place(name, lab.bridge.addresses[port])
            for role, (name, port) in PUBLISHED.items()
        }
        features = frozenset(("ca_names", "windows-authentication"))
        # The bridge has its own copy of the lists.
        lists = [str(kit_folder / "pki" / f"{name}.crl") for name in ("root", "issuing")]
        revocation = Revocation(kit_folder, 15, ("cp", *lists, str(bridge / "pki")))
        subject = Subject(
            places,
            kit,
            site,
            seconds=20,
            features=features,
            time_limits=KIT_LIMITS,
            revocation=revocation,
        )
        yield SuiteLab(kit, pki, site, places, subject, break_bridge)
