from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ibcm_bridge.commands.capacity.costs import Costs
from ibcm_bridge.commands.capacity.site import Site, loads_of
from ibcm_bridge.commands.capacity.sizing import (
    Question,
    cores_needed,
    enough_machines,
    size_of,
    try_machines,
)
from ibcm_bridge.commands.main import main
from tests.commands.capacity.test_simulation import COSTS

SITE = Site(20_000)


def test_the_cores_are_those_of_the_work() -> None:
    # 22.2 connections and 111 messages per second.
    usual, *_ = loads_of(SITE)
    assert cores_needed(usual, COSTS) == pytest.approx(22.2 * 0.01 + 111 * 0.002, rel=0.01)


def test_machines_are_added_until_every_load_is_carried() -> None:
    tried = enough_machines(Question(SITE, COSTS, cores=1, connections=1_000))
    assert [entry.suffices for entry in tried] == [False] * (len(tried) - 1) + [True]
    assert len(tried) > 1
    numbers = [entry.machines for entry in tried]
    assert numbers == [*range(numbers[0], numbers[-1] + 1)]


def test_a_low_limit_of_connections_is_not_enough() -> None:
    assert try_machines(Question(SITE, COSTS, 8), 4).suffices
    assert not try_machines(Question(SITE, COSTS, 8, connections=300), 4).suffices


def test_the_size_of_a_machine() -> None:
    question = Question(SITE, COSTS, cores=4)
    tried = try_machines(question, 2)
    size = size_of(question, tried)
    most = max(outcome.most_connections for _, outcome in tried.outcomes)
    assert most < size.connections <= 2 * most
    assert size.descriptors == 2 * size.connections + 64
    assert size.memory_bytes > 4e8 + size.connections * COSTS.client_bytes
    assert size.records_per_day == pytest.approx(6 * 20_000 * 96)
    one_day = size_of(replace(question, days=1), tried)
    assert one_day.audit_bytes_kept == one_day.audit_bytes_per_day < size.audit_bytes_kept


# The command


def test_the_shipped_costs_are_plausible() -> None:
    costs = Costs.read()
    assert 0 < costs.message_seconds < costs.connection_seconds < 0.1
    faster = costs.on_a_core(2.0)
    assert faster.message_seconds == costs.message_seconds / 2
    assert faster == replace(
        costs,
        message_seconds=costs.message_seconds / 2,
        connection_seconds=costs.connection_seconds / 2,
    )


def test_the_report_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["capacity", "--clients", "20000", "--cores", "4"]) == 0
    output = capsys.readouterr().out
    assert max(map(len, output.splitlines())) <= 80
    for text in ("20,000 clients", "usual day", "patch Tuesday", "limits.connections", "suffice"):
        assert text in output


def test_too_few_machines_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["capacity", "--clients", "50000", "--cores", "1", "--machines", "1"]) == 1
    assert "1 machine of 1 core does not suffice." in capsys.readouterr().out


def test_one_object_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["capacity", "--clients", "5000", "--machines", "2", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (tried,) = document["tried"]
    assert tried["suffices"] is True
    assert tried["machines"] == 2
    assert document["site"]["clients"] == 5000
    assert document["size"]["connections"] == tried["connections"]


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("--clients", "0", "0 is not from 1 to 2,000,000"),
        ("--clients", "many", "invalid"),
        ("--every", "15", "'15' is not a time such as 30s, 15m or 1h"),
        ("--every", "0s", "'0s' is not a time"),
        ("--speed", "0", "0 is not from 0.1 to 20"),
    ],
)
def test_an_impossible_value_is_refused(
    option: str, value: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["capacity", "--clients", "5", option, value])
    assert exit_.value.code == 2
    assert why in capsys.readouterr().err


def test_a_site_for_which_no_number_of_machines_suffices(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--clients", "30000", "--every", "10s", "--cores", "1", "--speed", "0.1"]
    assert main(["capacity", *arguments]) == 1
    assert "256 machines do not suffice" in capsys.readouterr().err
