"""docs/lab.md lists the scenes of the lab."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ibcm_bridge.lab.scenes.table import SCENES

PAGE = Path(__file__).parents[2] / "docs" / "lab.md"


def test_the_page_lists_all_scenes() -> None:
    rows = ["| scene | requirement | what the page says, restated |\n", "|---|---|---|\n"]
    rows += [
        f"| `{scene.name}` | {scene.requirement} | {scene.title}. {scene.sentence} |\n"
        for scene in SCENES.values()
    ]
    page = PAGE.read_text("utf-8")
    made = re.sub(
        r"(<!-- scenes -->\n).*?(<!-- /scenes -->)",
        lambda found: found[1] + "".join(rows) + found[2],
        page,
        flags=re.DOTALL,
    )
    if os.environ.get("WRITE_DOCS"):
        PAGE.write_text(made, "utf-8")
    assert page == made, "run: WRITE_DOCS=1 pytest tests/repository"
