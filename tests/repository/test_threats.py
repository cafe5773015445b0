"""The page of threats names what is there: modules, tests, and each CVE that a table cites."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "threats.md").read_text("utf-8")

NAMED = re.compile(r"\b(?:tests|addons|ibcm_bridge|config)/[\w./-]*\w")
CVE = re.compile(r"\bCVE-[0-9]{4}-[0-9]{4,}\b")
HEADER = "| threat | why not here | held by | shown by |"


def _rows() -> list[list[str]]:
    """The cells of each row of a table, without the two lines that begin it."""
    lines = [line for line in PAGE.splitlines() if line.startswith("|")]
    return [
        line.strip("| ").split(" | ") for line in lines if line != HEADER and line[:4] != "|---"
    ]


ROWS = _rows()


def test_the_page_has_threats_and_limits() -> None:
    sections = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    assert PAGE.count(HEADER) == len(sections) - 1 > 5
    assert sections[-1] == "Not held"
    assert len(ROWS) > 40
    assert len({row[0] for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("name", sorted(set(NAMED.findall(PAGE))))
def test_the_named_files_exist(name: str) -> None:
    assert (ROOT / name).exists()


@pytest.mark.parametrize("row", ROWS, ids=[row[0][:40] for row in ROWS])
def test_each_threat_names_its_code_and_a_test(row: list[str]) -> None:
    assert len(row) == 4
    _, _, held_by, shown_by = row
    for module in held_by.split(", "):
        assert re.fullmatch(r"`(?:addons|ibcm_bridge|config)/[\w/]+\.(?:py|yaml|yar)`", module)
    for test in shown_by.split(", "):
        assert re.fullmatch(r"tests/(?:[a-z_]+/)*test_\w+\.py", test)


def test_each_vulnerability_that_the_role_table_cites_is_on_the_page() -> None:
    cited = set(CVE.findall((ROOT / "config" / "roles.yaml").read_text("utf-8")))
    assert cited
    assert cited <= set(CVE.findall(PAGE))


def test_every_directory_that_needs_no_certificate_is_of_a_family_on_the_page() -> None:
    table = (ROOT / "config" / "roles.yaml").read_text("utf-8")
    listed = re.search(r"^bypass_directories:\n((?:  - .*\n)+)", table, re.MULTILINE)
    assert listed is not None
    families = ("AltAuth", "TokenAuth", "NOCERT", "CCMTOKENAUTH", "CCM_STS")
    assert all(family in PAGE for family in families)
    for line in listed[1].splitlines():
        assert any(family in line for family in families), line


def test_only_core_server_and_flow_views_of_mitmproxys_addons_are_used() -> None:
    # The others load scripts, replay and change traffic, or make TLS contexts that accept anybody.
    # The view is no addon here: it holds what `web_page` puts into it.
    used = set()
    for path in [*(ROOT / "addons").rglob("*.py"), *(ROOT / "ibcm_bridge").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                used |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                used |= {f"{node.module}.{alias.name}" for alias in node.names}
    loaded = {name for name in used if name.startswith(("mitmproxy.addons", "mitmproxy.tools"))}
    assert loaded == {
        "mitmproxy.addons.core.Core",
        "mitmproxy.addons.proxyserver.Proxyserver",
        "mitmproxy.addons.view.View",
        "mitmproxy.tools.web.app",
    }
