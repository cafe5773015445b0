"""docs/lab.md lists the scenes of the lab."""

from __future__ import annotations

import os
import re
from pathlib import Path

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
        f"| `{scene.name}` | {scene.requirement} | {scene.title}. {scene.sentence} |\n"
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
