"""Where traffic may be shown on a page (`run --web`): in a lab, or where the policy says why.

A lab is a policy that only this machine can reach. Whoever has the page's address sees who asks
for what and what is in messages, secrets apart; where real clients connect, that wants a reason.
"""

from __future__ import annotations

from ibcm_bridge.policy.addresses import is_loopback, shown
from ibcm_bridge.policy.policy import Policy


def why_no_page(policy: Policy) -> str | None:
    """Why traffic must not be shown, for the operator; None where it may be."""
    if policy.web_because is not None:
        return None
    others = [shown(one.address) for one in policy.listeners if not is_loopback(one.address[0])]
    if not others:
        return None
    return (
        f"the policy listens on {', '.join(others)}, so this is no lab; to show traffic all the "
        "same, have the policy say why (web: {because: ...})"
    )
