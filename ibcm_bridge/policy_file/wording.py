"""Error messages for the shape of a policy file: the problem, then the correction.

A message is "PROBLEM; CORRECTION", such as "invalid value; write drop or refuse". Tables select
the words by key and by kind of error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic_core import ErrorDetails

from ibcm_bridge.policy.roles import Mode, RoleTable
from ibcm_bridge.policy_file import yaml_tree
from ibcm_bridge.policy_file.known_keys import known_keys, mode_of, similar_keys, value_at
from ibcm_bridge.policy_file.rows.settings import ClamAvRow, LimitsRow, UploadsRow

_ADDRESS = 'an address and a port number, such as "0.0.0.0:443"'
_FAR_END = 'a host and a port number, such as "mp01.corp.example:443", without https://'
_DURATION = "a number and a unit (s, m, h or d), such as 30m, 12h or 1d"
_VERB = "a verb, such as GET"
_FORMATS = {
    "name": "a host name, such as bridge.internet.example",
    "verify_name": "a host name, such as mp01.corp.example",
    "internal_domains": "a domain, such as corp.example",
    "listen": _ADDRESS,
    "connect": _FAR_END,
    "site_system": _FAR_END,
    "directory": "the whole first segment of a path, such as SMS_MP",
    "endpoint": "an endpoint, such as MP_LocationManager",
    "root": "an element name, such as UpdateSFRequest",
    "verb": _VERB,
    "verbs": _VERB,
    "every": _DURATION,
    "grace": _DURATION,
    "warn_before": _DURATION,
    "clock_skew": _DURATION,
    "abandoned_after": _DURATION,
    "urls": "http://NAME/PATH, without TLS: lists are signed, and TLS would need another list",
}
"""The format of a string, by its key or the key of its list."""

_SCHEMES = {
    Mode.BRIDGE: ("https://", "bridging HTTPS to HTTP is not supported (BRIDGE-HTTPS-ONLY)"),
    Mode.PLAINTEXT: ("http://", "bridging HTTP to HTTPS is not supported (BRIDGE-HTTPS-ONLY)"),
}
_TRUST = "{anchors: [root.pem], crls: [root.crl]}"
_PAIR = "{chain: bridge.pem, key: bridge.key}"
_REASON = "{because: user policy for laptops}"
_MAPPINGS = {
    "publications": "{name: bridge.internet.example, mode: bridge, listen: '0.0.0.0:443' ...}",
    "audit": "{file: audit.jsonl}",
    "limits": "{idle_seconds: 60}",
    "messages": "{identity: enforce}",
    "uploads": "{spool: uploads.sqlite}",
    "encrypted": "{because: the site encrypts inventory}",
    "certificate": f"{_PAIR} or {{pfx: bridge.pfx}}",
    "passphrase": "{file: bridge.pass} or {environment: BRIDGE_PASS}, never the passphrase itself",
    "clients": f"{{trust: {_TRUST}}}",
    "trust": _TRUST,
    "fetch": "{urls: [http://pki.corp.example/issuing.crl], folder: lists}",
    "without_crl": "{authority: issuing.pem, because: it publishes no list}",
    "site_systems": f"{{certificate: {_PAIR}, trust: {_TRUST}}}",
    "windows_authentication": _REASON,
    "extra_verbs": "{verb: PUT, because: our reports use PUT}",
    "extra_headers": "{name: X-Branch, because: our load balancer requires it}",
    "extra_messages": "{endpoint: MP_x, root: x, because: our inventory agent requires it}",
    "extra_paths": "{directory: Reports, path: x, verbs: [GET], because: reports for people}",
}
"""An example of a mapping, by its key or the key of its list."""

_ROLES = {
    Mode.BRIDGE: ("management-point", "{site_system: https://mp01.corp.example}"),
    Mode.PLAINTEXT: ("fallback-status-point", "{site_system: http://fsp01.corp.example}"),
}
_BYTES = (
    *("client_hello", "request_head", "buffered_bytes"),
    *("max_bytes", "max_total_bytes", "per_client_bytes"),
)
_BECAUSE = "a reason of 8 to 500 characters"
_MODES = "bridge, tunnel or plaintext"
_MIXED = "a publication is either a bridge or a tunnel; give the tunnel a separate name"
_KEYS_OF_OTHER_MODES: Mapping[tuple[Mode | None, str], str] = {
    (Mode.TUNNEL, "certificate"): "a tunnel needs no certificate (TUNNEL-NO-CERT); remove this key",
    (Mode.TUNNEL, "clients"): (
        "a tunnel forwards TLS and does not authenticate clients (TUNNEL-PASS); remove this key"
    ),
    (Mode.TUNNEL, "site_systems"): _MIXED,
    (Mode.TUNNEL, "unlisted_headers"): (
        "a tunnel cannot read headers (TUNNEL-BLIND); remove this key"
    ),
    (Mode.BRIDGE, "site_system"): _MIXED,
    (Mode.PLAINTEXT, "certificate"): "a plaintext listener has no TLS; remove this key",
    (Mode.PLAINTEXT, "clients"): "clients cannot be authenticated without TLS; remove this key",
    (Mode.PLAINTEXT, "site_systems"): (
        "a plaintext publication has no TLS to its site systems; remove this key"
    ),
}
"""By mode of a publication and key: the message for a key that only other modes have."""


@dataclass(frozen=True, slots=True)
class _Error:
    """One of pydantic's errors, and its context in the file."""

    where: yaml_tree.Place
    value: object
    """The value of the whole file."""
    given: object
    expected: str
    mode: Mode | None
    table: RoleTable

    @property
    def key(self) -> str:
        return _last_key(self.where)


def in_words(
    item: ErrorDetails, where: yaml_tree.Place, tree: yaml_tree.Tree, table: RoleTable
) -> str:
    """Return the message for one of pydantic's errors.

    It includes the YAML conversion of the value, if the tree has one for this place.
    """
    kind, given, conversion = item["type"], value_at(tree.value, where), tree.conversions.get(where)
    expected = str(item.get("ctx", {}).get("expected", ""))
    error = _Error(where, tree.value, given, expected, mode_of(where, tree.value), table)
    if (words := _MESSAGES.get(kind)) is not None:
        return f"{conversion}; {words(error)}" if conversion else words(error)
    if (wanted := _wanted(kind, error)) is not None:
        return f"{conversion or _invalid(given)}; write {wanted}"
    message = item["msg"].replace("Input should be", "out of range; write a number")
    return message.replace("String should have", "too long; write")


def _last_key(where: yaml_tree.Place) -> str:
    """Return the key, or the key of the list that contains the place."""
    return next((key for key in reversed(where) if isinstance(key, str)), "")


def string_format(where: yaml_tree.Place, value: object, given: object) -> str | None:
    """Return the format of the string at a place of the file; None if any string is valid."""
    key = _last_key(where)
    mode = mode_of(where, value)
    if key == "site_system" and "roles" in where and mode in _SCHEMES:
        return _url(*_SCHEMES[mode], str(given))
    if key == "name" and "extra_headers" in where:
        return "a field name, such as SOAPAction"
    return _FORMATS.get(key)


def _url(scheme: str, why: str, given: str) -> str:
    wanted = f"{scheme}NAME or {scheme}NAME:PORT"
    if not given.lower().startswith(scheme):
        return f"{wanted}; {why}"
    path = given[len(scheme) :].partition("/")[2]
    return f"{wanted}, without the path /{path}" if path else wanted


def _invalid(given: object) -> str:
    """Return the problem with a value of the wrong type or format."""
    kinds = {
        list: "a list is not allowed here",
        dict: "keys and values are not allowed here",
        type(None): "the value is empty",
    }
    return kinds.get(type(given), "invalid value")


def _missing(error: _Error) -> str:
    return "this key is missing" + (f"; write {_BECAUSE}" if error.key == "because" else "")


def _unknown(error: _Error) -> str:
    key = str(error.where[-1])
    if len(error.where) == 3 and (words := _KEYS_OF_OTHER_MODES.get((error.mode, key))):
        return words
    if similar := similar_keys(error.where, error.value):
        return f"unknown key; did you mean {similar[0][-1]}?"
    return f"unknown key; use one of {', '.join(known_keys(error.where[:-1], error.mode))}"


_MESSAGES: Mapping[str, Callable[[_Error], str]] = {
    "extra_forbidden": _unknown,
    "missing": _missing,
    "union_tag_not_found": lambda _: f"this key is missing; write {_MODES}",
    "too_short": lambda _: "must not be empty; add at least one item",
}
"""Whole messages, by the kind of pydantic's error."""


def _wanted(kind: str, error: _Error) -> str | None:
    """Return the valid values at the place of an error; None to use pydantic's own message."""
    words = _WANTED.get(kind, _string if error.key == "because" else None)
    return words(error) if words else None


def _string(error: _Error) -> str:
    if error.key == "because":
        return _BECAUSE
    if wanted := string_format(error.where, error.value, error.given):
        return wanted
    quotes = "" if isinstance(error.given, list | dict | None) else ", in quotes"
    return f"text{quotes}"


def _keys_and_values(error: _Error) -> str:
    if not error.where:
        return "version: 1 and publications"
    wanted = f"keys and values, such as {_example(error)}"
    listed = error.given if error.key == "roles" and isinstance(error.given, list) else []
    others = [
        name for name in map(str, listed) if error.mode not in error.table.modes.get(name, ())
    ]
    if error.mode is not None and others:
        return f"{wanted}; {others[0]}: {wrong_mode(others[0], error.mode, error.table)}"
    return wanted


def _example(error: _Error) -> str:
    name, role = _ROLES.get(error.mode or Mode.BRIDGE, _ROLES[Mode.BRIDGE])
    if "roles" not in error.where or error.key in _MAPPINGS:
        return _MAPPINGS.get(error.key, "{key: value}")
    return f"{{{name}: {role}}}" if error.where[-1] == "roles" else role


def _list(error: _Error) -> str:
    if error.key == "roles":
        return f"a list of names; {_MIXED}"
    example = error.given if isinstance(error.given, str) and error.given else "one, two"
    return f"a list, such as [{example}]"


def _choice(error: _Error) -> str:
    if error.where == ("version",):
        return "version: 1, without quotes"
    choices = re.findall(r"'([^']*)'", error.expected)
    numbers = choices[0][:1].isdigit()
    named = [f'"{choice}"' if numbers else choice for choice in choices]
    quoted = ", in quotes" if numbers else ""
    return f"{', '.join(named[:-1])} or {named[-1]}{quoted}"


_NUMBERS = {**LimitsRow.model_fields, **UploadsRow.model_fields, **ClamAvRow.model_fields}
"""The fields of all numbers except ports."""


def _number(error: _Error) -> str:
    quotes = ", without quotes" if str(error.given).isdecimal() else ""
    field = _NUMBERS.get(error.key)
    if field is None:
        return f"a port number, such as 443{quotes}"
    unit = " of bytes" if error.key in _BYTES else ""
    kind = "number of seconds" if error.key.endswith("seconds") else f"whole number{unit}"
    # Not :g, which prints powers of ten.
    example = "" if field.default is None else f", such as {field.default:.0f}"
    return f"a {kind}{example}{quotes}"


_WANTED: Mapping[str, Callable[[_Error], str]] = {
    "union_tag_invalid": lambda _: _MODES,
    "model_type": _keys_and_values,
    "model_attributes_type": _keys_and_values,
    "dict_type": _keys_and_values,
    "list_type": _list,
    "literal_error": _choice,
    "string_type": _string,
    "string_pattern_mismatch": _string,
    "int_type": _number,
    "float_type": _number,
    "bool_type": lambda _: "true or false, without quotes",
}
"""Valid values, by the kind of pydantic's error."""


def wrong_mode(role: str, mode: Mode, table: RoleTable) -> str:
    """Return why a publication of this mode cannot have this role, and which modes can."""
    if role not in table.modes:
        return f"unknown site system role; use one of {', '.join(table.modes)}"
    modes = " or ".join(sorted(table.modes[role]))
    cited = f" ({table.not_bridged[role]})" if role in table.not_bridged else ""
    if mode is Mode.PLAINTEXT:
        cited = " (BRIDGE-HTTPS-ONLY)"
    return f"this role cannot be published with mode: {mode}, only with mode: {modes}{cited}"
