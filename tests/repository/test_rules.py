"""Rules: the list in the code, the list in docs/refusals.md, and what the code refuses by.

No `Deny` is made with a rule that is written out: `Rule` is a type, and mypy --strict holds every
variable to it. What mypy does not see, a literal in a call, is looked for here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

from ibcm_bridge.addons.tls.verification import REASONS
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.policy.roles import RoleTable

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for top in ("ibcm_bridge", "addons") for path in (ROOT / top).rglob("*.py"))
PAGE = ROOT / "docs" / "refusals.md"

RULES: Mapping[str, str] = {
    name: value.pattern if isinstance(value, rules.RuleOf) else value
    for name, value in vars(rules).items()
    if name.isupper() and not name.startswith("_")
}
"""Name in the code -> the rule, or the pattern of rules."""

ALLOWS = "ROLE_VERB"


@dataclass(frozen=True)
class Row:
    """A line of the page."""

    rule: str
    meaning: str
    reasons: frozenset[str]


@cache
def listed() -> tuple[Row, ...]:
    found = re.search(
        r"<!-- rules: [^\n]*-->\n.*?\n\|---\|---\|---\|\n(.*?)<!-- /rules -->",
        PAGE.read_text("utf-8"),
        re.DOTALL,
    )
    assert found is not None
    rows = []
    for line in found[1].splitlines():
        rule, meaning, reasons = line.removeprefix("| ").removesuffix(" |").split(" | ")
        assert re.fullmatch(r"`[^`]+`", rule), line
        rows.append(Row(rule.strip("`"), meaning, frozenset(re.findall(r"`([^`]+)`", reasons))))
    return tuple(rows)


def test_the_page_lists_the_rules_of_the_code_and_no_others() -> None:
    assert [row.rule for row in listed()] == list(RULES.values())


def test_each_rule_is_listed_once_and_explained() -> None:
    values = list(RULES.values())
    assert len(values) == len(set(values))
    assert all(len(row.meaning) > 10 for row in listed())


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def named(node: ast.AST | None, module: str) -> str | None:
    """`X` of `rules.X`, where `module` is `rules`."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return node.attr if node.value.id == module else None
    return None


def test_the_code_uses_every_rule() -> None:
    used = {
        named(node, "rules")
        for path in SOURCES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute)
    }
    assert set(RULES) <= used


def calls(function: str) -> Iterator[tuple[Path, ast.Call]]:
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                if name == function:
                    yield path, node


def rule_of(call: ast.Call) -> ast.expr:
    """The second argument of a Deny, or the one with that name."""
    if len(call.args) > 1:
        return call.args[1]
    return next(keyword.value for keyword in call.keywords if keyword.arg == "rule")


def is_written_out(node: ast.expr) -> bool:
    """Whether an expression makes a text where it stands."""
    return any(
        isinstance(part, ast.JoinedStr | ast.BinOp) for part in ast.walk(node)
    ) or isinstance(node, ast.Constant)


def test_no_refusal_has_a_literal_rule() -> None:
    found = list(calls("Deny"))
    assert len(found) > 100
    assert [(path, call.lineno) for path, call in found if is_written_out(rule_of(call))] == []


@pytest.mark.parametrize("text", ['"x"', 'f"x.{y}"', '"x." + y', 'f"{x}" if y else z'])
def test_a_literal_rule_is_found(text: str) -> None:
    (call,) = [
        node
        for node in ast.walk(ast.parse(f"Deny(Reason.XML, {text}, '')"))
        if isinstance(node, ast.Call)
    ]
    assert is_written_out(rule_of(call))


def test_only_the_list_makes_rules() -> None:
    makers = {path.relative_to(ROOT).as_posix() for path, _ in calls("Rule")}
    makers |= {path.relative_to(ROOT).as_posix() for path, _ in calls("RuleOf")}
    # A report of another process has one as a text, and so has a record of the audit.
    assert makers == {
        "ibcm_bridge/commands/explain/recorded_findings.py",
        "ibcm_bridge/decisions/rules.py",
        "ibcm_bridge/inspection/reports.py",
    }


REQUIREMENTS = ROOT / "docs" / "requirements.md"


def test_the_rules_of_requirements_exist(table: RoleTable) -> None:
    named_there = {
        rule
        for line in REQUIREMENTS.read_text("utf-8").splitlines()
        if re.match(r"\| [A-Z][A-Z0-9.-]+ \|", line)
        for rule in re.findall(r"`([^`]+)`", line.split(" | ")[3])
    }
    assert "clients.trust" in named_there
    # `*` stands for a name, or for the rest. {document}.{element} would be any rule.
    known = {
        re.sub(r"\{[a-z_]+\}", "*", rule.replace("{role}", role))
        for rule in RULES.values()
        if not rule.startswith("{document}") and rule != "{part}"
        for role in (*table.roles, "*")
    }
    for rule in named_there:
        assert any(fnmatch(rule, pattern) or fnmatch(pattern, rule) for pattern in known), rule


# The reasons of each rule

VALUES: Mapping[str, frozenset[str]] = {
    # What is read from a value, and the rules that it may hold.
    "subject.where": frozenset({"BODY"}),
    "trust.rule": frozenset({"CLIENTS_TRUST", "SITE_SYSTEM_TRUST"}),
    "terms.trust": frozenset({"CLIENTS_TRUST", "SITE_SYSTEM_TRUST"}),
    "terms.certificate": frozenset({"CLIENTS", "SITE_SYSTEM"}),
}
CALLED_REASONS = {"REASONS.get": frozenset(reason.name for reason in REASONS.values())}


@dataclass
class Function:
    """A function, what its names are assigned, and its parameters in order."""

    node: ast.FunctionDef | ast.AsyncFunctionDef
    path: Path
    values: dict[str, list[ast.expr]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for node in ast.walk(self.node):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    self._assigned(target, node.value)

    def _assigned(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self.values.setdefault(target.id, []).append(value)
        elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            for name, its in zip(target.elts, value.elts, strict=True):
                self._assigned(name, its)

    def parameter(self, name: str) -> int | None:
        names = [argument.arg for argument in self.node.args.args if argument.arg != "self"]
        return names.index(name) if name in names else None

    def found(self, node: ast.expr, module: str, within: frozenset[str] = frozenset()) -> set[str]:
        """The names in `module` that an expression may be, be it in variables `within` others."""
        if (name := named(node, module)) is not None:
            return {name}
        if isinstance(node, ast.Attribute):
            return set(VALUES.get(ast.unparse(node), ())) if module == "rules" else set()
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            called = CALLED_REASONS.get(ast.unparse(node.func))
            if called is not None:
                return {*called, *self.found(node.args[1], module, within)}
            of = node.func.attr == "of"
            return self.found(node.func.value, module, within) if of else set()
        values: list[ast.expr] = []
        if isinstance(node, ast.IfExp):
            values = [node.body, node.orelse]
        elif isinstance(node, ast.Name) and node.id not in within:
            values, within = self.values.get(node.id, []), within | {node.id}
        return {name for value in values for name in self.found(value, module, within)}


def functions() -> Iterator[Function]:
    """Those of all files that know of refusals."""
    for path in SOURCES:
        if "ibcm_bridge.decisions" in path.read_text("utf-8"):
            for node in ast.walk(tree(path)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield Function(node, path)


def parameter_behind(function: Function, node: ast.expr) -> int | None:
    """Which parameter a rule is, or is made of: of `rule` and of `rule.of(...)`."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        node = node.func.value
    return function.parameter(node.id) if isinstance(node, ast.Name) else None


@cache
def refuses() -> Mapping[str, frozenset[str]]:
    """Rule -> its reasons, by name: from calls with both, and through functions given the rule."""
    every = [
        (function, call)
        for function in functions()
        for call in ast.walk(function.node)
        if isinstance(call, ast.Call)
    ]
    pairs: dict[str, set[str]] = {}
    # A function that is given a rule, by its file and name, and the place of that parameter.
    given: dict[tuple[Path, str, int], set[str]] = {}
    (file_names,) = [source for source in SOURCES if source.name == "file_names.py"]
    given[file_names, "Ambiguity", 0] = {"TARGET_UNSAFE"}
    before = -1
    while before != (before := sum(map(len, (*pairs.values(), *given.values())))) or before == 0:
        for function, call in every:
            for reasons, rule in _rules_in(function, call, given):
                for name in function.found(rule, "rules"):
                    pairs.setdefault(name, set()).update(reasons)
                place = parameter_behind(function, rule)
                if place is not None:
                    key = (function.path, function.node.name, place)
                    given.setdefault(key, set()).update(reasons)
    return {name: frozenset(found) for name, found in pairs.items()}


def _rules_in(
    function: Function, call: ast.Call, given: Mapping[tuple[Path, str, int], set[str]]
) -> Iterator[tuple[set[str], ast.expr]]:
    """The reasons and the rule of a call: side by side, or as a function takes its rule."""
    for reason, rule in zip(call.args, call.args[1:], strict=False):
        if reasons := function.found(reason, "Reason"):
            yield reasons, rule
    name = ast.unparse(call.func).rpartition(".")[2]
    for (path, known, place), reasons in list(given.items()):
        same = name == known and (path == function.path or not name.startswith("_"))
        if same and place < len(call.args):
            yield reasons, call.args[place]


REPLIES = frozenset(name for name in RULES if name.startswith(("CCM_REPLY", "REPLIES_")))
"""A reply that cannot be read is refused for that, whatever the reader found."""


@pytest.mark.parametrize("name", RULES)
def test_the_page_has_the_reasons_of_a_rule(name: str) -> None:
    reasons = {Reason[reason].value for reason in refuses().get(name, ())}
    if name in REPLIES:
        reasons = {Reason.REPLY_UNREADABLE.value}
    (row,) = [row for row in listed() if row.rule == RULES[name]]
    assert row.reasons == reasons
    assert bool(reasons) != (name == ALLOWS)


def test_every_reason_has_a_rule() -> None:
    assert {reason for row in listed() for reason in row.reasons} == {
        reason.value for reason in Reason
    }
