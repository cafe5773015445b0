"""The proxies that a policy can be exported to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ibcm_bridge.export.apache import configuration as apache
from ibcm_bridge.export.apache.statements import APACHE
from ibcm_bridge.export.envoy import configuration as envoy
from ibcm_bridge.export.envoy.statements import ENVOY
from ibcm_bridge.export.exported import Export
from ibcm_bridge.export.haproxy import configuration as haproxy
from ibcm_bridge.export.haproxy.statements import HAPROXY
from ibcm_bridge.export.model import ExportedPolicy
from ibcm_bridge.export.nginx import configuration as nginx
from ibcm_bridge.export.nginx.statements import NGINX
from ibcm_bridge.export.reading import exported_policy
from ibcm_bridge.export.rules import Statements
from ibcm_bridge.export.writing import Place
from ibcm_bridge.policy.policy import Policy


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, its statement for each rule, and how it is started."""

    name: str
    write: Callable[[ExportedPolicy, Place], Export]
    statements: Statements
    holds_legs: bool
    """Whether it keeps a site-system leg for one client connection (USER-WINDOWS-AUTH)."""
    programs: Sequence[str]
    """The names of its program; the first that is installed runs."""
    check: Callable[[Path], Sequence[str]]
    """The configuration -> arguments for the proxy's own syntax check."""
    start: Callable[[Path], Sequence[str]]
    """The configuration -> arguments that run it in the foreground."""
    version: Sequence[str]
    """Arguments that print its version."""
    suffix: str
    """Of the configuration file."""

    def export(self, policy: Policy, place: Place) -> Export:
        """Write the configuration. ExportError if the policy has a value that cannot be written."""
        return self.write(exported_policy(policy, holds_legs=self.holds_legs), place)


PROXIES: Mapping[str, Proxy] = {
    proxy.name: proxy
    for proxy in (
        Proxy(
            "nginx",
            nginx.export_nginx,
            NGINX,
            nginx.HOLDS_LEGS,
            ["nginx"],
            lambda file: ["-t", "-q", "-c", str(file)],
            lambda file: ["-c", str(file), "-g", "daemon off;"],
            ["-v"],
            ".conf",
        ),
        Proxy(
            "haproxy",
            haproxy.export_haproxy,
            HAPROXY,
            haproxy.HOLDS_LEGS,
            ["haproxy"],
            lambda file: ["-c", "-q", "-f", str(file)],
            lambda file: ["-db", "-f", str(file)],
            ["-v"],
            ".cfg",
        ),
        Proxy(
            "apache",
            apache.export_apache,
            APACHE,
            apache.HOLDS_LEGS,
            ["apache2", "httpd"],
            lambda file: ["-t", "-f", str(file)],
            lambda file: ["-DFOREGROUND", "-f", str(file)],
            ["-v"],
            ".conf",
        ),
        Proxy(
            "envoy",
            envoy.export_envoy,
            ENVOY,
            envoy.HOLDS_LEGS,
            ["envoy"],
            lambda file: ["--mode", "validate", "--log-level", "error", "-c", str(file)],
            lambda file: ["-c", str(file), "--log-level", "warn", "--use-dynamic-base-id"],
            ["--version"],
            ".yaml",
        ),
    )
}
