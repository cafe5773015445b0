"""The findings of `ibcm-bridge check` without `--connect`.

The policy was loaded by the same code that `run` uses, so it is well-formed. The check opens no
connection, and takes the time as an argument.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from ibcm_bridge.commands.check.certificates import (
    VerifyAuthority,
    check_certificates,
    describe_trust_files,
)
from ibcm_bridge.commands.check.findings import Finding, Level
from ibcm_bridge.commands.check.publications import describe_publication
from ibcm_bridge.commands.check.settings import describe_settings
from ibcm_bridge.policy.addresses import address_text
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy.publications import BridgePublication, Listener


def check_policy(
    policy: Policy, now: datetime.datetime, verify_authority: VerifyAuthority
) -> Iterator[Finding]:
    """All findings, in the order of the policy. `verify_authority` uses the machine's clock."""
    for listener in policy.listeners:
        at = address_text(listener.address)
        if isinstance(listener, Listener) and listener.without_sni is not None:
            text = f"clients that send no server name (SNI) reach {listener.without_sni}"
            yield Finding(Level.FACT, at, text)
        for publication in listener.published:
            yield from describe_publication(listener.address, publication)
            if isinstance(publication, BridgePublication):
                here = f"{at}: {publication.name}"
                yield from check_certificates(here, publication, now, verify_authority)
    yield from describe_trust_files(policy)
    yield from describe_settings(policy)
