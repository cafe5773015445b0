"""docs/lab.md lists the scenes of the lab, and each sentence of the planning page with them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from ibcm_bridge.lab.cases.requirements import REQUIREMENTS
from ibcm_bridge.lab.cases.table import CASES
from ibcm_bridge.lab.scenes.table import SCENES

PAGE = Path(__file__).parents[2] / "docs" / "lab.md"


def _between_marks(name: str, text: str) -> None:
    """Check the text between two marks of the page; with WRITE_DOCS, write it."""
    page = PAGE.read_text("utf-8")
    made = re.sub(
        rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
        lambda found: found[1] + text + found[2],
        page,
        flags=re.DOTALL,
    )
    assert f"<!-- {name} -->\n" in page
    if os.environ.get("WRITE_DOCS"):
        PAGE.write_text(made, "utf-8")
    assert page == made, "run: WRITE_DOCS=1 pytest tests/repository"


def test_the_page_lists_all_scenes() -> None:
    rows = ["| scene | requirement | what the page says, restated |\n", "|---|---|---|\n"]
    rows += [
        f"| `{scene.name}` | {', '.join(scene.requirements)} | {scene.title}. {scene.sentence} |\n"
        for scene in SCENES.values()
    ]
    _between_marks("scenes", "".join(rows))


def test_the_page_has_all_drawings() -> None:
    drawings = [
        f"`{scene.name}`:\n\n```text\n{scene.drawing}```\n\n"
        for scene in SCENES.values()
        if scene.drawing
    ]
    assert drawings
    _between_marks("drawings", "".join(drawings))


class Sentence(NamedTuple):
    """A row of the table of sentences."""

    requirement: str
    text: str
    scenes: tuple[str, ...]
    cases: tuple[str, ...]
    shown: str


def _rows(name: str) -> list[list[str]]:
    """Return the cells of a table between two marks."""
    page = PAGE.read_text("utf-8")
    table = page.partition(f"<!-- {name} -->\n")[2].partition(f"<!-- /{name} -->")[0]
    return [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]


def _sentences() -> list[Sentence]:
    return [
        Sentence(*row[:2], _named("scene", row[2]), _named("case", row[2]), row[2])
        for row in _rows("sentences")
    ]


def _named(kind: str, shown: str) -> tuple[str, ...]:
    """Return the names after `scene`, `scenes`, `case` or `cases`."""
    lists = re.findall(rf"\b{kind}s? ((?:`[^`]+`(?:, )?)+)", shown)
    return tuple(name for names in lists for name in re.findall(r"`([^`]+)`", names))


def test_the_sentences_are_those_of_the_requirements() -> None:
    """No sentence is missing: together, the parts are the text of the requirement."""
    parts: dict[str, list[str]] = {}
    for sentence in _sentences():
        parts.setdefault(sentence.requirement, []).append(sentence.text)
    # What a requirement says about protocol.md is not from the planning page.
    known = {
        requirement: re.sub(r" \([^()]*protocol\.md[^()]*\)", "", text)
        for requirement, text in REQUIREMENTS.items()
    }
    assert {requirement: " ".join(texts) for requirement, texts in parts.items()} == known


def test_each_sentence_is_shown_or_has_a_reason() -> None:
    scenes = {scene.name: set(scene.requirements) for scene in SCENES.values()}
    cases = {case.id: {case.requirement, *case.other_requirements} for case in CASES}
    for sentence in _sentences():
        shown = [
            *(scenes[name] for name in sentence.scenes),
            *(cases[name] for name in sentence.cases),
        ]
        assert all(sentence.requirement in cited for cited in shown), sentence
        assert shown or re.match(r"not shown: \w+ \w+", sentence.shown), sentence


def test_each_scene_shows_a_sentence_of_each_of_its_requirements() -> None:
    listed = {(sentence.requirement, name) for sentence in _sentences() for name in sentence.scenes}
    assert listed == {
        (requirement, scene.name) for scene in SCENES.values() for requirement in scene.requirements
    }


def test_each_other_sentence_is_shown() -> None:
    rows = _rows("other sentences")
    assert rows
    cases = {case.id for case in CASES}
    for _, shown in rows:
        scenes, named = _named("scene", shown), _named("case", shown)
        assert scenes or named, shown
        assert set(scenes) <= set(SCENES)
        assert set(named) <= cases
