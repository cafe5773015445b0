"""What is wrong with the shape of a policy file, in words for its author."""

from __future__ import annotations

from collections.abc import Mapping

from ibcm_bridge import yaml_tree
from ibcm_bridge.roles import Mode, RoleTable

_DURATION = "a time, such as 30m, 12h or 1d"
_SHAPES = {
    "name": "a host name, such as bridge.internet.example",
    "verify_name": "a host name, such as mp01.corp.example",
    "directory": "the whole first segment of a path, such as SMS_MP",
    "verb": "a verb, such as GET",
    "every": _DURATION,
    "grace": _DURATION,
    "warn_before": _DURATION,
    "clock_skew": _DURATION,
}
_URLS = {
    Mode.BRIDGE: "https://name or https://name:port and no path; "
    "bridging HTTPS to HTTP is not supported (BRIDGE-HTTPS-ONLY)",
    Mode.PLAINTEXT: "http://name or http://name:port and no path; "
    "bridging HTTP to HTTPS is not supported (BRIDGE-HTTPS-ONLY)",
}
_PLAIN = {
    "extra_forbidden": "no such key here",
    "missing": "this key is missing",
    "union_tag_not_found": "mode is missing: bridge, tunnel or plaintext",
    "union_tag_invalid": "mode is bridge, tunnel or plaintext",
    "model_type": "keys and values are wanted here; is it empty?",
    "model_attributes_type": "keys and values are wanted here; is it empty?",
    "dict_type": "keys and values are wanted here; is it empty?",
    "list_type": "a list is wanted here: [one, two]",
    "too_short": "this must not be empty",
}
_SAY_WHY = "8 to 500"
_MIXED = "bridge and tunnel do not mix in one publication; give the tunnel a name of its own"
_NOT_HERE = {
    (Mode.TUNNEL, "certificate"): "a tunnel needs no certificate (TUNNEL-NO-CERT)",
    (Mode.TUNNEL, "clients"): "a tunnel authenticates nobody: TLS is passed on (TUNNEL-PASS)",
    (Mode.TUNNEL, "site_systems"): _MIXED,
    (Mode.TUNNEL, "unlisted_headers"): "a tunnel sees no headers (TUNNEL-BLIND)",
    (Mode.BRIDGE, "site_system"): _MIXED,
    (Mode.PLAINTEXT, "certificate"): "there is no TLS on a plaintext listener",
    (Mode.PLAINTEXT, "clients"): "nobody can be authenticated without TLS",
    (Mode.PLAINTEXT, "site_systems"): "there is no TLS to the site systems of a plaintext listener",
}


def in_words(kind: str, message: str, where: yaml_tree.Path, value: object) -> str:
    """One of pydantic's errors, for people."""
    mode = mode_of(where, value)
    key = str(where[-1]) if where else ""
    if kind == "extra_forbidden" and mode is not None and len(where) == 3:
        return _NOT_HERE.get((mode, key), _PLAIN[kind])
    if kind == "list_type" and key == "roles" and mode is Mode.TUNNEL:
        return f"a list of names is wanted here; {_MIXED}"
    if kind == "string_pattern_mismatch":
        if key == "site_system" and "roles" in where and mode in _URLS:
            return _URLS[mode]
        if "extra_headers" in where:
            return "a field name, such as SOAPAction"
        if "internal_domains" in where:
            return "a domain, such as corp.example"
        if len(where) > 1 and where[-2] == "urls":
            return "http://name/path: lists are signed, and fetching them must need no other list"
        return _SHAPES.get(key, "an address and a port number, such as 0.0.0.0:443, and no more")
    if key == "because":
        return f"say why, in words of {_SAY_WHY} characters: it is off unless the file says why"
    if where == ("version",) and kind == "literal_error":
        return "this is version 1: write version: 1, without quotes"
    return _PLAIN.get(kind, message[:1].lower() + message[1:])


def not_published_so(role: str, mode: Mode, table: RoleTable) -> str:
    """Why a role cannot be published in a mode, and how it can."""
    if role not in table.modes:
        return f"not a site system role that is known; those are: {', '.join(table.modes)}"
    modes = " or ".join(sorted(one.value for one in table.modes[role]))
    cited = f" ({table.not_bridged[role]})" if role in table.not_bridged else ""
    if mode is Mode.PLAINTEXT:
        cited = " (BRIDGE-HTTPS-ONLY)"
    return f"this role cannot be published with mode: {mode}, only with mode: {modes}{cited}"


def without_tags(location: tuple[str | int, ...]) -> yaml_tree.Path:
    """Where an error is. pydantic puts a union's discriminator into the path; the file has none."""
    if len(location) > 2 and location[0] == "publications":
        return (*location[:2], *location[3:])
    return location


def mode_of(where: yaml_tree.Path, value: object) -> Mode | None:
    """The mode of the publication that a place is in."""
    if len(where) < 2 or where[0] != "publications" or not isinstance(value, Mapping):
        return None
    publications, index = value.get("publications"), where[1]
    if not isinstance(publications, list) or not isinstance(index, int):
        return None
    publication = publications[index]
    mode = publication.get("mode") if isinstance(publication, Mapping) else None
    return Mode(mode) if mode in list(Mode) else None
