"""A policy needs file descriptors for its connections, and the system must allow them."""

from __future__ import annotations

import sys

import pytest

from ibcm_bridge.storage import open_files

if sys.platform == "win32":
    pytest.skip("Windows has no limit", allow_module_level=True)

import resource


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The limits of this process, which a test may change without an effect."""
    limits = [(1_024, 4_096)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, both: limits.append(both))
    return limits


@pytest.mark.parametrize("connections", [1, 1_000, 2_000])
def test_connections_within_the_hard_limit_are_allowed(
    limits: list[tuple[int, int]], connections: int
) -> None:
    assert open_files.open_files_refusal(connections) is None
    open_files.raise_open_file_limit()
    assert limits[-1] == (4_096, 4_096)


def test_more_connections_than_descriptors_are_refused(limits: list[tuple[int, int]]) -> None:
    assert open_files.open_files_refusal(2_017) == (
        "2017 connections need 4098 file descriptors, but the system allows 4096; raise its hard "
        "limit (LimitNOFILE= in systemd), or write at most 2016"
    )
    assert open_files.open_files_refusal(2_016) is None


def test_without_a_hard_limit_every_number_is_allowed(limits: list[tuple[int, int]]) -> None:
    limits.append((1_024, resource.RLIM_INFINITY))
    assert open_files.open_files_refusal(100_000) is None
    open_files.raise_open_file_limit()
    soft, _ = limits[-1]
    assert soft >= 2 * 100_000
