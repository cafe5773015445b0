"""Draws lanes as SVG: wide for a screen, narrow for a phone. It does no I/O.

The drawing has classes only, no style: a Content-Security-Policy allows no inline style. `css()` is
the style, with the animation, which plays once, and not where the system asks for less motion.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files

from ibcm_bridge.lab.comparison.outcomes import CaseResult
from ibcm_bridge.lab.picture.lanes import NO_LANE, Lane, Leg, Line, Place, Style, lanes

_PROXY = {"bridge": "ibcm-bridge reads", "tunnel": "the tunnel sees"}
_TITLE = {"bridge": "Bridge", "tunnel": "Tunnel"}
_UNREADABLE = ("not readable: the request,", "its message, the client's name")
_ROW = 17
"""Height of a line of text."""

_WIDTH = {Style.CODE: 7.3, Style.SOFT: 6.4, Style.FOUND: 7.6}
"""Average width of a character; else `_CHARACTER`. Fonts differ: these are wide ones."""
_CHARACTER = 6.9
_BOLD = 7.8
_RESPONSE = 7.3
_LEG_TEXT = 5.9


def css() -> str:
    """Return the style of the drawings."""
    return files("ibcm_bridge.lab.picture").joinpath("picture.css").read_text("utf-8")


def picture(result: CaseResult, faults: Sequence[str] = ()) -> str:
    """Return a wide and a narrow drawing of a result; the style shows one of them."""
    drawn = lanes(result, faults)
    label = escape(_description(drawn))
    return (
        f'<svg class="picture wide" viewBox="-2 0 1004 344" role="img" aria-label="{label}">'
        f"{''.join(_wide(drawn))}</svg>"
        f'<svg class="picture narrow" viewBox="-2 0 364 962" role="img" aria-label="{label}">'
        f"{''.join(_narrow(drawn))}</svg>"
    )


def _description(drawn: tuple[Lane, Lane | None]) -> str:
    """Return the drawing in words."""
    parts = []
    for lane in drawn:
        if lane is None:
            parts.append(NO_LANE)
            continue
        read = "; ".join(line.text for line in lane.proxy if line.text)
        parts.append(
            f"{_TITLE[lane.name]}: {lane.verdict.word}, {lane.verdict.detail}. "
            f"{lane.first.lines[0]}. {_PROXY[lane.name]}: {read}. "
            f"The site system: {'; '.join(line.text for line in lane.site)}. "
            f"The client received: {lane.response}."
        )
    return " ".join(parts)


def _wide(drawn: tuple[Lane, Lane | None]) -> Iterator[str]:
    for name, x in (("Internet", 170), ("perimeter", 474), ("intranet", 804)):
        yield _text(x, 14, name, "zone")
    yield '<path class="edge" d="M340 20V340M608 20V340M0 182H1000"/>'
    for lane, top in zip(drawn, (24, 190), strict=True):
        yield from _wide_lane(lane, top) if lane else _no_lane(top + 40)


def _no_lane(top: int) -> Iterator[str]:
    yield _text(0, top - 24, _TITLE["tunnel"], "title")
    yield f'<path class="leg unopened" d="M4 {top}H996"/>'
    yield _text(4, top + 26, NO_LANE, "plain")


_CLIENT, _SITE, _MIDDLE = (0, 20, 150, 118), (805, 20, 195, 118), (352, 2, 244, 136)
_WIDE_BOXES = {Place.CLIENT: _CLIENT, Place.PROXY: _MIDDLE, Place.SITE_SYSTEM: _SITE}


def _wide_lane(lane: Lane, top: int) -> Iterator[str]:
    yield f'<g class="lane {lane.name} {lane.verdict.grade}">'
    yield _text(0, top + 12, _TITLE[lane.name], "title")
    for place, (x, y, width, height) in _WIDE_BOXES.items():
        yield _box(x, top + y, (width, height), lane, place)
    middle = top + 70
    if lane.second is None:
        reach = 348 if lane.stopped is Place.PROXY else 801
        yield _request(lane.first, 154, reach, middle, "end-to-end")
    else:
        yield _request(lane.first, 154, 348, middle, "first")
        yield _request(lane.second, 600, 801, middle, "second")
        yield from _leg_texts(lane.second, 700, middle, 202)
    yield from _leg_texts(lane.first, 251, middle, 196)
    end = lane.stopped or Place.SITE_SYSTEM
    for place, lines in _texts(lane).items():
        x, y, width, height = _WIDE_BOXES[place]
        room = height - (44 if place is end else 30)  # the verdict is the last line
        yield from _lines(x + 10, top + y + 18, width - 16, lines, room // _ROW)
    x, y, _, height = _WIDE_BOXES[end]
    kind = "verdict small" if lane.stopped is Place.CLIENT else "verdict"
    yield _text(x + 8, top + y + height - 9, lane.verdict.label, kind)
    if lane.name == "tunnel" and lane.stopped is not Place.PROXY:
        for number, text in enumerate(_UNREADABLE):
            yield _text(362, middle + 22 + 16 * number, text, "soft")
    yield from _wide_response(lane, top + 128)
    yield "</g>"


def _texts(lane: Lane) -> dict[Place, Sequence[Line]]:
    return {
        Place.CLIENT: (Line("client"), *lane.client),
        Place.PROXY: (Line(_PROXY[lane.name]), *lane.proxy),
        Place.SITE_SYSTEM: lane.site,
    }


def _wide_response(lane: Lane, y: int) -> Iterator[str]:
    if lane.stopped is Place.CLIENT:
        return
    start = 348
    if lane.second is not None and lane.second.opened:
        # A bridge can refuse the response of the site system.
        yield _arrow(801, y, 600, y, "response second")
    elif lane.second is None and lane.stopped is not Place.PROXY:
        start = 801
    yield _arrow(start, y, 154, y, f"response {'first' if start == 348 else 'end-to-end'}")
    yield _text(251, y - 6, _cut(lane.response, int(196 / _RESPONSE)), "response")


def _leg_texts(leg: Leg, x: int, middle: int, width: int) -> Iterator[str]:
    first, *rest = leg.lines
    yield _text(x, middle - 9, _fit(first, width, Style.PLAIN), "leg-title")
    for number, text in enumerate(rest):
        cut = _cut(text, int(width / _LEG_TEXT))
        yield _text(x, middle + 18 + 14 * number, cut, "leg-text")


def _request(leg: Leg, start: int, end: int, y: int, kind: str) -> str:
    if not leg.opened:
        return f'<path class="leg unopened" d="M{start} {y}H{end}"/>'
    kind = kind if leg.encrypted else f"{kind} cleartext"
    tube = f'<path class="tube {kind}" d="M{start} {y}H{end}"/>' if leg.encrypted else ""
    return f"{tube}{_arrow(start, y, end, y, f'request {kind}')}"


def _arrow(x1: int, y1: int, x2: int, y2: int, kind: str) -> str:
    """Draw an arrow, and a dot that the style moves along it."""
    ahead = (1 if x2 > x1 else -1) * 9 if x1 != x2 else 0
    down = (1 if y2 > y1 else -1) * 9 if y1 != y2 else 0
    head = (
        f"M{x2} {y2}L{x2 - ahead} {y2 - 5}V{y2 + 5}z"
        if ahead
        else f"M{x2} {y2}L{x2 - 5} {y2 - down}H{x2 + 5}z"
    )
    return (
        f'<g class="{kind}"><path class="leg" d="M{x1} {y1}L{x2 - ahead} {y2 - down}"/>'
        f'<path class="head" d="{head}"/><circle class="dot" cx="{x1}" cy="{y1}" r="6"/></g>'
    )


def _box(x: int, y: int, size: tuple[int, int], lane: Lane, place: Place) -> str:
    width, height = size
    ends_here = lane.stopped is place or (lane.stopped is None and place is Place.SITE_SYSTEM)
    kind = "box ends" if ends_here else "box"
    return f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="8"/>'


def _lines(x: int, y: int, width: int, lines: Sequence[Line], most: int) -> Iterator[str]:
    head, *rest = [line for line in lines if line.text]
    yield _text(x, y, _cut(head.text, int(width / _BOLD)), "heading")
    for number, line in enumerate(_wrapped(rest, width)[:most], 1):
        at = y + _ROW * number
        if line.style is Style.FOUND:
            drawn = min(width + 8, len(line.text) * 8 + 8)
            yield f'<rect class="mark" x="{x - 4}" y="{at - 13}" width="{drawn:.0f}" height="17"/>'
        yield _text(x, at, line.text, line.style.value)


def _wrapped(lines: Sequence[Line], width: int) -> list[Line]:
    """Wrap prose; cut code off, because its beginning says most."""
    wrapped = []
    for line in lines:
        most = int(width / _WIDTH.get(line.style, _CHARACTER))
        pieces = [_cut(line.text, most)]
        if line.style is not Style.CODE:
            pieces = textwrap.wrap(line.text, most, max_lines=2, placeholder="…")
        wrapped += [Line(piece, line.style) for piece in pieces]
    return wrapped


def _fit(text: str, width: int, style: Style) -> str:
    """Return the text, cut off at a width."""
    return _cut(text, int(width / _WIDTH.get(style, _CHARACTER)))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _text(x: int, y: int, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x}" y="{y}">{escape(text)}</text>'


# On a phone, from the top to the bottom


_NARROW_BOXES = {Place.CLIENT: (26, 64), Place.PROXY: (176, 112), Place.SITE_SYSTEM: (354, 117)}


def _narrow(drawn: tuple[Lane, Lane | None]) -> Iterator[str]:
    for lane, top in zip(drawn, (0, 487), strict=True):
        if lane is None:
            yield _text(0, top + 20, _TITLE["tunnel"], "title")
            yield _text(0, top + 44, "Plain HTTP cannot be tunneled.", "plain")
            continue
        yield f'<g class="lane {lane.name} {lane.verdict.grade}">'
        yield _text(0, top + 16, f"{_TITLE[lane.name]}: {lane.verdict.label}", "title")
        texts = _texts(lane)
        for place, (y, height) in _NARROW_BOXES.items():
            yield _box(0, top + y, (360, height), lane, place)
            yield from _lines(10, top + y + 18, 342, texts[place], (height - 26) // _ROW)
        yield from _narrow_legs(lane, top)
        yield "</g>"


def _narrow_legs(lane: Lane, top: int) -> Iterator[str]:
    first, second = (top + 92, top + 174), (top + 290, top + 352)
    lower = lane.second or lane.first
    for leg, (start, end), kind in (
        (lane.first, first, "first" if lane.second else "end-to-end"),
        (lower, second, "second" if lane.second else "end-to-end"),
    ):
        at_proxy = lane.second is None and lane.stopped is Place.PROXY
        if not leg.opened or (at_proxy and start == second[0]):
            yield f'<path class="leg unopened" d="M14 {start}V{end}"/>'
        else:
            yield _arrow(14, start, 14, end, f"request {kind} upright")
        texts = leg.lines if start == first[0] or lane.second else ()
        for number, text in enumerate(texts):
            yield _text(30, start + 18 + 18 * number, _fit(text, 290, Style.PLAIN), "plain")
    if lane.stopped is Place.CLIENT:
        return
    if lane.second.opened if lane.second else lane.stopped is not Place.PROXY:
        yield _arrow(346, second[1], 346, second[0], "response upright")
    yield _arrow(346, first[1], 346, first[0], "response upright")
    yield _text(336, first[1] - 8, _fit(lane.response, 300, Style.PLAIN), "response end")
