"""Takes certificates, keys and trusted authorities that change on disk while the bridge runs.

1. A check compares the metadata of the files with those at the time when the policy was read.
2. After a change, a generation is built from the same text of the policy and from the new files.
   It keeps the shadow policy. A renewal does not depend on the files of that.
3. A problem, such as a key without its new certificate, is logged once. The current files stay in
   use, and the check is repeated.
4. A certificate of the bridge that expires soon, or has expired, is logged once.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import logging
from collections.abc import Callable, Iterator

from ibcm_bridge.addons.bridge import Bridge
from ibcm_bridge.addons.renewal.file_watch import Problems
from ibcm_bridge.addons.run.reload import PolicyText, Reload
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy.trust import WARN_CERTIFICATE
from ibcm_bridge.policy_file import PolicyError
from ibcm_bridge.policy_file.reading import file_state

logger = logging.getLogger(__name__)


class CredentialFiles:
    """Watches the files of the current policy."""

    def __init__(
        self, bridge: Bridge, reload: Reload, read: Callable[[PolicyText], Policy]
    ) -> None:
        """`read` checks a text of the policy. It raises PolicyError."""
        self._bridge = bridge
        self._reload = reload
        self._read = read
        self._dates = Problems("certificates")
        self._first = True

    async def check(self) -> float:
        """Take changed files. Never raises: after a failure the current ones stay."""
        policy, problems = self._bridge.generation.policy, []
        try:
            self._report_dates()
            if await asyncio.to_thread(_has_changed, policy) and await self._reload.renew(
                policy, lambda: self._read_again(policy)
            ):
                logger.info("certificates and keys were read again")
        except PolicyError as error:
            problems = error.problems
        except Exception as error:  # a defect must not end the watch
            problems = [f"cannot be read ({type(error).__name__})"]
        self._bridge.credential_problems.update(problems)
        return self._bridge.shared.check_seconds

    def _read_again(self, policy: Policy) -> Policy:
        return dataclasses.replace(self._read(PolicyText(policy.source)), shadow=policy.shadow)

    def _report_dates(self) -> None:
        dates = sorted(set(_dates(self._bridge.generation.policy, self._bridge.shared.clock())))
        # The first ones were already reported at the start.
        self._dates.update(dates, silently=self._first)
        self._first = False


def _has_changed(policy: Policy) -> bool:
    return any(file_state(state[0]) != state for state in policy.files)


def _dates(policy: Policy, now: datetime.datetime) -> Iterator[str]:
    for _, publication in policy.bridged():
        for credential in (publication.credential, publication.site_system_credential):
            for certificate in credential.chain:
                ends = certificate.not_valid_after_utc
                if ends - now < WARN_CERTIFICATE:
                    verb = "expired" if ends < now else "expires"
                    name = certificate.subject.rfc4514_string()
                    yield f"{name} {verb} on {ends:%Y-%m-%d %H:%M} UTC; renew it"
