from collections import Counter

import pytest

from ibcm_bridge.conformance.collection import Level, all_checks, read_check
from ibcm_bridge.conformance.judgement import Judgement, Outcome
from ibcm_bridge.conformance.subject import Subject


def _check(_subject: Subject) -> Judgement:
    """A request MUST be forwarded.

    Requirement: VERB-MP. Source: protocol.md 1.2.
    """
    return Judgement(Outcome.PASS, "")


def test_an_id_has_the_topic_and_the_name_of_the_function() -> None:
    checks = all_checks()
    assert "certificates::revoked" in checks
    assert all(name == check.id for name, check in checks.items())


def test_a_description_has_the_level_the_requirement_and_the_source() -> None:
    check = read_check("topic::name", _check)
    assert check.text == "A request MUST be forwarded."
    assert (check.level, check.requirement) == (Level.MUST, "VERB-MP")
    assert check.source == "protocol.md 1.2"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("MUST", "may"),
        ("MUST be", "MUST or SHOULD be"),
        ("VERB-MP", "VERB-XX"),
        ("Requirement: ", ""),
        (" Source: protocol.md 1.2.", ""),
    ],
)
def test_a_description_of_another_form_is_an_error(old: str, new: str) -> None:
    def changed(subject: Subject) -> Judgement:
        return _check(subject)

    changed.__doc__ = (_check.__doc__ or "").replace(old, new)
    with pytest.raises(ValueError, match="the docstring needs"):
        read_check("topic::name", changed)


def test_no_two_checks_have_the_same_description() -> None:
    texts = Counter(check.text for check in all_checks().values())
    assert [text for text, count in texts.items() if count > 1] == []
