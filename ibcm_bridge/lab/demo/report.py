"""The report of the demo: a self-contained `index.html`, and `results.json`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from ibcm_bridge.lab.cases.table import NOT_SHOWN
from ibcm_bridge.lab.comparison.outcomes import NO_TUNNEL, CaseResult, Outcome
from ibcm_bridge.lab.comparison.verdicts import Grade, judge, score
from ibcm_bridge.lab.demo.files import write_whole
from ibcm_bridge.lab.picture.drawing import css, picture

type Families = Mapping[str, Sequence[CaseResult]]

_STYLE = """
:root { color-scheme: light dark; --line: #c8ccd0; --soft: #5b6570; --good: #0a6b2d;
  --bad: #b00020; --warn: #8a5300; --card: #f6f7f8; }
@media (prefers-color-scheme: dark) { :root { --line: #444b52; --soft: #a9b2bb; --good: #6fd08c;
  --bad: #ff8a96; --warn: #f0b35c; --card: #1d2125; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 2rem 1.2rem;
  max-width: 76rem; }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; }
p.lead { color: var(--soft); margin: 0 0 1.5rem; max-width: 48rem; }
section { border: 1px solid var(--line); border-radius: .5rem; margin: 0 0 1rem; padding: 1rem;
  background: var(--card); }
h2 { font-size: 1.3rem; margin: 2rem 0 .7rem; }
h3 { font-size: 1.1rem; margin: 0; }
h3 a { color: inherit; text-decoration: none; }
.requirement { font: .85rem ui-monospace, monospace; color: var(--soft); }
.explanation { margin: .2rem 0 .8rem; color: var(--soft); }
.paths { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; }
@media (max-width: 46rem) { .paths { grid-template-columns: 1fr; } }
.path { border-left: .25rem solid var(--line); padding-left: .8rem; min-width: 0; }
h4 { font-size: .8rem; margin: 0; text-transform: uppercase; letter-spacing: .05em;
  color: var(--soft); }
.verdict { font-weight: 600; margin: .1rem 0 .4rem; }
.outage .verdict { color: var(--warn); } .path.outage { border-color: var(--warn); }
.path.right { border-color: var(--good); } .right .verdict { color: var(--good); }
.path.late { border-color: var(--warn); } .late .verdict { color: var(--warn); }
.path.wrong { border-color: var(--bad); } .wrong .verdict { color: var(--bad); }
code { overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; margin: 0 0 1.5rem; }
th.family { padding-top: 1rem; } td.none { color: var(--soft); }
td.requirement { white-space: nowrap; line-height: 1.75; }
th, td { text-align: left; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
.lead .right, td.right { color: var(--good); }
.lead .late, .lead .outage, td.late, td.outage { color: var(--warn); }
.lead .wrong, td.wrong { color: var(--bad); }
dl { margin: 0; } dt { font-size: .8rem; color: var(--soft); } dd { margin: 0 0 .4rem;
  overflow-wrap: anywhere; }
details { margin-top: .4rem; } summary { cursor: pointer; color: var(--soft); }
pre { overflow-x: auto; font-size: .8rem; margin: .4rem 0 0; white-space: pre-wrap;
  overflow-wrap: anywhere; }
.problem { color: var(--bad); font-weight: 600; }
""".strip()


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
    yield f"<style>{_STYLE}\n{css()}</style></head><body><main>"
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
    yield "<table><thead><tr><th>Case</th><th>Requirement</th>"
    yield "<th>Through the bridge</th><th>Through the tunnel</th></tr></thead><tbody>"
    for family, results in families.items():
        yield f'<tr><th colspan="4" class="family" scope="rowgroup">{escape(family)}</th></tr>'
        yield from map(_summary_row, results)
    yield "</tbody></table>"
    for family, results in families.items():
        yield f"<h2>{escape(family)}</h2>"
        yield from map(_section, results)
    yield "<h2>Requirements without a case</h2><table><tbody>"
    for requirement, why in NOT_SHOWN.items():
        yield f"<tr><td><code>{requirement}</code></td><td>{escape(why)}</td></tr>"
    yield "</tbody></table></main></body></html>\n"


def _summary_row(result: CaseResult) -> str:
    case = result.case
    return (
        f'<tr><td><a href="#{escape(case.id)}">{escape(case.title)}</a></td>'
        f'<td class="requirement">{escape(case.requirement)}</td>'
        f"{_summary_cell(result, result.bridge)}{_summary_cell(result, result.tunnel)}</tr>"
    )


def _summary_cell(result: CaseResult, outcome: Outcome | None) -> str:
    if outcome is None:
        return '<td class="none">no tunnel: not TLS</td>'
    verdict = judge(result, outcome)
    return (
        f'<td class="{verdict.grade}"><strong>{verdict.label}</strong><br>'
        f"{escape(outcome.client_received)}</td>"
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
        f'<section id="{escape(case.id)}">'
        f'<h3><a href="#{escape(case.id)}">{escape(case.title[:1].upper() + case.title[1:])}</a> '
        f'<span class="requirement">{escape(cited)}</span></h3>'
        f'<p class="explanation">{escape(case.explanation)}<br>'
        f"<code>{escape(request)}</code> from a client with {escape(case.client.value)}.</p>"
        f'{problems}{picture(result)}<div class="paths">'
        f"{_path('Through the bridge', result, result.bridge)}"
        f"{_path('Through the tunnel', result, result.tunnel)}"
        "</div></section>"
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
