"""Renders a request as JSON for the page: decoded, with the finding marked in place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ibcm_bridge.lab.comparison.outcomes import CaseResult
from ibcm_bridge.lab.page.finding import Place, places_of
from ibcm_bridge.lab.page.message_texts import Text, texts_of
from ibcm_bridge.messages.views.page import printable

MAX_TEXT = 24_000
"""Characters of a text; the rest is left out, but not the finding."""

BEFORE = 600
"""Characters before the finding that are then shown."""


def message_view(result: CaseResult) -> dict[str, Any]:
    """Return the request that the bridge read, and where the finding is."""
    record = result.bridge.audit
    note = _no_request(record)
    if note:
        return {"note": note, "texts": []}
    texts = texts_of(result.request, result.case.to.name)
    refused = record.get("verdict") == "deny" and not record.get("forwarded")
    places = places_of(record, texts) if refused else []
    return {"note": _note(record, places), "texts": [_shown(text, places) for text in texts]}


def _no_request(record: Mapping[str, Any]) -> str:
    if record.get("event") == "request":
        return ""
    detail = record.get("detail") or "no record"
    return f"The bridge read no request. It ended the connection before: {detail}."


def _note(record: Mapping[str, Any], places: Sequence[Place]) -> str:
    """Say what was found, and whether it has a place."""
    detail = record.get("detail", "")
    if record.get("verdict") != "deny":
        return "The bridge read this, and found nothing to refuse."
    if record.get("forwarded"):
        return f"The finding is in the response, not in this request: {detail}."
    marked = "It is marked below." if places else "The evidence has no place in this request."
    return f"Finding: {detail}. {marked}"


def _shown(text: Text, places: Sequence[Place]) -> dict[str, Any]:
    own = _without_overlaps([place for place in places if place.title == text.title])
    begin, end = 0, len(text.text)
    if end > MAX_TEXT:
        first = own[0] if own else None
        begin = max(0, first.begin - BEFORE) if first and first.end > MAX_TEXT else 0
        end = max(begin + MAX_TEXT, first.end if first else 0)
    cut = begin > 0 or end < len(text.text)
    return {
        "title": text.title,
        "segments": list(_segments(text.text, own, begin, end)),
        "left_out": f"{len(text.text):,} characters in total" if cut else "",
    }


def _without_overlaps(places: Sequence[Place]) -> list[Place]:
    kept: list[Place] = []
    for place in sorted(places, key=lambda place: (place.begin, -place.end)):
        if not kept or place.begin >= kept[-1].end:
            kept.append(place)
    return kept


def _segments(
    text: str, places: Sequence[Place], begin: int, end: int
) -> Iterator[dict[str, str | bool]]:
    """Yield plain and marked pieces, in order."""
    at = begin
    for place in places:
        if place.begin >= end:
            break
        yield {"text": _readable(text[at : place.begin]), "marked": False, "words": ""}
        found = _readable(text[place.begin : place.end])
        yield {"text": found, "marked": True, "words": place.words}
        at = place.end
    yield {"text": _readable(text[at:end]), "marked": False, "words": ""}


def _readable(text: str) -> str:
    """Put each element on its own line, and escape control characters."""
    lines = text.replace("\r\n", "\n").replace("><", ">\n<").split("\n")
    return "\n".join(map(printable, lines))
