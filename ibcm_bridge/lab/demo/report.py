"""The report of the demo: a self-contained `index.html`, and `results.json`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from ibcm_bridge.lab.cases.requirements import REQUIREMENTS
from ibcm_bridge.lab.cases.table import NOT_SHOWN
from ibcm_bridge.lab.comparison.outcomes import NO_TUNNEL, CaseResult, Outcome, PlainResult
from ibcm_bridge.lab.comparison.verdicts import Grade, judge, judge_plain, plain_score, score
from ibcm_bridge.lab.demo.files import write_whole
from ibcm_bridge.lab.picture.drawing import css, picture

type Families = Mapping[str, Sequence[CaseResult]]


def write_report(directory: Path, families: Families) -> Path:
    """Write both files, or leave the existing ones; return the path of the page.

    OSError if a file cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    data = {
        "cases": [
            case_data(family, result) for family, results in families.items() for result in results
        ],
        "not_shown": NOT_SHOWN,
    }
    page = directory / "index.html"
    texts = {
        directory / "results.json": json.dumps(data, indent=2) + "\n",
        page: "\n".join(_page(families)),
    }
    write_whole({path: text.encode() for path, text in texts.items()})
    return page


def case_data(family: str, result: CaseResult) -> dict[str, Any]:
    """Return a case and its results as JSON data."""
    case = result.case
    return {
        "id": case.id,
        "family": family,
        "title": case.title,
        "requirement": case.requirement,
        "other_requirements": list(case.other_requirements),
        "explanation": case.explanation,
        "client": case.client.value,
        "request": f"{result.request.method} {result.request.target}",
        "as_required": not result.problems,
        "problems": list(result.problems),
        "bridge": _outcome_data(result, result.bridge),
        "tunnel": _outcome_data(result, result.tunnel) if result.tunnel else None,
        "plain_proxy": _plain_data(result, result.plain) if result.plain else None,
    }


def _plain_data(result: CaseResult, plain: PlainResult) -> dict[str, Any]:
    verdict = judge_plain(result.case, plain)
    return {
        "proxy": plain.proxy,
        "recorded": plain.recorded,
        "grade": verdict.grade.value,
        "verdict": verdict.word,
        "outcome": plain.disposition.value,
        "client_received": plain.client_received,
    }


def _outcome_data(result: CaseResult, outcome: Outcome) -> dict[str, Any]:
    verdict = judge(result, outcome)
    return {
        "grade": verdict.grade.value,
        "verdict": verdict.word,
        "outcome": outcome.disposition.value,
        "status": outcome.status,
        "alert": outcome.alert,
        "client_received": outcome.client_received,
        "certificate_presented": outcome.certificate_presented,
        "site_system_received": outcome.site_system_received,
        "proxy_saw": outcome.proxy_saw,
        "audit": outcome.audit,
    }


def _page(families: Families) -> Iterator[str]:
    every = [result for results in families.values() for result in results]
    good = sum(1 for result in every if not result.problems)
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield "<title>ibcm-bridge: bridging and tunneling, side by side</title>"
    yield f"<style>{_css()}\n{css()}</style></head><body><main>"
    yield "<h1>SSL bridging and SSL tunneling, side by side</h1>"
    yield (
        '<p class="lead">The requests of ConfigMgr clients, sent to a bridged and to a tunneled '
        "name. These are the results of one run of <code>ibcm-bridge demo</code> in a lab on "
        f"loopback. {good} of {len(every)} cases as required.</p>"
    )
    yield f'<p class="lead">{_legend()}</p>'
    for path, labels in score(every).items():
        counted = ", ".join(f"{count} {label}" for label, count in labels.most_common())
        yield f'<p class="lead score">Through the {path}: {escape(counted)}.</p>'
    if plain := next((result.plain for result in every if result.plain), None):
        counts = plain_score(every).most_common()
        counted = ", ".join(f"{count} {label}" for label, count in counts)
        yield (
            f'<p class="lead score">Through a plain reverse proxy with the same policy '
            f"({escape(plain.name)}): {escape(counted)}.</p>"
        )
    yield from _handout(every)
    yield '<div class="screen"><label class="filter"><input type="checkbox" id="differ">'
    yield "Only the cases where bridge and tunnel differ</label>"
    yield f'<table class="cases">{_HEADINGS}'
    for family, results in families.items():
        yield f'<tbody class="{_kind(results)}"><tr>'
        yield f'<th colspan="5" class="family" scope="rowgroup">{escape(family)}</th></tr>'
        yield from map(_summary_row, results)
        yield "</tbody>"
    yield "</table>"
    for family, results in families.items():
        yield f'<h2 class="{_kind(results)}">{escape(family)}</h2>'
        yield from map(_section, results)
    yield "<h2>Requirements without a case</h2><table><tbody>"
    for requirement, why in NOT_SHOWN.items():
        yield f"<tr><td><code>{requirement}</code></td><td>{escape(why)}</td></tr>"
    yield "</tbody></table></div></main></body></html>\n"


_HEADINGS = (
    "<thead><tr><th>Case</th><th>Requirement</th><th>Through the bridge</th>"
    "<th>Through nginx</th><th>Through the tunnel</th></tr></thead>"
)

HANDOUT = (
    *("inventory-report", "revoked-certificate", "user-for-computers", "spoofed-payload"),
    *("malware-in-zlib", "zip-bomb", "server-update", "upload-malware"),
    *("forbidden-verb", "update-serialized-cookie", "leaked-host-name", "enrolled-device"),
)
"""The ids of the cases on paper: one for each lesson, on two pages with the picture."""


def _handout(results: Sequence[CaseResult]) -> Iterator[str]:
    """The picture of the first case, and on paper the cases of `HANDOUT`."""
    by_id = {result.case.id: result for result in results}
    chosen = [by_id[name] for name in HANDOUT if name in by_id]
    yield '<div class="handout">'
    yield from map(picture, chosen[:1])
    yield f"<table>{_HEADINGS}<tbody>"
    for result in chosen:
        yield _summary_row(result, result.case.explanation)
    yield "</tbody></table></div>"


def _differs(result: CaseResult) -> bool:
    """Return whether the tunnel is worse than the bridge, or better."""
    if result.tunnel is None:
        return False
    return judge(result, result.bridge).grade is not judge(result, result.tunnel).grade


def _kind(results: Sequence[CaseResult]) -> str:
    """The class for the filter."""
    return "differ" if any(map(_differs, results)) else "alike"


def _css() -> str:
    return files(__package__).joinpath("report.css").read_text("utf-8")


def _summary_row(result: CaseResult, lesson: str = "") -> str:
    case = result.case
    sentence = f'<span class="lesson">{escape(lesson)}</span>' if lesson else ""
    return (
        f'<tr class="{_kind([result])}">'
        f'<td><a href="#{escape(case.id)}">{escape(case.title)}</a>{sentence}</td>'
        f'<td class="requirement">{escape(case.requirement)}</td>'
        f"{_summary_cell(result, result.bridge, 'bridge')}"
        f"{_plain_cell(result)}"
        f"{_summary_cell(result, result.tunnel, 'tunnel')}</tr>"
    )


def _summary_cell(result: CaseResult, outcome: Outcome | None, path: str) -> str:
    if outcome is None:
        return f'<td class="none" data-path="{path}">no tunnel: not TLS</td>'
    verdict = judge(result, outcome)
    return (
        f'<td class="{verdict.grade}" data-path="{path}"><strong>{verdict.label}</strong><br>'
        f"{escape(outcome.client_received)}</td>"
    )


def _plain_cell(result: CaseResult) -> str:
    if result.plain is None:
        return '<td class="none" data-path="nginx">not compared</td>'
    verdict = judge_plain(result.case, result.plain)
    recorded = " (recorded)" if result.plain.recorded else ""
    return (
        f'<td class="{verdict.grade}" data-path="nginx"><strong>{verdict.label}</strong>{recorded}'
        f"<br>{escape(result.plain.client_received)}</td>"
    )


def _legend() -> str:
    return " · ".join(
        f'<strong class="{grade}">{grade.mark}</strong> {grade.meaning}' for grade in Grade
    )


def _section(result: CaseResult) -> str:
    case = result.case
    problems = "".join(
        f'<p class="problem">Not as required: {escape(problem)}</p>' for problem in result.problems
    )
    request = f"{result.request.method} {result.request.target}"
    cited = " ".join((case.requirement, *case.other_requirements))
    return (
        f'<section id="{escape(case.id)}" class="{_kind([result])}">'
        f'<h3><a href="#{escape(case.id)}">{escape(case.title[:1].upper() + case.title[1:])}</a> '
        f'<span class="requirement">{escape(cited)}</span></h3>'
        f'<p class="demand">{escape(REQUIREMENTS[case.requirement])}</p>'
        f'<p class="explanation">{escape(case.explanation)}<br>'
        f"<code>{escape(request)}</code> from a client with {escape(case.client.value)}.</p>"
        f'{problems}{picture(result)}<div class="paths">'
        f"{_path('Through the bridge', result, result.bridge)}"
        f"{_path('Through the tunnel', result, result.tunnel)}"
        f"{_plain_path(result)}"
        "</div></section>"
    )


def _plain_path(result: CaseResult) -> str:
    plain = result.plain
    if plain is None:
        return ""
    verdict = judge_plain(result.case, plain)
    return (
        f'<div class="path {verdict.grade}"><h4>Through {escape(plain.name)}</h4>'
        f'<p class="verdict">{verdict.label}</p><p class="explanation">{verdict.detail}</p>'
        f"<dl><dt>The client received</dt><dd>{escape(plain.client_received)}</dd></dl></div>"
    )


def _path(title: str, result: CaseResult, outcome: Outcome | None) -> str:
    if outcome is None:
        text = f'<p class="explanation">{escape(NO_TUNNEL)}</p>'
        return f'<div class="path"><h4>{title}</h4>{text}</div>'
    facts = (
        ("The client received", outcome.client_received),
        ("Server certificate", outcome.certificate_presented),
        ("The site system received", outcome.site_system_received),
        ("The proxy saw", outcome.proxy_saw),
    )
    listed = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in facts if value)
    record = escape(json.dumps(outcome.audit, indent=1))
    verdict = judge(result, outcome)
    return (
        f'<div class="path {verdict.grade}"><h4>{title}</h4>'
        f'<p class="verdict">{verdict.label}</p><p class="explanation">{verdict.detail}</p>'
        f"<dl>{listed}</dl>"
        f"<details><summary>Audit record</summary><pre>{record}</pre></details></div>"
    )
