"""Describes the settings of a policy that apply to all publications."""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ibcm_bridge.commands.check.findings import Finding, Level
from ibcm_bridge.commands.workers import worker_count, workers_refusal
from ibcm_bridge.policy.addresses import address_text, is_loopback
from ibcm_bridge.policy.message_policy import Enforcement
from ibcm_bridge.policy.policy import ClamAv, Operations, Policy, WhenUnwritable
from ibcm_bridge.policy.site_systems import DEFAULT_PER_SITE_SYSTEM, PerSiteSystem
from ibcm_bridge.policy_file import LimitsRow

AUDIT_MODE = 0o640
"""The permissions with which `addons.audit.file` creates the file."""


def describe_settings(policy: Policy) -> Iterator[Finding]:
    """Message and upload rules, and other settings that are not the default."""
    if policy.when_unwritable is WhenUnwritable.CONTINUE:
        text = "requests continue while the audit cannot be written (when_unwritable: continue)"
        yield Finding(Level.FACT, "audit", text)
    yield from _audit_permissions(policy.audit_file)
    yield Finding(Level.FACT, "messages", _messages_text(policy))
    yield Finding(Level.FACT, "uploads", _uploads_text(policy))
    if policy.clamav is not None:
        yield from _describe_clamav(policy.clamav)
    if (why := policy.messages.encrypted_because) is not None:
        text = f"encrypted reports are forwarded without inspection, because: {why}"
        yield Finding(Level.WARNING, "messages.encrypted", text, "BRIDGE-INSPECT")
    yield _describe_workers(policy)
    if policy.web_because is not None:
        text = f"`run --web` may show traffic on a local web page, because: {policy.web_because}"
        yield Finding(Level.WARNING, "web", text)
    if policy.operations is not None:
        yield from _describe_operations(policy.operations)
    yield from _describe_sources(policy)
    yield from _describe_site_systems(policy.per_site_system)
    defaults = LimitsRow().model_dump()
    changed = [
        f"{name} {_limit(name, value)} (default {_limit(name, defaults[name])})"
        for name, value in dataclasses.asdict(policy.limits).items()
        if value != defaults[name]
    ]
    if changed:
        yield Finding(Level.FACT, "limits", ", ".join(changed))


def _describe_sources(policy: Policy) -> Iterator[Finding]:
    for listener in policy.listeners:
        if listener.balancers:
            networks = ", ".join(map(str, listener.balancers))
            text = f"connections from {networks} must name the client by the PROXY protocol"
            yield Finding(Level.FACT, f"listeners.{address_text(listener.address)}", text)
    per_source, where = policy.per_source, "limits.per_source"
    limits = {
        "connections": per_source.connections,
        "handshakes per minute": per_source.handshakes_per_minute,
    }
    set_limits = [f"{most} {name}" for name, most in limits.items() if most is not None]
    if set_limits:
        text = f"an IPv4 address or IPv6 /64 network has at most {' and '.join(set_limits)}"
        yield Finding(Level.FACT, where, text)
    for network, because in per_source.exceptions.items():
        yield Finding(Level.FACT, where, f"{network} has no limit of a source, because: {because}")


def _describe_site_systems(limits: PerSiteSystem) -> Iterator[Finding]:
    if limits != DEFAULT_PER_SITE_SYSTEM:
        text = (
            f"a site system is tried last after {limits.failures} failed attempts in a row within "
            f"{limits.within_seconds:g} s, and probed after {limits.probe_seconds:g} s"
        )
        yield Finding(Level.FACT, "limits.per_site_system", text)


def _describe_operations(operations: Operations) -> Iterator[Finding]:
    text = f"metrics and probes at http://{address_text(operations.listen)}"
    yield Finding(Level.FACT, "operations", text)
    if operations.because is not None and not is_loopback(operations.listen[0]):
        text = f"other machines can read metrics, because: {operations.because}"
        yield Finding(Level.WARNING, "operations", text)


def _describe_workers(policy: Policy) -> Finding:
    if why_not := workers_refusal(policy):
        return Finding(Level.PROBLEM, "workers", why_not)
    count = worker_count(policy)
    text = "one process serves" if count == 1 else f"{count} processes serve"
    return Finding(Level.FACT, "workers", f"{text} all clients")


def _audit_permissions(path: Path | None) -> Iterator[Finding]:
    """Warn about a file that other users can read or write. Windows has no such permissions."""
    if path is None or os.name != "posix" or not path.is_file():
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & ~AUDIT_MODE:
        text = f"{path} has permissions {mode:04o}; it has client names and addresses, use 0640"
        yield Finding(Level.WARNING, "audit.file", text)


_IN_BYTES = ("client_hello", "request_head", "buffered_bytes")


def _limit(name: str, value: float) -> str:
    if name in _IN_BYTES:
        return _size(int(value))
    return str(value) if isinstance(value, int) else f"{value:g}"


def _describe_clamav(clamav: ClamAv) -> Iterator[Finding]:
    where = "engines.clamav"
    if isinstance(clamav.address, Path):
        yield Finding(Level.FACT, where, f"clamd at {clamav.address}")
        return
    yield Finding(Level.FACT, where, f"clamd at {address_text(clamav.address)}")
    if not is_loopback(clamav.address[0]):
        # clamd(8) has no TLS and no authentication.
        text = "request bodies are sent to another machine without encryption"
        yield Finding(Level.WARNING, where, text, "BRIDGE-INSPECT")


def _messages_text(policy: Policy) -> str:
    """One line."""
    messages = policy.messages
    bindings = messages.bindings_file or "memory (lost on restart)"
    if policy.state is not None:
        bindings = policy.state.address
    names = ", ".join(sorted(messages.internal_domains)) or "no domain"
    return "; ".join(
        (
            f"client GUID binding: {_ENFORCED[messages.identity]}",
            f"unknown GUIDs: {messages.unknown_guids}",
            f"bindings in {bindings}",
            f"signatures: {_ENFORCED[messages.signatures]}",
            f"replies that name hosts of {names}: {_ENFORCED[messages.host_names]}",
            f"replies with intranet-only policy: {_ENFORCED[messages.intranet_only]}",
        )
    )


_ENFORCED = {Enforcement.OBSERVE: "report-only", Enforcement.ENFORCE: "enforced"}


def _uploads_text(policy: Policy) -> str:
    """One line."""
    uploads = policy.uploads
    spool = f"spool in {uploads.spool}" if uploads.spool else "temporary spool (lost on restart)"
    if policy.state is not None:
        spool = f"in {policy.state.address}"
    each, total = _size(uploads.max_bytes), _size(uploads.max_total_bytes)
    return f"up to {each} per upload, {total} in total; {spool}"


def _size(count: int) -> str:
    """The number of bytes, in the largest binary unit that divides it."""
    size, unit = next((size, unit) for size, unit in _UNITS if count % size == 0)
    return f"{count // size:,} {unit}"


_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "bytes"))
