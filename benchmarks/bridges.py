"""The bridges of a measurement: the shipped policy, with a few settings."""

from __future__ import annotations

import datetime
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
from ibcm_bridge.storage.binding_registry import Registry


@dataclass(frozen=True)
class Bound:
    """A client with a bound client GUID, and the key that signs its messages."""

    guid: str
    key: RSAPrivateKey


_ENFORCED = "\nmessages: {identity: enforce, signatures: enforce, bindings: bindings.sqlite}\n"


class Sessions(Enum):
    """The TLS sessions that a bridge resumes; the value is the folder of its files."""

    SHIPPED = "bridge"
    """Those with the site system."""
    NONE = "bridge-that-resumes-nothing"
    ALL = "bridge-that-lets-clients-resume"


def prepared_bridge(
    directory: Path,
    pki: LabPki,
    site_system_port: int,
    bound: Bound | None,
    sessions: Sessions = Sessions.SHIPPED,
) -> RunningBridge:
    """A bridge that is not started yet, with its files in a folder of `directory`."""
    policy = shipped_policy() + (_ENFORCED if bound else "")
    if sessions is not Sessions.SHIPPED:
        key, value = (
            ("clients", "allow") if sessions is Sessions.ALL else ("site_systems", "refuse")
        )
        policy = re.sub(
            rf"^    {key}:.*$", rf"\g<0>\n      resumption: {value}", policy, flags=re.MULTILINE
        )
    own = directory / sessions.value
    own.mkdir(exist_ok=True)
    bridge = RunningBridge(own, pki, OneForBoth(site_system_port), policy=policy)
    if bound:
        client = LabCredential.read(own / "pki" / "clients", "computer").certificate
        signing_key = bound.key.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
        guid = read_guid(bound.guid)
        assert guid is not None
        binding = Binding(
            guid,
            Source.REGISTRATION,
            datetime.datetime.now(datetime.UTC),
            certificate_facts(client).key_sha256,
            signing_key=signing_key,
        )
        with Registry(own / "bindings.sqlite") as registry:
            registry.add(binding)
    return bridge


def check_audit(bridge: RunningBridge) -> None:
    """Raise RuntimeError if the bridge refused a request or did not inspect a message."""
    requests = [record for record in bridge.audit() if record["event"] == "request"]
    messages = [record for record in requests if record["method"] == "CCM_POST"]
    for record in requests:
        if record["verdict"] != "allow":
            raise RuntimeError(f"the bridge refused a request: {record}")
    for record in messages:
        if not any(view.startswith("inflated:") for view in record["inspected"]):
            raise RuntimeError(f"the bridge did not inspect a message: {record}")
    if not messages:
        raise RuntimeError("the bridge's audit has no message")


class OneForBoth:
    """The addresses that `RunningBridge` needs: one stand-in for both site systems."""

    def __init__(self, port: int) -> None:
        address = Address("127.0.0.1", port)
        self.addresses = {"management-point": address, "distribution-point": address}
