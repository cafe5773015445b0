"""Changed policies, and the problems that `check` reports."""

import dataclasses
import datetime
from pathlib import Path

from ibcm_bridge.addons.tls.verification import verify_authority
from ibcm_bridge.commands.check.findings import Finding, Level
from ibcm_bridge.commands.check.policy import check_policy
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy.publications import BridgePublication, Listener
from ibcm_bridge.policy.trust import Credential

DAY = datetime.timedelta(days=1)


def with_(policy: Policy, **changes: object) -> Policy:
    """The policy with changes in its bridged publication."""
    listener = policy.listeners[0]
    publications = {
        name: dataclasses.replace(publication, **changes)
        if isinstance(publication, BridgePublication)
        else publication
        for name, publication in listener.publications.items()
    }
    return dataclasses.replace(policy, listeners=(Listener(listener.address, publications),))


def change(directory: Path, *changes: tuple[str, str]) -> None:
    """Write the shipped policy with every occurrence of a text replaced."""
    path = directory / "bridge.yaml"
    text = path.read_text("utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text.replace("../audit.jsonl", "audit.jsonl"), "utf-8")


def bad_findings(policy: Policy, now: datetime.datetime) -> list[Finding]:
    return [
        finding
        for finding in check_policy(policy, now, verify_authority)
        if finding.level is not Level.FACT
    ]


def credential_of(made: LabCredential) -> Credential:
    return Credential(made.chain_pem(), made.key_pem())
