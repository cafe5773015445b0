"""The place of a finding in a request, from the evidence in the audit record: rule and detail.

A malware engine names its rule. The page searches the text for that rule again, with YARA-X.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import yara_x

from ibcm_bridge.inspection.encoded_values import decoded, runs
from ibcm_bridge.inspection.engines import CompiledRules
from ibcm_bridge.lab.page.message_texts import HEAD, Text


@dataclass(frozen=True)
class Place:
    """A part of a text; `words` if the finding is in what the part decodes to."""

    title: str
    begin: int
    end: int
    words: str = ""


_NO_PLACE = ("engines.", "site_system")
"""Rules without a place in a request: ClamAV names no place, and a site system is elsewhere."""

MAX_PLACES = 8
"""Places that are marked; a client GUID can be in many."""


def places_of(record: Mapping[str, Any], texts: Sequence[Text]) -> list[Place]:
    """Return where the finding is; an empty list if the evidence has no place in the texts."""
    rule, detail = str(record.get("rule", "")), str(record.get("detail", ""))
    if rule == "engines.yara-x":
        return list(_matches(detail.partition(" in ")[0], texts))[:MAX_PLACES]
    if rule.startswith(_NO_PLACE):
        return []
    found = list(_in_head(rule, detail, texts[0].text)) or list(_in_text(rule, detail, texts))
    return found[:MAX_PLACES]


# Malware


def _matches(name: str, texts: Sequence[Text]) -> Iterator[Place]:
    for text in texts:
        data = text.text.encode()
        for begin, end in _search(name, data):
            yield Place(text.title, len(data[:begin].decode()), len(data[:end].decode()))
        for begin, end in runs(data):
            if any(_search(name, decoded(data[begin:end]))):
                first = len(data[:begin].decode())
                words = "the value decodes to the finding"
                yield Place(text.title, first, first + end - begin, words)


def _search(name: str, data: bytes) -> Iterator[tuple[int, int]]:
    for rule in yara_x.Scanner(_rules()).scan(data).matching_rules:
        if rule.identifier == name:
            for pattern in rule.patterns:
                for match in pattern.matches:
                    yield match.offset, match.offset + match.length


@functools.cache
def _rules() -> yara_x.Rules:
    """The shipped rules; those of a lab are the same."""
    folder = files("ibcm_bridge.config.rules").iterdir()
    sources = [(file.name, file.read_text("utf-8")) for file in folder if ".yar" in file.name]
    return CompiledRules(sources).shipped


# The head

_TARGET_RULES = re.compile(
    r"target\..*|roles\..*|[a-z-]+\.(?:denied_extensions|dots_in_path)"
    r"|.*\.directories(?:\..*)?"
)
_FIELDS = {
    "uploads.session": "BITS-Session-Id",
    "uploads.gap": "Content-Range",
    "uploads.overlap": "Content-Range",
    "uploads.max_bytes": "Content-Range",
    "uploads.close": "BITS-Packet-Type",
    "messages.clock_skew": "CCMClientTimestamp",
}
"""Rule -> the header field that it judges, where its name does not say it."""


def _in_head(rule: str, detail: str, head: str) -> Iterator[Place]:
    """Yield the part of the head that the rule is about."""
    line = head.partition("\n")[0]
    method, _, rest = line.partition(" ")
    target, _, version = rest.rpartition(" ")
    if rule.endswith(".verbs") or rule == "head.method":
        yield Place(HEAD, 0, len(method))
    elif rule == "head.version":
        yield Place(HEAD, len(line) - len(version), len(line))
    elif _TARGET_RULES.fullmatch(rule):
        begin, end = _within(target, detail)
        yield Place(HEAD, len(method) + 1 + begin, len(method) + 1 + end)
    else:
        part = "content-type" if rule.endswith(".media_types") else rule.removeprefix("head.")
        yield from _fields(_FIELDS.get(rule, part).lower(), head)


def _within(target: str, detail: str) -> tuple[int, int]:
    """Return the part of the target that the detail quotes, or all of it."""
    for token in re.findall(r"[/.][\w./$-]+", detail):
        begin = target.lower().find(token.lower())
        if begin >= 0:
            return begin, begin + len(token)
    return 0, len(target)


def _fields(name: str, head: str) -> Iterator[Place]:
    begin = 0
    for line in head.split("\n"):
        if line.lower().startswith(f"{name}:"):
            yield Place(HEAD, begin, begin + len(line))
        begin += len(line) + 1


# Names and values

_TOKEN = re.compile(r"GUID:[\w-]+|[\w.+-]+/[\w.+-]+|\w*[A-Z0-9_]\w*")
"""Names and values in a detail; English words are in lower case, except the first."""

_SHORTEST = 5


def _in_text(rule: str, detail: str, texts: Sequence[Text]) -> Iterator[Place]:
    """Yield the names and values of the evidence in the texts."""
    if rule.startswith("bodies.none."):
        yield from (Place(text.title, 0, len(text.text)) for text in texts[1:])
        return
    named = rule.rpartition(".")[2]
    tokens = ["<!DOCTYPE"] if named == "dtd" else _TOKEN.findall(f"{detail} {named}")
    patterns = [
        rf"(?<!\w){re.escape(token)}(?!\w)"
        for token in dict.fromkeys(tokens)
        if len(token) >= _SHORTEST and not token.isdecimal()
    ]
    found = list(_everywhere(patterns, texts))
    # The rule of a field has its name in lower case: bodies.soap.cookiedata.
    yield from found or _everywhere([rf"(?i)<(?:\w+:)?{re.escape(named)}\b"], texts)


def _everywhere(patterns: Sequence[str], texts: Sequence[Text]) -> Iterator[Place]:
    for pattern in patterns:
        for text in texts:
            for match in re.finditer(pattern, text.text):
                yield Place(text.title, *match.span())
