"""The broken twins of the checks: bridges with one rule off, or with one rule too many.

Most are breaks of the cases of the demo (`tests.lab.cases.breaks`). `TWIN_OF` has one for each
check, which must fail against it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from tests.lab.cases.breaks import Break

SANITY = (b"/SMS_MP/.sms_aut?MPLIST",)
"""The target of the sanity exchange."""


def _without_certificates(original: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse every client except the one of the sanity exchange."""

    def authenticate(publication: Any, certificate: Any) -> object:
        if b"pc1.corp.example" in certificate.certificate.public_bytes_raw():
            return original(publication, certificate)
        return Deny(Reason.CERTIFICATE_NAME, rules.CLIENTS.of(publication.name), "too strict")

    return authenticate


TWINS: dict[str, Break] = {}

TWIN_OF: dict[str, str] = {}
