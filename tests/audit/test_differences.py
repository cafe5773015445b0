"""The sums of what another policy judges in another way."""

from __future__ import annotations

from ibcm_bridge.audit.differences import Change, Differences
from ibcm_bridge.audit.summary import Fields
from tests.audit.test_summary import ALLOWED, REFUSED, TURNED_AWAY

NOW_ALLOWED: Fields = {
    **ALLOWED,
    "server_name": "mp.example",
    "rule": "management-point.verbs.GET",
    "shadow": {"verdict": "deny", "reason": "resource", "rule": "x.directories", "detail": "/y"},
}
NOW_REFUSED: Fields = {
    **REFUSED,
    "server_name": "mp.example",
    "shadow": {"verdict": "allow", "not_judged": "body"},
}
OTHER_REASON: Fields = {
    **REFUSED,
    "server_name": "mp.example",
    "shadow": {"verdict": "deny", "reason": "resource", "rule": "x.directories"},
}


def test_each_change_is_counted_with_both_outcomes() -> None:
    differences = Differences()
    for record in (NOW_ALLOWED, NOW_ALLOWED, NOW_REFUSED, OTHER_REASON, ALLOWED, TURNED_AWAY):
        differences.add(record)
    assert (differences.requests, differences.different) == (5, 4)
    assert differences.not_judged == {"body": 1}
    found = {change: [(row.key, row.count) for row in rows] for change, rows in differences.most(9)}
    then, now = ("deny", "resource", "x.directories"), ("deny", "verb", "roles.verbs")
    assert found == {
        Change.REFUSED: [(("mp.example", "allow", "", "", *then), 2)],
        Change.ALLOWED: [(("mp.example", *now, "allow", "", ""), 1)],
        Change.OTHER: [(("mp.example", *now, *then), 1)],
    }
    assert differences.rows[Change.REFUSED].most(1)[0].last["detail"] == "/y"


def test_a_request_that_is_not_judged_completely_is_only_counted() -> None:
    differences = Differences()
    for record, part in ((ALLOWED, "identity"), (ALLOWED, "identity"), (ALLOWED, "made up")):
        differences.add({**record, "shadow": {"verdict": "allow", "not_judged": part}})
    assert (differences.requests, differences.different) == (3, 0)
    assert differences.not_judged == {"identity": 2}
    assert not [*differences.most(9)]


def test_a_field_of_another_type_is_not_counted() -> None:
    differences = Differences()
    differences.add({**ALLOWED, "shadow": "x"})
    assert (differences.requests, differences.different) == (1, 0)
