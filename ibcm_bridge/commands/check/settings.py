"""What holds for all publications of a policy, in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from ibcm_bridge.commands.check.findings import Finding, Level
from ibcm_bridge.policy.addresses import address_text, is_loopback
from ibcm_bridge.policy.message_rules import Enforcement, MessageRules, UnknownGuids
from ibcm_bridge.policy.policy import ClamAv, Policy, UploadRules, WhenUnwritable
from ibcm_bridge.policy_file import LimitsRow


def describe_settings(policy: Policy) -> Iterator[Finding]:
    """What is not as it is by default, of what holds for all publications."""
    if policy.when_unwritable is WhenUnwritable.CONTINUE:
        text = "requests go on while it cannot be written (when_unwritable: continue)"
        yield Finding(Level.FACT, "audit", text)
    yield Finding(Level.FACT, "messages", _messages_text(policy.messages))
    yield Finding(Level.FACT, "uploads", _uploads_text(policy.uploads))
    if policy.clamav is not None:
        yield from _describe_clamav(policy.clamav)
    if (why := policy.messages.encrypted_because) is not None:
        text = f"encrypted reports pass unread, because: {why}"
        yield Finding(Level.WARNING, "messages.encrypted", text, "BRIDGE-INSPECT")
    if policy.web_because is not None:
        text = (
            f"run --web may show traffic on a page of this machine, because: {policy.web_because}"
        )
        yield Finding(Level.WARNING, "web", text)
    defaults = LimitsRow().model_dump()
    changed = [
        f"{name} {_number(value)} (default {_number(defaults[name])})"
        for name, value in dataclasses.asdict(policy.limits).items()
        if value != defaults[name]
    ]
    if changed:
        yield Finding(Level.FACT, "limits", ", ".join(changed))


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def _describe_clamav(clamav: ClamAv) -> Iterator[Finding]:
    where = "engines.clamav"
    if isinstance(clamav.address, Path):
        yield Finding(Level.FACT, where, f"asked through {clamav.address}")
        return
    yield Finding(Level.FACT, where, f"asked at {address_text(clamav.address)}")
    if not is_loopback(clamav.address[0]):
        # clamd(8) knows neither TLS nor who asks.
        text = "what clients send is sent to another machine, and nothing encrypts it"
        yield Finding(Level.WARNING, where, text, "BRIDGE-INSPECT")


def _messages_text(rules: MessageRules) -> str:
    """One line."""
    done = {Enforcement.OBSERVE: "observed", Enforcement.ENFORCE: "enforced"}
    answered = {Enforcement.OBSERVE: "observed", Enforcement.ENFORCE: "refused"}
    kept = f"kept in {rules.bindings_file}" if rules.bindings_file else "forgotten at the end"
    names = ", ".join(sorted(rules.internal_domains)) or "no domain"
    return "; ".join(
        (
            f"whose client GUID it is: {done[rules.identity]}, unknown ones "
            f"{_UNKNOWN[rules.unknown_guids]}, {kept}",
            f"signatures: {done[rules.signatures]}",
            f"answers with hosts of {names}: {answered[rules.host_names]}",
            f"answers with policy for the intranet: {answered[rules.intranet_only]}",
        )
    )


_UNKNOWN = {UnknownGuids.LEARN: "learnt", UnknownGuids.REFUSE: "refused"}


def _uploads_text(rules: UploadRules) -> str:
    """One line."""
    where = f"put together in {rules.spool}" if rules.spool else "forgotten at the end"
    return f"up to {rules.max_bytes} bytes each, {rules.max_total_bytes} in all, {where}"
