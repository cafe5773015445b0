"""The report as HTML: `index.html`, and a page for each check with what both ends saw.

The input is the JSON of a `Report`. The pages need no script and no other file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

OUTCOMES = {
    "pass": "as required",
    "fail": "not as required; the page of the check says how it differs",
    "hang": "no complete response, and no end of the connection, in time",
    "not applicable": "the subject file does not declare what the check needs",
}
STOPS = {
    "at the perimeter": "nothing arrived at a site system",
    "inside": "it arrived, and the site system refused it: too late",
    "not at all": "the site system accepted it",
}
"""Where a request to refuse was stopped."""
LEVELS = {
    "MUST": "a failure fails the run, unless it is a known gap",
    "SHOULD": "a failure does not fail the run",
}
_FAILURES = ("fail", "hang")

_STYLE = """\
:root { color-scheme: light dark; --line: #8885; --good: #0a6b2d; --bad: #b00020; --soft: #667; }
@media (prefers-color-scheme: dark) {
  :root { --good: #6fd08c; --bad: #ff8a96; --soft: #aab; } }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
td.word { white-space: nowrap; }
.pass { color: var(--good); } .fail, .hang { color: var(--bad); } .soft { color: var(--soft); }
pre { white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid var(--line);
  padding: .6rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
@media print { a { color: inherit; text-decoration: none; } tr, pre { break-inside: avoid; } }
"""

type Values = Mapping[str, Any]


def pages(report: Values) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each page."""
    yield "index.html", _index(report)
    for result in report["results"]:
        yield page_name(result["id"]), _check(report, result)


def page_name(check: str) -> str:
    """Return the file name of the page of a check."""
    return f"{check.replace('::', '-')}.html"


def _index(report: Values) -> str:
    counts = ", ".join(f"{count} {word}" for word, count in report["counts"].items())
    failures = [result for result in report["results"] if result["outcome"] in _FAILURES]
    others = [result for result in report["results"] if result not in failures]
    parts = [
        f"<h1>{_text(_product(report))}: {_text(report['verdict'])}</h1>",
        f"<p>{_text(counts)}. <span class=soft>ibcm-bridge conformance {_text(report['suite'])}, "
        f"{_text(report['date'])}{_configuration(report)}</span></p>",
        *(f"<p class=fail>{_text(problem)}</p>" for problem in report["gap_problems"]),
        *_table("Not as required", failures),
        *_table("As required, or not applicable", others),
        "<h2>What the words mean</h2>",
        _terms({**OUTCOMES, **{f"stopped {word}": text for word, text in STOPS.items()}, **LEVELS}),
        "<p>Conformant: every check with MUST passed. Known gaps and checks that are not "
        "applicable forbid the word.</p>",
    ]
    return _page(f"{_product(report)}: {report['verdict']}", parts)


def _table(title: str, results: Sequence[Values]) -> Iterator[str]:
    if results:
        yield f"<h2>{title}: {len(results)}</h2>"
        yield "<table><tr><th>Outcome<th>Level<th>Check<th>Requirement<th>Seen</tr>"
        yield from map(_row, results)
        yield "</table>"


def _row(result: Values) -> str:
    check = result["id"]
    return (
        f"<tr><td class='word {_class(result)}'>{_text(_word(result))}"
        f"<td class=word>{_text(result['level'])}"
        f"<td><a href='{_text(page_name(check))}'>{_breakable(_text(check))}</a>"
        f"<td class=word>{_text(result['requirement'])}<td>{_text(_stopped(result))}</tr>"
    )


def _check(report: Values, result: Values) -> str:
    stopped = result["stopped"]
    terms = {
        "Outcome": _word(result),
        "Expected": result["expected"],
        "Seen": _seen(result),
        "Stopped": f"{stopped}: {STOPS[stopped]}" if stopped else "",
        "Requirement": result["requirement"],
        "Source": result["source"],
    }
    parts = [
        f"<p><a href='index.html'>{_text(_product(report))}</a></p>",
        f"<h1 class='{_class(result)}'>{_text(result['id'])}</h1>",
        f"<p>{_text(result['text'])}</p>",
        _terms({name: text for name, text in terms.items() if text}),
    ]
    for title, line in (
        ("Run the check again", result["repetition"]),
        ("Send its request again, in a POSIX shell", result["reproduction"]),
    ):
        if line:
            parts.append(f"<h2>{title}</h2><pre>{_text(line)}</pre>")
    for number, exchange in enumerate(result["exchanges"], 1):
        parts += _exchange(number, exchange)
    return _page(f"{result['id']}, {_product(report)}", parts)


def _exchange(number: int, exchange: Values) -> Iterator[str]:
    yield f"<h2>Request {number}</h2>"
    to = f"{exchange['name']} at {exchange['address']} ({exchange['to']})"
    tls = exchange["client_tls"] or "no completed TLS handshake"
    yield _terms({"To": to, "Client certificate": f"{exchange['client']}, {tls}"})
    yield f"<h3>The client sent</h3><pre>{_text(_lines(exchange['sent']))}</pre>"
    fields = "\n".join(f"{name}: {value}" for name, value in exchange["response_fields"])
    received = "\n".join(
        filter(None, (exchange["client_received"], fields, _lines(exchange["response_body"])))
    )
    yield f"<h3>The client received</h3><pre>{_text(received)}</pre>"
    if not exchange["arrived"]:
        yield "<h3>Nothing arrived at a site system</h3>"
    for arrived in exchange["arrived"]:
        yield f"<h3>It arrived at the {_text(arrived['site_system'])}</h3>"
        connection = f"port {arrived['connection']}, {arrived['tls'] or 'no TLS'}"
        yield _terms(
            {
                "Time": arrived["time"],
                "Certificate": arrived["certificate"] or "none",
                "Connection": connection,
                "Status of the response": str(arrived["status"] or "no response"),
                "SHA-256 of the body": arrived["body_sha256"],
            }
        )
        fields = "\n".join(f"{name}: {value}" for name, value in arrived["fields"])
        whole = "\n\n".join(filter(None, (f"{arrived['request']}\n{fields}", arrived["body"])))
        yield f"<pre>{_text(whole)}</pre>"


def _stopped(result: Values) -> str:
    stopped = f"stopped {result['stopped']}" if result["outcome"] in _FAILURES else ""
    return "; ".join(filter(None, (stopped if result["stopped"] else "", _seen(result))))


def _breakable(name: str) -> str:
    """Let a browser break the id of a check between its words."""
    return name.replace("::", "::<wbr>").replace("_", "_<wbr>")


def _word(result: Values) -> str:
    known = ", known gap" if result["known_gap"] else ""
    return f"{result['outcome']}{known}"


def _class(result: Values) -> str:
    return str(result["outcome"]).replace(" ", "-")


def _seen(result: Values) -> str:
    texts = [result["difference"]]
    if result["known_gap"]:
        texts.append(f"known gap: {result['known_gap']}")
    return "; ".join(filter(None, texts))


def _product(report: Values) -> str:
    return f"{report['product']} {report['product_version']}".strip()


def _configuration(report: Values) -> str:
    digest = report["configuration_sha256"]
    return f", configuration {_text(digest)}" if digest else ""


def _terms(terms: Mapping[str, str]) -> str:
    rows = "".join(f"<dt>{_text(name)}<dd>{_text(text)}" for name, text in terms.items())
    return f"<dl>{rows}</dl>"


def _lines(text: str) -> str:
    """Begin a new line after each end of a line, which the report has as an escape."""
    return text.replace("\\r\\n", "\\r\\n\n")


def _text(text: str) -> str:
    return escape(text, quote=True)


def _page(title: str, parts: list[str]) -> str:
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )
