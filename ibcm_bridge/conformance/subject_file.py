"""The subject file: YAML -> the proxy to check, its addresses and names, and its known gaps.

The reader reports each problem with its file, line and place, like that of the policy file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from ibcm_bridge import __version__
from ibcm_bridge.lab.command_line import pasted
from ibcm_bridge.policy_file.reading import PolicyError, Reading, why
from ibcm_bridge.policy_file.rows.values import Because, Fqdn, Row, optional, required
from ibcm_bridge.policy_file.yaml_tree import read_yaml

MAX_SECONDS = 300
MIN_LIMIT_SECONDS = 4
"""A valid request of the checks takes 2 seconds."""

KIT_LIMITS = dict.fromkeys(("handshake", "head", "body", "idle", "response"), 5)
"""The time limits of the kit's policy of ibcm-bridge, in seconds."""

SCHEMA = "subject.schema.json"
"""A file of the kit."""

type PublicationName = Literal[
    "management-point",
    "management-point-users",
    "management-point-tunnel",
    "distribution-point",
    "software-update-point",
    "fallback-status-point",
    "application-catalog-website-point",
    "policy-module",
]
"""A role, or a second publication of a management point: for users, or as a tunnel."""

PUBLICATIONS: tuple[str, ...] = get_args(PublicationName.__value__)

IpAddress = Annotated[
    str,
    Field(
        pattern=r"^(\[[0-9A-Fa-f:.]+\]|[0-9.]+):[0-9]{1,5}$",
        title="an IP address and a port number",
        examples=["192.0.2.1:443"],
    ),
]


class PublicationRow(
    Row, examples=[{"name": "bridge.internet.example", "address": "10.0.0.1:443"}]
):
    """How clients reach a role through the proxy."""

    name: Fqdn = required("the server name (SNI) and the Host of requests")
    address: IpAddress = required("the address of the proxy: an IP address and a port")


class GapRow(Row, examples=[{"check": "paths::backslash", "because": "planned for version 2"}]):
    """A check that is known to fail. The run fails when it passes."""

    check: str = required("the id of a check", examples=["paths::backslash"])
    because: Because


type LimitSeconds = Annotated[
    float, Field(ge=MIN_LIMIT_SECONDS, le=MAX_SECONDS, title="a number of seconds")
]


class TimeLimitsRow(Row, examples=[{"handshake": 10, "head": 60}]):
    """The time limits of the proxy, in seconds. A check waits 3 seconds longer."""

    handshake: LimitSeconds | None = optional(None, "for a client's TLS handshake")
    head: LimitSeconds | None = optional(None, "for a request head")
    body: LimitSeconds | None = optional(None, "for a request body")
    idle: LimitSeconds | None = optional(None, "without a request")
    response: LimitSeconds | None = optional(None, "until a response begins, and between its bytes")


class RevocationRow(Row, examples=[{"seconds": 30}]):
    """How the proxy gets new revocation lists: the checks write them to the kit's pki folder."""

    seconds: float = optional(30.0, "seconds until the proxy uses new lists", gt=0, le=MAX_SECONDS)
    command: list[str] = optional(
        [],
        "a program and its arguments that bring the lists to the proxy, or reload it; without "
        "it, the proxy reads the kit's files itself",
        examples=[["systemctl", "reload", "nginx"]],
    )


class SubjectRow(Row):
    """A subject of `ibcm-bridge conformance run`; docs/conformance.md explains each key."""

    version: Literal[1] = required("the version of this format")
    product: str = required("the name of the product, for the report", min_length=1)
    product_version: str = optional("", "the version of the product, for the report")
    configuration: str | None = optional(
        None, "the product's configuration file; the report has its SHA-256"
    )
    kit: str = optional("conformance-kit", "the folder that `conformance serve` wrote")
    clients: str | None = optional(
        None, "a folder with client certificates of your own, in place of the kit's pki/clients"
    )
    authority: str | None = optional(
        None, "the root of the proxy's own server certificates (PEM), in place of the kit's"
    )
    seconds: float = optional(
        30.0, "seconds until a request without a response is a hang", gt=0, le=MAX_SECONDS
    )
    time_limits: TimeLimitsRow = optional(
        TimeLimitsRow(), "the proxy's time limits; `seconds` for each that is missing"
    )
    revocation: RevocationRow | None = optional(
        None, "how the proxy gets new revocation lists; if omitted, no check makes any"
    )
    publications: dict[PublicationName, PublicationRow] = required(
        "the roles that the proxy publishes", min_length=1
    )
    features: list[Literal["ca_names", "windows-authentication"]] = optional(
        [], "features that the proxy has; checks of other features are not applicable"
    )
    known_gaps: list[GapRow] = optional([], "checks that are known to fail")


def subject_schema() -> dict[str, Any]:
    """The JSON schema of a subject file, for editors."""
    schema = SubjectRow.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Subject of ibcm-bridge conformance",
    }


def read_subject(path: Path) -> SubjectRow:
    """Read and check a subject file. PolicyError with all problems."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError([f"{path}: cannot be read: {why(error)}"]) from error
    reading = Reading(path, read_yaml(text))
    row = _read_row(reading)
    if row is not None:
        for name, publication in row.publications.items():
            if why_not := _why_no_address(publication.address):
                reading.report(("publications", name, "address"), why_not)
        if row.clients is not None and row.revocation is not None:
            reading.report(
                ("revocation",),
                "the kit revokes only its own certificates; remove this key or clients",
            )
        if row.configuration is not None:
            reading.read(("configuration",), row.configuration)
    if row is None or reading.tree.problems:
        raise PolicyError(reading.sorted_problems())
    return row


def _read_row(reading: Reading) -> SubjectRow | None:
    if reading.tree.problems:
        return None
    try:
        return SubjectRow.model_validate(reading.tree.value)
    except ValidationError as error:
        for item in error.errors():
            place = tuple(part for part in item["loc"] if part != "[key]")
            reading.report(place, _in_words(item))
        return None


def _in_words(item: ErrorDetails) -> str:
    if item["type"] == "missing":
        return "this key is missing"
    if item["type"] == "extra_forbidden":
        return "unknown key; docs/conformance.md has all keys"
    return item["msg"].replace("Input should be", "invalid value; write")


def address_of(text: str) -> tuple[str, int]:
    """Return host and port of an `IpAddress`."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def _why_no_address(text: str) -> str:
    host, port = address_of(text)
    try:
        ip_address(host)
    except ValueError:
        return "not an IP address; write an address such as 192.0.2.1:443"
    return "" if 0 < port < 65_536 else f"{port} is not a port"


def public_addresses(row: SubjectRow) -> list[str]:
    """Return the addresses that are neither loopback nor private."""
    addresses = {publication.address for publication in row.publications.values()}
    return sorted(
        text
        for text in addresses
        if not (found := ip_address(address_of(text)[0])).is_loopback and not found.is_private
    )


TEMPLATE = """\
# yaml-language-server: $schema={schema}
# The proxy to check. docs/conformance.md explains every key.
#
#   ibcm-bridge conformance serve              runs site systems for the proxy, and writes the kit
#   {run}
version: 1
product: {product}
product_version: "{version}"
# configuration: proxy.conf        # the report has its SHA-256
kit: {kit}
# clients: own-clients             # client certificates of your own, in place of the kit's
# authority: root.pem              # the root of the proxy's own server certificates
seconds: 30                        # a request without a response is a hang after this time

{behavior}
publications:                      # remove the roles that the proxy does not publish
{publications}
features: [ca_names, windows-authentication]       # remove those that the proxy does not have
known_gaps: []                     # - {{check: paths::backslash, because: planned for version 2}}
"""

_ANY_PRODUCT = """\
# The proxy's own time limits, in seconds. A check of slowness waits 3 seconds longer than its
# limit, and then says *hang*. Without a limit, it waits `seconds`.
# time_limits: {handshake: 60, head: 60, body: 60, idle: 60, response: 60}

# How the proxy gets new CRLs of the kit. Without this key, no check makes any. Without `command`,
# the proxy reads the kit's files itself.
# revocation: {seconds: 30, command: [systemctl, reload, my-proxy]}
"""
_IBCM_BRIDGE = f"""\
# The time limits of the kit's bridge.yaml. A check of slowness waits 3 seconds longer.
time_limits: {json.dumps(KIT_LIMITS).replace('"', "")}

# The bridge reads new CRLs of the kit itself.
revocation: {{seconds: 30}}
"""
BRIDGE = "ibcm-bridge"
"""The product of `init --for`, with the policy of the kit."""


def template(
    file: str, kit: Path, addresses: Mapping[str, tuple[str, str]], product: str = ""
) -> str:
    """Return a new subject file with these names and addresses; `product` is `BRIDGE`, or empty."""
    lines = [
        f"  {role}: {{name: {name}, address: '{address}'}}\n"
        for role, (name, address) in addresses.items()
    ]
    return TEMPLATE.format(
        run=pasted(["ibcm-bridge", "conformance", "run", file]),
        kit=kit,
        schema=kit / SCHEMA,
        publications="".join(lines),
        product=product or "my-proxy",
        version=__version__ if product else "1.0",
        behavior=_IBCM_BRIDGE if product else _ANY_PRODUCT,
    )
