"""Limits an edited policy to the files and addresses of the lab.

The bridge of the lab uses the policy of the page, so the policy must not make it listen for other
machines, connect to them, read or write other files, or start more processes. `_INSIDE` has the
keys whose values stay in the lab. Every other key of the policy file may have only a value that
the lab's own policy has for it. Nor may its findings fill the memory of the page.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from ibcm_bridge.policy_file import policy_schema
from ibcm_bridge.policy_file.yaml_tree import Place, Tree, read_yaml

_INSIDE = frozenset(
    (
        # Publications.
        *("version", "publications", "name", "mode", "public_port", "without_sni", "because"),
        *("certificate", "clients", "trust", "site_systems", "roles", "unlisted_headers"),
        *("upload_hosts", "observe", "verify_name", "highest_tls", "tls", "order", "resumption"),
        *("ca_names", "warn_before", "grace", "without_crl", "passphrase"),
        # Roles.
        *("observed_headers", "windows_authentication", "without_clamav", "extra_verbs", "verb"),
        *("body", "extra_headers", "extra_paths", "directory", "path", "query", "verbs"),
        *("extra_messages", "endpoint", "root"),
        # Settings.
        *("audit", "when_unwritable", "engines", "clamav", "seconds", "messages", "identity"),
        *("unknown_guids", "renewal", "signatures", "clock_skew", "host_names", "intranet_only"),
        *("internal_domains", "encrypted", "uploads", "max_bytes", "max_total_bytes", "sessions"),
        *("per_client_sessions", "per_client_bytes", "abandoned_after", "web", "operations"),
        *("listeners", "proxy_protocol", "from", "fetch", "every"),
        # Limits, except those that start processes.
        *("limits", "client_hello", "request_head", "header_fields", "connect_seconds"),
        *("handshake_seconds", "head_seconds", "body_seconds"),
        *("body_bytes_per_second", "response_seconds", "idle_seconds"),
        *("site_system_idle_seconds", "tunnel_idle_seconds", "drain_seconds"),
        *("connection_seconds", "connection_requests", "per_source", "connections"),
        *("per_site_system", "failures", "within_seconds", "probe_seconds"),
        *("handshakes_per_minute", "exceptions", "networks", "buffered_bytes"),
    )
)

_SAME = {"anchors": "certificates", "issuing": "certificates", "authority": "certificates"}
"""Keys that may use each other's values; the others have only their own."""

_SITE_SYSTEM, _CONNECT = "site_system", "connect"

MAX_VALUES = 5_000
"""Values of a policy; the lab's has 420."""

MAX_TEXT = 1_000
"""Characters of a key or value. The policy file allows a reason 500, and a pattern 512."""

_SHOWN = 80
"""Characters of a value, or of its place, in a sentence."""


def leaves_the_lab(text: str, own: str, file: str) -> list[str]:
    """Return a sentence with its line for each value that leaves the lab.

    `own` is the text of the lab's policy, `file` the name of its file.
    """
    edited = read_yaml(text)
    if len(edited.lines) > MAX_VALUES:
        return [
            f"{file}:1: more than {MAX_VALUES:,} values, as the aliases repeat them; remove some"
        ]
    if long := dict.fromkeys(_too_long(edited)):
        why = f"longer than {MAX_TEXT:,} characters; shorten it"
        return [f"{file}:{line}: {why}" for line in long]
    allowed = _values(read_yaml(own))
    return [
        f"{file}:{edited.line(place)}: {_short('.'.join(map(str, place)))}: {why}"
        for place, why in _found(edited.value, (), allowed)
    ]


def _too_long(tree: Tree) -> Iterator[int]:
    """Yield the line of each key and value that is too long."""
    keys = ((place, str(place[-1])) for place in tree.lines if place)
    for place, text in (*keys, *_leaves(tree.value, ())):
        if len(text) > MAX_TEXT:
            yield tree.line(place)


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _found(
    value: object, place: Place, allowed: Mapping[str, set[str]]
) -> Iterator[tuple[Place, str]]:
    if isinstance(value, dict):
        yield from _without_address(value, place, allowed)
    for inner, leaf in _leaves(value, place):
        key = _key(inner)
        if key == _SITE_SYSTEM and "://" in leaf:
            continue  # its address is in `connect`
        if key in _outward() and leaf not in allowed[_group(key)]:
            own = sorted(allowed[_group(key)])
            instead = f"use {' or '.join(own[:3])}" if own else "remove it"
            yield inner, f"{_short(leaf)} leaves the lab; {instead}"


def _without_address(
    value: dict[str, Any], place: Place, allowed: Mapping[str, set[str]]
) -> Iterator[tuple[Place, str]]:
    """Yield the site systems that the bridge would look for in DNS."""
    name = value.get(_SITE_SYSTEM)
    connect = value.get(_CONNECT)
    # A key without a value is as one that is missing.
    found = isinstance(connect, str) and connect
    if isinstance(name, str) and "://" in name and not found:
        own = " or ".join(sorted(allowed[_CONNECT])[:3])
        yield (
            (*place, _SITE_SYSTEM),
            f"without `connect`, {_short(name)} leaves the lab; add connect: {own}",
        )
    for key, inner in value.items():
        for each_place, each in _mappings(inner, (*place, key)):
            yield from _without_address(each, each_place, allowed)


def _mappings(value: object, place: Place) -> Iterator[tuple[Place, dict[str, Any]]]:
    if isinstance(value, dict):
        yield place, value
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _mappings(item, (*place, index))


def _values(tree: Tree) -> Mapping[str, set[str]]:
    """Return the values of each group of keys."""
    found = defaultdict[str, set[str]](set)
    for place, leaf in _leaves(tree.value, ()):
        found[_group(_key(place))].add(leaf)
    # A site system of a tunnel is an address, as `connect` is.
    addresses = {leaf for leaf in found[_SITE_SYSTEM] if "://" not in leaf}
    found[_CONNECT] |= addresses
    found[_SITE_SYSTEM] = found[_CONNECT]
    return found


def _leaves(value: object, place: Place) -> Iterator[tuple[Place, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*place, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _leaves(inner, (*place, index))
    elif value is not None:
        yield place, str(value)


def _key(place: Place) -> str:
    """Return the key of a value, also of one in a list."""
    return next((part for part in reversed(place) if isinstance(part, str)), "")


def _group(key: str) -> str:
    return _SAME.get(key, key)


@cache
def _outward() -> frozenset[str]:
    """Return the keys of the policy file that are not in `_INSIDE`."""
    return frozenset(_properties(policy_schema())) - _INSIDE


def _properties(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "properties" and isinstance(value, dict):
                yield from value
            if key != "examples":
                yield from _properties(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from _properties(item)
