"""Rules with names in them."""

from __future__ import annotations

import pytest

from ibcm_bridge.decisions.rules import RuleOf

PATTERN = RuleOf("{role}.directories.{directory}")


def test_names_stand_in_the_order_of_the_braces() -> None:
    rule = PATTERN.of("management-point", "sms_mp")
    assert rule == "management-point.directories.sms_mp"
    assert PATTERN.pattern == "{role}.directories.{directory}"


@pytest.mark.parametrize("name", ["%s", "%(a)s", "100%", "{role}", "{}", "%", ""])
def test_a_name_stands_there_as_it_is(name: str) -> None:
    assert PATTERN.of(name, "sms_mp") == f"{name}.directories.sms_mp"


@pytest.mark.parametrize("names", [(), ("a",), ("a", "b", "c")])
def test_as_many_names_as_braces_are_needed(names: tuple[str, ...]) -> None:
    with pytest.raises(TypeError):
        PATTERN.of(*names)
