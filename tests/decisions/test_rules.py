"""Rules with names in them."""

from __future__ import annotations

import pytest

from ibcm_bridge.decisions.rules import RuleOf

PATTERN = RuleOf("{role}.directories.{directory}")


def test_names_replace_the_braces_in_order() -> None:
    rule = PATTERN.of("management-point", "sms_mp")
    assert rule == "management-point.directories.sms_mp"
    assert PATTERN.pattern == "{role}.directories.{directory}"


@pytest.mark.parametrize("name", ["%s", "%(a)s", "100%", "{role}", "{}", "%", ""])
def test_a_name_is_inserted_unchanged(name: str) -> None:
    assert PATTERN.of(name, "sms_mp") == f"{name}.directories.sms_mp"


@pytest.mark.parametrize("names", [(), ("a",), ("a", "b", "c")])
def test_the_number_of_names_must_match_the_braces(names: tuple[str, ...]) -> None:
    with pytest.raises(TypeError):
        PATTERN.of(*names)
