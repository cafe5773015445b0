"""What is wrong with the shape of a policy file, in words for its author.

Each says what is wanted, with an example; rows of a table, by key and by kind of error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic_core import ErrorDetails

from ibcm_bridge.policy.roles import Mode, RoleTable
from ibcm_bridge.policy_file import yaml_tree
from ibcm_bridge.policy_file.keys import known_keys, meant, mode_of
from ibcm_bridge.policy_file.rows.settings import ClamAvRow, LimitsRow, UploadsRow

_ADDRESS = 'an address and a port number, such as "0.0.0.0:443", and no more'
_FAR_END = 'a name or address and a port number, such as "mp01.corp.example:443", without https://'
_DURATION = "a time and its unit (s, m, h or d), such as 30m, 12h or 1d"
_VERB = "a verb, such as GET"
_SHAPES = {
    "name": "a host name, such as bridge.internet.example",
    "verify_name": "a host name, such as mp01.corp.example",
    "internal_domains": "a domain, such as corp.example",
    "listen": _ADDRESS,
    "connect": _FAR_END,
    "site_system": _FAR_END,
    "directory": "the whole first segment of a path, such as SMS_MP",
    "endpoint": "an endpoint, such as MP_LocationManager",
    "root": "the name of an element, such as UpdateSFRequest",
    "verb": _VERB,
    "verbs": _VERB,
    "every": _DURATION,
    "grace": _DURATION,
    "warn_before": _DURATION,
    "clock_skew": _DURATION,
    "abandoned_after": _DURATION,
    "urls": "http://name/path: lists are signed, and fetching them must need no other list",
}
"""What a text of some form has to be, by its key or that of its list."""

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
    "passphrase": "{file: bridge.pass} or {environment: BRIDGE_PASS}, and never a passphrase",
    "clients": f"{{trust: {_TRUST}}}",
    "trust": _TRUST,
    "fetch": "{urls: [http://pki.corp.example/issuing.crl], folder: lists}",
    "without_crl": "{authority: issuing.pem, because: it has never published one}",
    "site_systems": f"{{certificate: {_PAIR}, trust: {_TRUST}}}",
    "windows_authentication": _REASON,
    "extra_verbs": "{verb: PUT, because: our reports are sent so}",
    "extra_headers": "{name: X-Branch, because: our load balancer wants it}",
    "extra_messages": "{endpoint: MP_x, root: x, because: a product of ours asks for it}",
    "extra_paths": "{directory: Reports, path: x, verbs: [GET], because: reports for people}",
}
"""An example of keys and values, by the key that has them or that of their list."""

_ROLES = {
    Mode.BRIDGE: ("management-point", "{site_system: https://mp01.corp.example}"),
    Mode.PLAINTEXT: ("fallback-status-point", "{site_system: http://fsp01.corp.example}"),
}
_BYTES = ("client_hello", "request_head", "buffered_bytes", "max_bytes", "max_total_bytes")
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


@dataclass(frozen=True, slots=True)
class _Error:
    """One of pydantic's errors, and what surrounds it in the file."""

    where: yaml_tree.Place
    value: object
    """Of the whole file."""
    given: object
    expected: str
    mode: Mode | None
    table: RoleTable

    @property
    def key(self) -> str:
        return _last_key(self.where)


def in_words(item: ErrorDetails, where: yaml_tree.Place, value: object, table: RoleTable) -> str:
    """One of pydantic's errors, for people."""
    expected = str(item.get("ctx", {}).get("expected", ""))
    error = _Error(where, value, item["input"], expected, mode_of(where, value), table)
    words = _WORDS.get(item["type"], _say_why if error.key == "because" else None)
    return words(error) if words else item["msg"][:1].lower() + item["msg"][1:]


def _last_key(where: yaml_tree.Place) -> str:
    """The key, or that of the list it is in."""
    return next((key for key in reversed(where) if isinstance(key, str)), "")


def shape_wanted(where: yaml_tree.Place, value: object, given: object) -> str | None:
    """What a text has to be here; None where any will do."""
    key = _last_key(where)
    mode = mode_of(where, value)
    if key == "site_system" and "roles" in where and mode in _SCHEMES:
        return _url(*_SCHEMES[mode], str(given))
    if key == "name" and "extra_headers" in where:
        return "a field name, such as SOAPAction"
    return _SHAPES.get(key)


def _url(scheme: str, why: str, given: str) -> str:
    wanted = f"{scheme}name or {scheme}name:port and no path"
    if not given.lower().startswith(scheme):
        return f"{wanted}; {why}"
    path = given[len(scheme) :].partition("/")[2]
    return f"{wanted}: leave /{path} out, clients bring it" if path else wanted


def _text(error: _Error) -> str:
    if error.key == "because":
        return _say_why(error)
    if wanted := shape_wanted(error.where, error.value, error.given):
        return wanted
    found = {list: ", not a list", dict: ", not keys and values", type(None): "; is it empty?"}
    return "text is wanted here" + found.get(type(error.given), ": put it in quotes")


def _say_why(_: _Error) -> str:
    return f"say why, in words of {_SAY_WHY} characters: it is off unless the file says why"


def _missing(error: _Error) -> str:
    return _say_why(error) if error.key == "because" else "this key is missing"


def _unknown(error: _Error) -> str:
    key = str(error.where[-1])
    if error.mode is not None and len(error.where) == 3 and (error.mode, key) in _NOT_HERE:
        return _NOT_HERE[error.mode, key]
    if alike := meant(error.where, error.value):
        return f"no such key here; is it {alike[0][-1]}?"
    return f"no such key here; there are {', '.join(known_keys(error.where[:-1], error.mode))}"


def _keys_and_values(error: _Error) -> str:
    if not error.where:
        return "version: 1 and publications are wanted in a policy file"
    wanted = f"keys and values are wanted here, such as {_example(error)}"
    if error.given is None:
        return f"{wanted}; is it empty?"
    listed = error.given if error.key == "roles" and isinstance(error.given, list) else []
    others = [
        name for name in map(str, listed) if error.mode not in error.table.modes.get(name, ())
    ]
    if error.mode is not None and others:
        return f"{wanted}; {others[0]}: {not_published_so(others[0], error.mode, error.table)}"
    return wanted


def _example(error: _Error) -> str:
    name, role = _ROLES.get(error.mode or Mode.BRIDGE, _ROLES[Mode.BRIDGE])
    if "roles" not in error.where or error.key in _MAPPINGS:
        return _MAPPINGS.get(error.key, "{key: value}")
    return f"{{{name}: {role}}}" if error.where[-1] == "roles" else role


def _list(error: _Error) -> str:
    if error.key == "roles":
        return f"a list of names is wanted here; {_MIXED}"
    example = error.given if isinstance(error.given, str) and error.given else "one, two"
    return f"a list is wanted here: [{example}]"


def _choice(error: _Error) -> str:
    if error.where == ("version",):
        return "this is version 1: write version: 1, without quotes"
    choices = re.findall(r"'([^']*)'", error.expected)
    numbers = choices[0][:1].isdigit()
    named = [f'"{choice}"' if numbers else choice for choice in choices]
    quoted = ", in quotes" if numbers else ""
    return f"{', '.join(named[:-1])} or {named[-1]} is wanted here{quoted}"


_NUMBERS = {**LimitsRow.model_fields, **UploadsRow.model_fields, **ClamAvRow.model_fields}
"""Rows of numbers that are no ports."""


def _number(error: _Error) -> str:
    quotes = ", without quotes" if str(error.given).isdecimal() else ""
    field = _NUMBERS.get(error.key)
    if field is None:
        return f"a port number is wanted here, such as 443{quotes}"
    unit = " of bytes" if error.key in _BYTES else ""
    kind = "number of seconds" if error.key.endswith("seconds") else f"whole number{unit}"
    # Not in powers of ten, as :g would have them.
    default = f"{field.default:.0f}"
    return f"a {kind} is wanted here, such as {default}{quotes}"


_WORDS: Mapping[str, Callable[[_Error], str]] = {
    "extra_forbidden": _unknown,
    "missing": _missing,
    "union_tag_not_found": lambda _: "mode is missing: bridge, tunnel or plaintext",
    "union_tag_invalid": lambda _: "mode is bridge, tunnel or plaintext",
    "model_type": _keys_and_values,
    "model_attributes_type": _keys_and_values,
    "dict_type": _keys_and_values,
    "list_type": _list,
    "too_short": lambda _: "this must not be empty",
    "literal_error": _choice,
    "string_type": _text,
    "string_pattern_mismatch": _text,
    "int_type": _number,
    "float_type": _number,
    "bool_type": lambda _: "true or false is wanted here, without quotes",
}
"""By the kind of pydantic's error. Of the others, what a number may be, its own words will do."""


def not_published_so(role: str, mode: Mode, table: RoleTable) -> str:
    """Why a role cannot be published in a mode, and how it can."""
    if role not in table.modes:
        return f"not a site system role that is known; those are: {', '.join(table.modes)}"
    modes = " or ".join(sorted(table.modes[role]))
    cited = f" ({table.not_bridged[role]})" if role in table.not_bridged else ""
    if mode is Mode.PLAINTEXT:
        cited = " (BRIDGE-HTTPS-ONLY)"
    return f"this role cannot be published with mode: {mode}, only with mode: {modes}{cited}"
