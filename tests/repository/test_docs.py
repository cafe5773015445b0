"""The documents agree with the code.

After a change of `refusals` or config/clients.yaml, WRITE_DOCS=1 pytest tests/repository writes the
tables again.
"""

import os
import re
from pathlib import Path

import pytest

from ibcm_bridge.decisions.observing import OBSERVABLE
from ibcm_bridge.decisions.refusals import REFUSALS
from ibcm_bridge.decisions.role_clients import Reaction
from ibcm_bridge.decisions.rules import RuleOf
from ibcm_bridge.lab.cases.requirements import REQUIREMENTS
from ibcm_bridge.lab.cases.table import CASES, NOT_SHOWN
from ibcm_bridge.policy_file import shipped_clients

ROOT = Path(__file__).parents[2]
REFUSALS_PAGE = ROOT / "docs" / "refusals.md"
CLIENTS = shipped_clients()
_BETWEEN = re.compile(
    r"(<!-- (table|observed|logs|steps): [^\n]*-->\n).*?(<!-- /\2 -->)", re.DOTALL
)


def _table() -> str:
    lines = [
        "| reason | response | the client | requirement | text |",
        "|---|---|---|---|---|",
    ]
    for reason, row in REFUSALS.items():
        response = str(row.status.value) if row.status else f"alert `{row.alert}`"
        step = row.next_step.short
        if row.bits_error is not None:
            response += f", BITS error 0x{row.bits_error:08X}"
        lines.append(f"| `{reason.value}` | {response} | {step} | {row.requirement} | {row.text} |")
    return "\n".join(lines) + "\n"


def _observed() -> str:
    lines = ["| reason | rule | only for | the line of the policy |", "|---|---|---|---|"]
    for reason, rows in OBSERVABLE.items():
        for row in rows:
            rule = row.rule.pattern if isinstance(row.rule, RuleOf) else row.rule
            only = ", ".join(sorted(row.requirements or ()))
            line = f"`{row.line.replace('{}', 'NAME').format()}`" if row.line else "none"
            lines.append(f"| `{reason.value}` | `{rule}` | {only} | {line} |")
    return "\n".join(lines) + "\n"


def _logs() -> str:
    lines = [
        "| client of | log | entry for an HTTP status | entry for a refused handshake |",
        "|---|---|---|---|",
    ]
    for role, client in CLIENTS.roles.items():
        status = client.status.format(status="N", error="E")
        if client.errors:
            errors = ", ".join(f"{status} {error}" for status, error in client.errors.items())
            status += f": {errors}, any other {client.other_error}"
        lines.append(f"| {role} | {client.log} | {status} | {client.alert} |")
    return "\n".join(lines) + "\n"


def _steps() -> str:
    lines = ["| client of | verb | next step | confirmed | inferred |", "|---|---|---|---|---|"]
    for role, client in CLIENTS.roles.items():
        for verb, reactions in client.steps.items():
            steps: dict[Reaction, list[str]] = {}
            for step, reaction in reactions.items():
                steps.setdefault(reaction, []).append(step.short)
            for reaction, shorts in steps.items():
                source = f" ({reaction.source})" if reaction.confirmed else ""
                cells = (role, verb, ", ".join(shorts), reaction.confirmed + source)
                lines.append(f"| {' | '.join(cells)} | {reaction.inferred} |")
    return "\n".join(lines) + "\n"


def test_the_page_of_refusals_is_the_table_of_responses() -> None:
    page = REFUSALS_PAGE.read_text("utf-8")
    made = {"table": _table(), "observed": _observed(), "logs": _logs(), "steps": _steps()}
    assert {found[2] for found in _BETWEEN.finditer(page)} == made.keys()
    expected = _BETWEEN.sub(lambda found: found[1] + made[found[2]] + found[3], page)
    if os.environ.get("WRITE_DOCS"):
        REFUSALS_PAGE.write_text(expected, "utf-8")
    else:
        assert page == expected, "run: WRITE_DOCS=1 pytest tests/repository"


PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], key=str)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_has_a_target(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_anchor_of_a_link_is_a_heading(page: Path) -> None:
    links = re.findall(r"\]\(([\w./-]*)#([\w-]+)\)", page.read_text("utf-8"))
    for target, anchor in links:
        linked = page.parent / target if target else page
        assert anchor in _anchors(linked), f"{page.name} links to {target}#{anchor}"


def _modules() -> dict[str, Path]:
    """Dotted name of each module or package, in full and without leading parts -> its file."""
    names: dict[str, Path] = {}
    for top in ("ibcm_bridge", "addons"):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            parts = parts[:-1] if path.stem == "__init__" else parts
            names |= {".".join(parts[first:]): path for first in range(len(parts))}
    return names


def test_the_code_that_holds_a_requirement_exists() -> None:
    page = (ROOT / "docs" / "requirements.md").read_text("utf-8")
    rows = re.findall(r"^\| [A-Z][A-Z0-9.-]+ \| .*? \| (.*?) \|", page, re.MULTILINE)
    modules = _modules()
    named = {name for row in rows for name in re.findall(r"`([a-z]\w*(?:[./]\w+)*)`", row)}
    assert "request.host" in named
    for name in named:
        module, _, attribute = name.rpartition(".")
        in_module = module in modules and re.search(
            rf"^(?:def )?{attribute}\b", modules[module].read_text("utf-8"), re.MULTILINE
        )
        assert name in modules or (ROOT / name).is_file() or in_module, name


def test_every_refusal_of_the_shipped_limits_is_documented() -> None:
    from ibcm_bridge.policy_file import LimitsRow  # noqa: PLC0415
    from ibcm_bridge.policy_file.rows.values import Row  # noqa: PLC0415

    page = (ROOT / "docs" / "policy-file.md").read_text("utf-8")
    for name, field in LimitsRow.model_fields.items():
        if isinstance(field.default, Row):
            for inner in type(field.default).model_fields:
                value = getattr(field.default, inner)
                shown = f"{value:g} |" if isinstance(value, float | int) else "no"
                assert f"| `{name}.{inner}` | {shown}" in page, (name, inner)
            continue
        default = field.default if isinstance(field.default, int) else f"{field.default:g}"
        assert re.search(rf"\| `{name}` \| {default} \|", page), name


REQUIREMENT = re.compile(
    r"\b(?:BRIDGE|TUNNEL|VERB|HEADER|ROLE|USER|CLIENT|NO|PKI|SITE|DNS)-[A-Z][A-Z-]+[A-Z]\b"
    r"|\bHTTP-(?:1\.1|MULTIPART)\b|\bSUP-WSUS\b"
)


def _requirements() -> dict[str, list[Path]]:
    """Requirement -> the tests that show it, as the page has it."""
    page = (ROOT / "docs" / "requirements.md").read_text("utf-8")
    rows = re.findall(r"^\| ([A-Z][A-Z0-9.-]+) \|.*\| ([^|]*) \|$", page, re.MULTILINE)
    return {name: [ROOT / path for path in filter(None, shown.split(", "))] for name, shown in rows}


def _cited() -> dict[str, str]:
    """Requirement -> a file that cites it, of what refuses and what is demonstrated."""
    cited = {}
    for folder in ("ibcm_bridge", "addons", "config"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".yaml"):
                for name in REQUIREMENT.findall(path.read_text("utf-8")):
                    cited[name] = str(path.relative_to(ROOT))
    return cited


def test_every_cited_requirement_is_described_and_tested() -> None:
    described = _requirements()
    for name, where in _cited().items():
        assert name in described, f"{where} cites {name}, which docs/requirements.md does not have"
    refused = {row.requirement for row in REFUSALS.values()}
    shown_in_demo = {case.requirement for case in CASES}
    for name in refused | shown_in_demo:
        assert described[name], f"{name} is cited, and nothing shows it"


@pytest.mark.parametrize("name", _requirements())
def test_a_file_named_for_a_requirement_cites_it(name: str) -> None:
    for path in _requirements()[name]:
        assert path.exists(), path
        files = [path] if path.is_file() else sorted(path.rglob("*.py"))
        assert any(name in file.read_text("utf-8") for file in files), (
            f"{path} does not cite {name}"
        )


def test_every_requirement_has_a_case_or_a_reason_why_not() -> None:
    known = _requirements().keys()
    shown = {cited for case in CASES for cited in (case.requirement, *case.other_requirements)}
    assert shown <= known
    assert not shown & NOT_SHOWN.keys()
    assert shown | NOT_SHOWN.keys() == known
    assert all(NOT_SHOWN.values())


def test_the_lab_has_the_texts_of_the_requirements_page() -> None:
    page = (ROOT / "docs" / "requirements.md").read_text("utf-8")
    rows = re.findall(r"^\| ([A-Z][A-Z0-9.-]+) \| (.*?) \|", page, re.MULTILINE)
    plain = {name: re.sub(r"\[(.*?)\]\(.*?\)", r"\1", text) for name, text in rows}
    assert {name: text.replace("`", "") for name, text in plain.items()} == REQUIREMENTS


def test_the_documents_have_the_number_of_cases() -> None:
    count = len(CASES)
    assert f"{count} of {count} cases as required" in (ROOT / "README.md").read_text("utf-8")
    assert f"{count} cases" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_every_module_is_in_the_architecture() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    for path in [*(ROOT / "ibcm_bridge").glob("*.py"), *(ROOT / "addons").glob("*.py")]:
        if not path.stem.startswith("__"):
            assert f"`{path.stem}`" in page, path.name
