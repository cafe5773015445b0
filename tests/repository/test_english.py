"""The documents are in plain technical English: no phrase of a list that a reader stumbles over.

Quotations, code, links and generated tables are left out. A table between `<!-- name: ... -->` and
`<!-- /name -->` has its text from the code, which is looked at there.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

_OBJECT = r"(?:it|them|him|her|(?:a|an|the|its|their|your|each|another) [\w-]+(?: [\w-]+)?)"
_BARE_VERB = (
    r"(?:answer|ask|bring|come|decide|do|forget|go|inspect|listen|look|pass|refuse|run|say|send"
    r"|show|stand|start|stop|take|tell)"
)
PHRASES: Mapping[str, str] = {
    # Avoided in general: phrase -> what to write in its place.
    rf"\b(?:have|has|having|had) {_OBJECT} {_BARE_VERB}\b": "make or let, or name the subject",
    r"\bof (?:which|whom)\b": "a new sentence",
    r"\bbut for\b": "except",
    r"\banew\b": "again",
    r"\bmend(?:s|ed|ing)?\b": "correct, fix",
    r"\b(?:un)?learnt\b": "learned, recorded",
    r"\bwho(?:ever|so)\b": "anyone who, the user who",
    r"\b(?:said|told)\b": "logged, reported, shown",
    r"(?<!there )\b(?:is|are|was|were) no (?!(?:longer|more|less|fewer)\b)": "is not a",
    (
        r"(?:^|[.;:|] )(?-i:What|And what|But what) (?![^.;:|]*\?)(?:\w+ ){0,6}?"
        r"(?:is|are|was|were|has|does)\b"
    ): "a noun",
    r"\b(?:by|from|for|with) what (?:is|was|stands|comes|came)\b": "a noun",
    r"\banswer(?:s|ed|ing)?\b": "response (HTTP), reply (ConfigMgr)",
    # The private dialect.
    r"\bstands?(?= (?:in|on|at|below|above|behind|beside|there|right|open|empty|against)\b)": (
        "is, is in"
    ),
    r"\blets? (?:pass|in|through)\b": "allow, accept",
    r"\b(?:forgotten|lost) at the end\b": "lost on restart",
    r"\bin trouble\b": "returned a server error",
    r"\bany more\b": "no longer",
    r"\b(?:bytes|fields) count\b": "are the body",
    r"\btoo much to do\b": "overloaded",
    r"\b[Ww]here (?:yours|ours) (?:are|is)\b": "the addresses of your",
    r"\bas (?:they are|it is) (?:not )?by default\b": "non-default",
    r"\bcosts? time\b": "uses CPU",
    r"\bfor nothing in\b": "of a nonexistent file in",
    r"\bspeaks? (?:to|for)\b": "connect to; use the client GUID of",
    r"\bcannot be found here\b": "cannot be resolved",
    r"\b(?:unknown|known|other|good|bad) ones learn": "learn",
    r"\b(?:nobody|somebody) (?:is|was|has|knows|else's)\b": "no client, another user",
    r"\b(?:sent|send|sends|passed|passes) on\b": "forward",
    r"\blook(?:s|ed|ing)? (?:into|through)\b": "inspect",
    r"\b(?:is|are|was|were) (?:written|put) down\b": "recorded",
    r"\bfor one in\b": "a noun",
    r"\bwhose (?:it is|client GUID)\b": "the client that",
    r"\bby nature\b": "by design",
    r"\bthe other way(?! round)\b": "in the other direction",
    r"\b(?:all|no|any|every) that (?:is|has|it|they)\b": "a noun",
    r"\bgoes? by\b": "use",
}

# Words of others, which stay as they are.
QUOTED = (
    '"in SSL, but with no client cert"',
    '"Appending CCM Token to the header"',
)


def _document(text: str) -> str:
    """A document without code, links, generated tables and headings' anchors."""
    text = re.sub(r"<!-- (\w+): [^\n]*-->.*?<!-- /\1 -->", "", text, flags=re.DOTALL)
    text = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"`[^`\n]*(?:\n[^`\n]+)?`", "`...`", text)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return re.sub(r"^#+ .*$", "", text, flags=re.MULTILINE)


def _comments(text: str) -> str:
    """The comments of a YAML file, in paragraphs."""
    lines = (re.search(r"(?:^|\s)#\s?(.*)$", line) for line in text.splitlines())
    text = "\n".join(line[1] if line else "" for line in lines)
    return re.sub(r"`[^`\n]*`", "`...`", text)


def _strings(text: str) -> str:
    """Docstrings, messages and comments of a Python file, each a paragraph."""
    found = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.STRING, tokenize.FSTRING_MIDDLE, tokenize.COMMENT):
            found.append(token.string.strip("#\"' "))
    return re.sub(r"`[^`\n]*`", "`...`", "\n\n".join(found))


# What is looked at, and how it is read: one line for each kind of file.
FILES: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("*.md", _document),
    ("docs/**/*.md", _document),
    ("config/*.yaml", _comments),
    ("tests/test_os_errors.py", _strings),
    ("tests/site_system_leg/*.py", _strings),
    ("tests/policy/*.py", _strings),
    ("tests/request/*.py", _strings),
    ("config/rules/*.yar", str),
    ("ibcm_bridge/policy_file/**/*.py", _strings),
    ("tests/policy_file/*.py", _strings),
    ("tests/policy_samples.py", _strings),
    ("tests/smuggling_shapes.py", _strings),
    ("ibcm_bridge/os_errors.py", _strings),
    ("ibcm_bridge/site_system_leg/*.py", _strings),
    ("ibcm_bridge/policy/*.py", _strings),
    ("ibcm_bridge/request/*.py", _strings),
    ("ibcm_bridge/routing/*.py", _strings),
    ("ibcm_bridge/authentication/*.py", _strings),
    ("tests/routing/*.py", _strings),
    ("tests/authentication/*.py", _strings),
    ("ibcm_bridge/decisions/*.py", _strings),
    ("ibcm_bridge/messages/*.py", _strings),
    ("ibcm_bridge/messages/views/*.py", _strings),
    ("ibcm_bridge/inspection/*.py", _strings),
    ("ibcm_bridge/identity/*.py", _strings),
    ("ibcm_bridge/uploads/*.py", _strings),
    ("ibcm_bridge/storage/*.py", _strings),
    ("ibcm_bridge/audit/*.py", _strings),
    ("tests/decisions/*.py", _strings),
    ("tests/messages/*.py", _strings),
    ("tests/messages/views/*.py", _strings),
    ("tests/inspection/*.py", _strings),
    ("tests/identity/*.py", _strings),
    ("tests/uploads/*.py", _strings),
    ("tests/storage/*.py", _strings),
    ("tests/audit/*.py", _strings),
    ("ibcm_bridge/commands/**/*.py", _strings),
    ("ibcm_bridge/conformance/**/*.py", _strings),
    ("tests/conformance/*.py", _strings),
    ("tests/commands/**/*.py", _strings),
    ("tests/integration/commands.py", _strings),
    ("tests/integration/test_run.py", _strings),
    ("tests/integration/test_start.py", _strings),
    ("tests/integration/late/test_connect_check.py", _strings),
    ("benchmarks/*.py", _strings),
    ("Makefile", _comments),
    (".ci/parallel", _comments),
    (".ci/run", _comments),
    ("pyproject.toml", _comments),
    ("addons/**/*.py", _strings),
    ("tests/addons/**/*.py", _strings),
    ("deploy/*.yaml", _comments),
    ("deploy/Containerfile", _comments),
    ("deploy/haproxy/*", _comments),
    ("deploy/kubernetes/**/*.yaml", _comments),
    ("deploy/logrotate/*", _comments),
    ("deploy/prometheus/*.yaml", str),
    ("deploy/sigma/*.yml", str),
    ("deploy/systemd/*", _comments),
    ("tests/soak/*.py", _strings),
    ("tests/containers/*.py", _strings),
    ("ibcm_bridge/lab/**/*.py", _strings),
    ("tests/lab/**/*.py", _strings),
)


def _stumbles(text: str) -> Iterator[str]:
    """Each avoided phrase of a text, with what to write in its place."""
    for quoted in QUOTED:
        text = text.replace(quoted, "")
    for paragraph in re.split(r"\n\s*\n|\n(?=\||[-*] |\d+\. )", text):
        line = " ".join(paragraph.split())
        for phrase, better in PHRASES.items():
            for found in re.finditer(phrase, line, re.IGNORECASE):
                around = line[max(found.start() - 30, 0) : found.end() + 20]
                yield f"'{found[0].strip()}' in '...{around}...': write {better}"


CASES = [
    pytest.param(path, read, id=str(path.relative_to(ROOT)))
    for pattern, read in FILES
    for path in sorted(ROOT.glob(pattern))
]


@pytest.mark.parametrize(("path", "read"), CASES)
def test_a_document_is_in_plain_english(path: Path, read: Callable[[str], str]) -> None:
    assert list(_stumbles(read(path.read_text("utf-8")))) == []


@pytest.mark.parametrize(
    "text",
    [
        "Three fields, of which one is dropped.",
        "Nothing passes but for GET.",
        "The file is opened anew.",
        "Fields pass. What is sent is taken from the approval.",
        "The list is no good.",
        "Have the bridge listen elsewhere.",
        "It is said in the log.",
        "The answer names the host.",
        "It lets pass encrypted messages.",
        "Files are kept, and forgotten\nat the end.",
        "| key | the answer |\n|---|---|",
    ],
)
def test_an_avoided_phrase_is_found(text: str) -> None:
    assert list(_stumbles(_document(text)))


@pytest.mark.parametrize(
    "text",
    [
        "There is no CRL.",
        "The list is no longer valid.",
        "The clients have a certificate.",
        "What is a site system?",
        "The `answer` key, and [a link](answer.md).",
        "```text\nWhat is sent is told anew.\n```",
        "<!-- rows: made -->\nThe answer is told.\n<!-- /rows -->",
        'Log lines show "Appending CCM Token to the header".',
    ],
)
def test_plain_english_passes(text: str) -> None:
    assert list(_stumbles(_document(text))) == []


def _test_names(text: str) -> str:
    """The names of the tests of a file as sentences, each a paragraph."""
    names = re.findall(r"^(?:async )?def test_(\w+)", text, re.MULTILINE)
    return "\n\n".join(name.replace("_", " ").capitalize() for name in names)


def test_the_names_of_tests_are_in_plain_english() -> None:
    found = {
        path.name: stumbles
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if (stumbles := [*_stumbles(_test_names(path.read_text("utf-8")))])
    }
    assert found == {}


def test_an_avoided_phrase_in_the_name_of_a_test_is_found() -> None:
    assert list(_stumbles(_test_names("def test_what_is_sent_is_kept() -> None:")))
    assert list(_stumbles(_test_names("def test_sent_bytes_are_kept() -> None:"))) == []


def _loop_variables(text: str) -> set[str]:
    """The names of the variables of loops and comprehensions."""
    targets = [
        node.target
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension)
    ]
    return {
        name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)
    }


def test_a_loop_variable_has_the_name_of_a_thing() -> None:
    folders = ("ibcm_bridge", "addons", "tests", "benchmarks")
    files = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert [path for path in files if "one" in _loop_variables(path.read_text("utf-8"))] == []


@pytest.mark.parametrize("text", ["[one.name for one in rows]", "for key, one in rows: pass"])
def test_a_loop_variable_without_the_name_of_a_thing_is_found(text: str) -> None:
    assert "one" in _loop_variables(text)


def test_comments_and_strings_are_read_without_code() -> None:
    assert _comments("key: answer  # the port\n# `answer`\n").split() == ["the", "port", "`...`"]
    assert _strings('answer = "the port"  # of TLS\n').split() == ["the", "port", "of", "TLS"]
