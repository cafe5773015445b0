"""The bridges of a measurement: the shipped policy, with a few settings."""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ibcm_bridge.authentication.certificate import certificate_facts
from ibcm_bridge.identity.bindings import Binding, Source
from ibcm_bridge.lab.bridge.process import RunningBridge
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.pki.files import shipped_policy
from ibcm_bridge.lab.site_systems.site_systems import Address
from ibcm_bridge.messages.client_guid import read_guid
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.storage.binding_registry import Registry

HAS_WORKERS = "workers" in {field.name for field in dataclasses.fields(Policy)}
"""False if this version of the bridge is one process."""


@dataclass(frozen=True)
class Bound:
    """A client with a bound client GUID, and the key that signs its messages."""

    guid: str
    key: RSAPrivateKey


_ROOM = "\nlimits: {connections: 5000}\n"
"""For as many waiting clients as are measured."""

_ENFORCED = "\nmessages: {identity: enforce, signatures: enforce, bindings: bindings.sqlite}\n"


class Variant(Enum):
    """A bridge; the value is the folder of its files."""

    SHIPPED = "bridge"
    """It resumes TLS sessions with the site system."""
    NO_SESSIONS = "bridge-that-resumes-nothing"
    ALL_SESSIONS = "bridge-that-lets-clients-resume"
    TWO_WORKERS = "bridge-with-two-workers"


def variants(bound: Bound | None) -> list[Variant]:
    """The bridges to compare; only the first if the messages are not enforced."""
    if bound is None:
        return [Variant.SHIPPED]
    return [each for each in Variant if HAS_WORKERS or each is not Variant.TWO_WORKERS]


def prepared_bridge(
    directory: Path,
    pki: LabPki,
    site_system_port: int,
    bound: Bound | None,
    variant: Variant = Variant.SHIPPED,
) -> RunningBridge:
    """A bridge that is not started yet, with its files in a folder of `directory`.

    All bridges have the same bound client, which is made with the first.
    """
    own = directory / variant.value
    policy = _policy(variant) + _ROOM + (_ENFORCED if bound else "")
    bridge = RunningBridge(own, pki, OneForBoth(site_system_port), policy=policy)
    if bound:
        clients = directory / Variant.SHIPPED.value / "pki" / "clients"
        _bind(bound, LabCredential.read(clients, "computer"), own / "bindings.sqlite")
    return bridge


def _policy(variant: Variant) -> str:
    policy = shipped_policy()
    if variant is Variant.TWO_WORKERS:
        return policy + "\nworkers: 2\n"
    if variant is Variant.SHIPPED:
        return policy
    refuses = variant is Variant.NO_SESSIONS
    key, value = ("site_systems", "refuse") if refuses else ("clients", "allow")
    return re.sub(
        rf"^    {key}:.*$", rf"\g<0>\n      resumption: {value}", policy, flags=re.MULTILINE
    )


def binding_of(bound: Bound, client: LabCredential) -> Binding:
    """The binding of a client's GUID to its certificate and signing key."""
    signing_key = bound.key.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    guid = read_guid(bound.guid)
    assert guid is not None
    return Binding(
        guid,
        Source.REGISTRATION,
        datetime.datetime.now(datetime.UTC),
        certificate_facts(client.certificate).key_sha256,
        signing_key=signing_key,
    )


def _bind(bound: Bound, client: LabCredential, bindings: Path) -> None:
    with Registry(bindings) as registry:
        registry.add(binding_of(bound, client))


def check_audit(bridge: RunningBridge) -> None:
    """Raise RuntimeError if the bridge refused a request or did not inspect a message."""
    messages = 0
    with bridge.audit_file.open("rb") as lines:
        for record in map(json.loads, lines):
            if record["event"] != "request":
                continue
            if record["verdict"] != "allow":
                raise RuntimeError(f"the bridge refused a request: {record}")
            if record["method"] == "CCM_POST":
                messages += 1
                if not any(view.startswith("inflated:") for view in record["inspected"]):
                    raise RuntimeError(f"the bridge did not inspect a message: {record}")
    if not messages:
        raise RuntimeError("the bridge's audit has no message")


class OneForBoth:
    """The addresses that `RunningBridge` needs: one stand-in for both site systems."""

    def __init__(self, port: int) -> None:
        address = Address("127.0.0.1", port)
        self.addresses = {"management-point": address, "distribution-point": address}
