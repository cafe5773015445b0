"""Each block of shell lines in the documents has its form for PowerShell, or a reason for none.

PowerShell is not run: its blocks are parsed by a grammar, and checked by rules.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.powershell_syntax import syntax_errors

ROOT = Path(__file__).parents[2]
WINDOWS = ROOT / "docs" / "windows.md"
RUNBOOKS = ROOT / "docs" / "runbooks"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_FENCE = re.compile(r"^ *```(\w*)$")
_WORD = r"[A-Za-z0-9_./][A-Za-z0-9_./:=-]*|--?[a-z][a-z0-9-]*"
PORTABLE = re.compile(
    rf"(?:ibcm-bridge|python|podman-compose|mitmdump)(?: +(?:{_WORD}))*(?: +#.*)?"
)
"""A line without quotes, variables, redirections and continuations."""


@dataclass(frozen=True)
class Block:
    """A block of lines in a page."""

    page: Path
    heading: str
    """The anchor of its section."""
    language: str
    lines: tuple[str, ...]
    number: int
    """Its place among the blocks of the page."""

    @property
    def link(self) -> tuple[Path, str]:
        return self.page, self.heading


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def blocks_of(page: Path, text: str) -> list[Block]:
    """Return the blocks of a page in their order."""
    found: list[Block] = []
    heading, language, lines = "", None, list[str]()
    for line in text.splitlines():
        fence = _FENCE.match(line)
        if fence and language is None:
            language, lines = fence[1], []
        elif fence and language is not None:
            block = Block(page, heading, language, tuple(lines), len(found))
            found.append(block)
            language = None
        elif language is not None:
            lines.append(line.strip())
        elif title := re.match(r"#+ (.*)$", line):
            heading = _anchor(title[1])
    return found


BLOCKS = {page: blocks_of(page, page.read_text("utf-8")) for page in PAGES}
SHELL = [block for blocks in BLOCKS.values() for block in blocks if block.language == "sh"]
POWERSHELL = [
    block for blocks in BLOCKS.values() for block in blocks if block.language == "powershell"
]


def following(block: Block) -> Block | None:
    """Return the block for PowerShell that follows a block in its section."""
    blocks = BLOCKS[block.page]
    if block.number + 1 == len(blocks):
        return None
    after = blocks[block.number + 1]
    same = after.heading == block.heading and after.language == "powershell"
    return after if same else None


def is_portable(block: Block) -> bool:
    return all(PORTABLE.fullmatch(line) for line in block.lines if line)


def listed() -> set[tuple[Path, str]]:
    """Return the sections in the table of docs/windows.md."""
    table = WINDOWS.read_text("utf-8").partition("| block for `sh` | in PowerShell |\n")[2]
    rows = table.partition("\n\n")[0].splitlines()[1:]
    links = [link for row in rows for link in re.findall(r"\]\(([^)#]+)#([^)]+)\)", row)]
    return {((WINDOWS.parent / page).resolve(), anchor) for page, anchor in links}


def section(block: Block) -> tuple[Path, str]:
    """Return the link of a block; the runbooks are linked as a whole."""
    if block.page.parent == RUNBOOKS:
        return ROOT / "docs" / "operating.md", "alerts"
    return block.link


OTHERS = [block for block in SHELL if not is_portable(block) and following(block) is None]


def test_every_block_for_a_shell_has_a_form_for_powershell_or_a_reason() -> None:
    missing = {
        f"{block.page.name}#{block.heading}" for block in OTHERS if section(block) not in listed()
    }
    assert missing == set()


def test_the_list_of_other_blocks_has_no_old_row() -> None:
    assert listed() - {section(block) for block in OTHERS} == set()
    assert len(listed()) > 5


@pytest.mark.parametrize(
    "line", ["ibcm-bridge lab up", "ibcm-bridge x --y a.yaml   # 'a' \"b\" $c"]
)
def test_a_line_of_words_is_portable(line: str) -> None:
    assert PORTABLE.fullmatch(line)


@pytest.mark.parametrize(
    "line",
    [
        "ibcm-bridge x \\",
        "ibcm-bridge x > y",
        "ibcm-bridge x | y",
        "ibcm-bridge 'x'",
        'ibcm-bridge "x"',
        "ibcm-bridge $X",
        "ibcm-bridge x &",
        "ibcm-bridge x; y",
        "ibcm-bridge @x",
        "ibcm-bridge x,y",
        "sudo ibcm-bridge x",
        "X=1 ibcm-bridge x",
    ],
)
def test_a_line_with_syntax_of_a_shell_is_not_portable(line: str) -> None:
    assert not PORTABLE.fullmatch(line)


def commands(block: Block) -> list[list[str]]:
    """Return the first words of each command of ibcm-bridge."""
    found = re.findall(r"ibcm-bridge((?: [a-z-]+){1,2})", "\n".join(block.lines))
    return [words.split() for words in found]


PAIRS = [
    (block, after)
    for block in SHELL
    if not is_portable(block) and (after := following(block)) is not None
]


@pytest.mark.parametrize(("shell", "other"), PAIRS, ids=lambda block: block.heading)
def test_the_block_for_powershell_has_the_same_commands(shell: Block, other: Block) -> None:
    assert commands(other) == commands(shell)


_OF_A_SHELL = {
    r"\\$": "a line continues with a backtick",
    r"&&": "Windows PowerShell has no &&",
    r"\\\"": "a quote in a string is doubled",
    r"^(?:export|sudo) ": "not a command of Windows",
    r"/dev/null": "PowerShell has $null",
    r"`\s+$": "white space after the backtick",
    r"(?<![\w.])curl(?! ?\.exe)\b": "curl is Invoke-WebRequest in Windows PowerShell; use curl.exe",
}
_STRING = re.compile(r"\"[^\"]*\"|'(?:[^']|'')*'")


@pytest.mark.parametrize("block", POWERSHELL, ids=lambda block: f"{block.page.stem}-{block.number}")
def test_a_block_for_powershell_has_its_syntax(block: Block) -> None:
    for line in block.lines:
        found = [why for pattern, why in _OF_A_SHELL.items() if re.search(pattern, line)]
        bare = _STRING.sub("", line).partition("#")[0]
        if ">" in bare:
            found.append("> writes UTF-16 in Windows PowerShell")
        if "<" in bare:
            found.append("< is reserved in PowerShell")
        if "'" in bare or '"' in bare:
            found.append("a quote without its end")
        assert found == [], line


@pytest.mark.parametrize("block", POWERSHELL, ids=lambda block: f"{block.page.stem}-{block.number}")
def test_a_block_for_powershell_is_parsed(block: Block) -> None:
    assert syntax_errors("\n".join(block.lines)) == []


@pytest.mark.parametrize(
    "text",
    [
        "ibcm-bridge x \\\n  --y",
        "ibcm-bridge 'x",
        'ibcm-bridge "x',
        "ibcm-bridge x |",
        "ibcm-bridge (x",
        "foreach ($x in $y) {\n  z",
        "if $x { y }",
        "$x = @{y = 1",
        "for x in y; do\n  z\ndone",
        # PowerShell splits such an argument at the dot.
        "certutil -ca.cert x.cer",
    ],
)
def test_the_grammar_finds_an_error(text: str) -> None:
    assert syntax_errors(f"ibcm-bridge y\n{text}") != []
    assert syntax_errors("ibcm-bridge y\nibcm-bridge z `\n  --a 'b'   # c") == []


def test_the_pages_have_blocks_of_each_kind() -> None:
    assert len(SHELL) > 30
    assert len(POWERSHELL) > 8
    assert len(PAIRS) > 2
