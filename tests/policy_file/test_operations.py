"""`operations` of a policy file."""

from __future__ import annotations

import pytest

from ibcm_bridge.lab.pki.files import shipped_policy
from ibcm_bridge.policy.policy import Operations
from tests.policy_file.conftest import Load
from tests.policy_samples import Problems


def with_operations(text: str) -> str:
    return f"{shipped_policy()}\noperations: {text}\n"


def test_metrics_are_off_by_default(load: Load) -> None:
    assert load(shipped_policy()).operations is None


@pytest.mark.parametrize(
    ("text", "operations"),
    [
        ("{listen: 127.0.0.1:9100}", Operations(("127.0.0.1", 9_100))),
        ('{listen: "[::1]:9100"}', Operations(("::1", 9_100))),
        (
            "{listen: 0.0.0.0:9100, because: scraped by the monitoring server}",
            Operations(("0.0.0.0", 9_100), "scraped by the monitoring server"),
        ),
    ],
)
def test_an_address_is_read(load: Load, text: str, operations: Operations) -> None:
    assert load(with_operations(text)).operations == operations


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{listen: 0.0.0.0:9100}", "other machines can connect, without authentication"),
        ("{listen: 127.0.0.1:8443}", "a publication listens at this address"),
        ("{listen: 127.0.0.1:0}", "0 is not a port"),
        ("{listen: 127.0.0.1:70000}", "70000 is not a port"),
        ("{because: scraped by the monitoring server}", "listen"),
        ("{listen: 127.0.0.1:9100, because: short}", "8 to 500 characters"),
    ],
)
def test_an_address_that_is_not_allowed_is_a_problem(
    problems: Problems, text: str, problem: str
) -> None:
    ((_, found),) = problems(with_operations(text))
    assert found.startswith("operations.")
    assert problem in found
