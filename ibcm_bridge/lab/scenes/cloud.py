"""Content in the cloud: the client downloads it over HTTPS, not through the bridge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ibcm_bridge.lab.clients.life_cycle import CLOUD_LOCATION, REGISTRATION
from ibcm_bridge.lab.protocol.client import Request
from ibcm_bridge.lab.protocol.other_sites import CLOUD, CLOUD_PACKAGE, EUR
from ibcm_bridge.lab.scenes.scene import Scene, Stage, must_use
from ibcm_bridge.lab.scenes.sites import EUR_CLIENT, site_systems
from ibcm_bridge.lab.simulated.client import ActionResult
from ibcm_bridge.lab.simulated.download import AGENT
from ibcm_bridge.lab.simulated.failure import Cause, Failure
from ibcm_bridge.lab.simulated.installation import Installation, Mode
from ibcm_bridge.lab.simulated.network import HTTPS
from ibcm_bridge.lab.site_systems.cloud_distribution_point import (
    AccessTokens,
    CloudContent,
    CloudDistributionPoint,
)
from ibcm_bridge.lab.site_systems.second_site import SECOND_SITE


def _file(package: str) -> str:
    return f"/SMS_DP_SMSPKG$/{package}/sccm?/setup/application.msi"


def _cloud(stage: Stage) -> Iterator[ActionResult]:
    lab = stage.lab
    content = CloudContent(CLOUD, CLOUD_PACKAGE, AccessTokens())
    with (
        site_systems(lab, SECOND_SITE, EUR, content),
        CloudDistributionPoint(
            lab.pki.server(CLOUD), content.tokens, lab.internet.namespace
        ) as cloud,
    ):
        hosts = {**lab.internet.hosts, (CLOUD, HTTPS): cloud.address}
        client = stage.installed(
            Installation(Mode.INTERNET_ONLY, EUR_CLIENT, site="EUR"),
            replace(lab.internet, hosts=hosts),
        )
        yield from client.run(REGISTRATION, CLOUD_LOCATION)
        token = (AGENT, ("Authorization", f"Bearer {client.known.content_token}"))
        file = _file(CLOUD_PACKAGE)
        refused: dict[str, tuple[Cause, Request]] = {
            "file without the token": (401, Request("GET", file, (AGENT,))),
            "file of other content": (403, Request("GET", _file("EUR00003"), token)),
        }
        located = client.known
        client.known = replace(located, content=(f"http://{CLOUD}{file}",))
        over_http = client.attempt("file from an http:// location", Request("GET", file, token))
        yield from stage.must_fail(Failure.NOT_HTTPS, [over_http])
        client.known = located
        for action, (cause, request) in refused.items():
            yield from stage.must_fail(cause, [client.attempt(action, request)])
        with_token = client.attempt("file with the token", Request("GET", file, token))
        yield from must_use((CLOUD,), [with_token])
        client.close()


CLOUD_SCENES = (
    Scene(
        "cloud-distribution-point",
        "A cloud distribution point",
        "PKI-BOTH-ENDS",
        "A cloud distribution point needs HTTPS. It is not published: the client downloads from it "
        "directly, with a token from its management point.",
        _cloud,
    ),
)
