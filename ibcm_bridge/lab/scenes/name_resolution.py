"""Names in public DNS, and names of the intranet (DNS-INTERNET-FQDN)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ibcm_bridge.lab.clients.life_cycle import POLICY_REQUEST, REGISTRATION
from ibcm_bridge.lab.protocol.reply_documents import INTRANET, PUBLISHED
from ibcm_bridge.lab.scenes.scene import Scene, Stage, changed
from ibcm_bridge.lab.simulated.client import ActionResult
from ibcm_bridge.lab.simulated.failure import Failure
from ibcm_bridge.lab.simulated.installation import Mode
from ibcm_bridge.lab.simulated.network import Network
from ibcm_bridge.lab.site_systems.resolver import Resolver


def _split_dns(stage: Stage) -> Iterator[ActionResult]:
    lab = stage.lab
    intranet_name = INTRANET.management_points[0]
    with _resolver(lab.internet) as public, _resolver(lab.intranet) as private:
        client = stage.client(Mode.BOTH, replace(lab.internet, resolver=public.address))
        for name in PUBLISHED:
            yield client.resolve(name)
        yield from stage.must_fail(Failure.NAME_NOT_FOUND, [client.resolve(intranet_name)])
        yield from client.run(REGISTRATION)
        client.move(replace(lab.intranet, resolver=private.address))
        yield client.resolve(intranet_name)
        yield from client.run(POLICY_REQUEST)
        client.close()


def _not_in_public_dns(stage: Stage) -> Iterator[ActionResult]:
    internet = stage.lab.internet
    missing = internet.without(PUBLISHED[0])
    with _resolver(missing) as incomplete, _resolver(missing.without(PUBLISHED[1])) as empty:
        client = stage.client(Mode.INTERNET_ONLY, replace(internet, resolver=incomplete.address))
        yield from stage.must_fail(Failure.NAME_NOT_FOUND, [client.resolve(PUBLISHED[0])])
        yield from client.run(REGISTRATION)
        yield changed(internet.name, "public DNS now has no management point")
        client.move(replace(internet, resolver=empty.address))
        yield from stage.must_fail(Failure.NAME_NOT_FOUND, client.run(POLICY_REQUEST))
        client.close()


def _resolver(network: Network) -> Resolver:
    """A resolver for the names of a network."""
    records = {name: address for (name, _), (address, _) in network.hosts.items()}
    return Resolver(records, network.namespace)


NAME_RESOLUTION = (
    Scene(
        "split-dns",
        "Internet names in public DNS",
        "DNS-INTERNET-FQDN",
        "Public DNS has the Internet name of each Internet site system. It does not have the names "
        "of the intranet, so a client on the Internet cannot resolve them.",
        _split_dns,
    ),
    Scene(
        "missing-name",
        "An Internet name that public DNS does not have",
        "DNS-INTERNET-FQDN",
        "A client selects another site system if it cannot resolve the name of one. It is not "
        "managed on the Internet if it can resolve none.",
        _not_in_public_dns,
    ),
)
