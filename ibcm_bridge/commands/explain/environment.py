"""The environment of `explain`: engines, bindings and the clock."""

from __future__ import annotations

from ibcm_bridge.addons.clock import utc_now
from ibcm_bridge.addons.engines.content_engines import engine_setup
from ibcm_bridge.addons.tls.verification import verify_client_path
from ibcm_bridge.commands.explain.explain import Environment
from ibcm_bridge.commands.shared_registry import shared_registry
from ibcm_bridge.identity.bindings import Binding
from ibcm_bridge.inspection.engines import ContentEngine
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy_file import shipped_clients
from ibcm_bridge.storage.binding_registry import Registry


def environment(policy: Policy) -> Environment:
    """The environment of a request now. Raises RuleError if rules do not compile."""
    file = policy.messages.bindings_file

    def find(guid: str) -> Binding | None:
        if policy.state is not None:
            with shared_registry(policy.state) as shared:
                return shared.find(guid)
        if file is None or not file.exists():
            return None
        with Registry(file) as registry:
            return registry.find(guid)

    return Environment(engines(policy), verify_client_path, find, utc_now(), shipped_clients())


def engines(policy: Policy) -> list[ContentEngine]:
    """The in-process content engines of a policy. Raises RuleError if rules do not compile."""
    return [engine for engine in engine_setup(policy).make() if engine.in_place]
