"""A complete perimeter on one machine: certificates, site systems, the bridge and clients."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from ibcm_bridge.lab.bridge.process import HasAddresses, Listen, RunningBridge, free_ports
from ibcm_bridge.lab.capture.recording import Recording
from ibcm_bridge.lab.cases.case import ClientCertificate, credentials
from ibcm_bridge.lab.cases.policy import demo_policy, write_more
from ibcm_bridge.lab.comparison.comparison import Comparison
from ibcm_bridge.lab.namespaces import NO_NAMESPACES, Namespace, Namespaces
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.pki.files import with_addresses
from ibcm_bridge.lab.site_systems.clamd import ScanDaemon
from ibcm_bridge.lab.site_systems.microsoft_update import MicrosoftUpdate
from ibcm_bridge.lab.site_systems.second_site import ON_DEMAND
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems


class Perimeter:
    """A context manager. It writes files to `directory`.

    The caller removes `directory` and creates and removes `namespaces`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        pki: LabPki | None = None,
        clients: Mapping[ClientCertificate, LabCredential | None] | None = None,
        site: SiteSystems | None = None,
        policy: str | None = None,
        listen: Listen | None = None,
        namespaces: Namespaces = NO_NAMESPACES,
        untested: bool = False,
        options: Sequence[str] = (),
        recorded: bool = False,
        max_recorded: int | None = None,
    ) -> None:
        """The perimeter creates what is omitted.

        `site`: running site systems with certificates of `pki`; they keep running afterwards.
        `policy`: the text of a policy, instead of the demo's. `untested`: also run with a mitmproxy
        version that is not tested. `options`: more options of `run`. `recorded`: record the
        connections of each case, up to `max_recorded` bytes of a path; not in namespaces.
        """
        self.directory = directory
        self.namespaces = namespaces
        self.pki = pki or LabPki.make(now=datetime.datetime.now(datetime.UTC))
        # Create the clients before the CRLs: one of them is revoked.
        self.clients = dict(clients or credentials(self.pki))
        self._site = site
        self._policy = policy
        self._listen = listen
        self._options = (*(("--untested-mitmproxy",) if untested else ()), *options)
        self._recording = Recording(directory, max_recorded) if recorded else None
        self._engine: ScanDaemon | None = None
        self._engine_address = ("127.0.0.1", 0)
        self._running = ExitStack()
        self.on_demand = _on_demand(namespaces.intranet)
        """Role -> the address of a site system that a scene starts (`second_site`)."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            internet, middle, intranet = self.namespaces
            self.site = self._site or stack.enter_context(
                SiteSystems(self.pki, leaks=True, namespace=intranet, key_log=self._key_log)
            )
            site_systems: HasAddresses = self.site
            if self._recording is not None:
                stack.enter_context(self._recording)
                site_systems = self._recording.before_site_systems(self.site.addresses)
            stack.callback(self.stop_engine)
            self.start_engine()
            self.microsoft_update = stack.enter_context(MicrosoftUpdate(internet))
            self.bridge = RunningBridge(
                self.directory,
                self.pki,
                site_systems,
                policy=self._policy or self._two_sites(),
                listen=self._listen,
                namespace=middle,
                options=self._options,
            )
            write_more(self.pki, self.directory / "pki")
            stack.enter_context(self.bridge)
            self.comparison = Comparison(
                self.pki,
                self.clients,
                self.site,
                self.bridge,
                namespace=internet,
                recording=self._recording,
            )
            self._running = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def _two_sites(self) -> str:
        """The policy of the demo. It also publishes site systems that a scene starts."""
        places = {ON_DEMAND[role].port: address for role, address in self.on_demand.items()}
        return with_addresses(demo_policy(self._engine_address, second_site=True), places)

    @property
    def _key_log(self) -> Path | None:
        return None if self._recording is None else self._recording.key_log

    def take_down(self, role: str) -> None:
        """Stop a site system."""
        self.site.take_down(role)
        if self._recording is not None:
            self._recording.take_down(role)

    def bring_up(self, role: str) -> None:
        """Start a site system again. OSError if its port is in use."""
        self.site.bring_up(role)
        if self._recording is not None:
            self._recording.bring_up(role)

    def start_engine(self) -> None:
        """Start the simulated clamd; after a stop, on the same address."""
        if self._engine is None:
            self._engine = ScanDaemon(self._engine_address, self.namespaces.perimeter)
            self._engine_address = self._engine.address
            self._engine.__enter__()

    def stop_engine(self) -> None:
        """Stop the simulated clamd."""
        if self._engine is not None:
            self._engine.__exit__()
            self._engine = None


def _on_demand(intranet: Namespace) -> Mapping[str, tuple[str, int]]:
    """Choose the addresses: the ports of the table in a separate namespace, else free ones."""
    if intranet.own:
        ports = [stand_in.port for stand_in in ON_DEMAND.values()]
    else:
        ports = free_ports(len(ON_DEMAND))
    return {role: (intranet.address, port) for role, port in zip(ON_DEMAND, ports, strict=True)}
