"""The JSON schema that editors read is the shape that the bridge reads.

After a change of `policy_file.rows`: WRITE_DOCS=1 pytest tests/repository writes it again.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ibcm_bridge.conformance.subject_file import BRIDGE, subject_schema, template
from ibcm_bridge.policy_file import policy_schema
from ibcm_bridge.policy_file.yaml_tree import read_yaml

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "config" / "schema" / "policy.schema.json"
SUBJECT_SCHEMA = SCHEMA.with_name("subject.schema.json")
SHIPPED = ROOT / "config" / "bridge.yaml"


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft202012Validator:
    text = files("ibcm_bridge.config.schema").joinpath("policy.schema.json").read_text("utf-8")
    read = json.loads(text)
    jsonschema.Draft202012Validator.check_schema(read)
    return jsonschema.Draft202012Validator(read)


@pytest.mark.parametrize(
    ("file", "made"), [(SCHEMA, policy_schema()), (SUBJECT_SCHEMA, subject_schema())]
)
def test_the_schema_is_that_of_the_rows(file: Path, made: Mapping[str, Any]) -> None:
    expected = json.dumps(made, indent=2, ensure_ascii=False) + "\n"
    if os.environ.get("WRITE_DOCS"):
        file.write_text(expected, "utf-8")
    else:
        assert file.read_text("utf-8") == expected, "run: WRITE_DOCS=1 pytest tests/repository"


def keys(node: object, where: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every key that a policy can have."""
    if isinstance(node, Mapping):
        for name, row in node.get("properties", {}).items():
            yield f"{where}.{name}", row
        for name, below in node.items():
            yield from keys(below, f"{where}/{name}")
    elif isinstance(node, list):
        for below in node:
            yield from keys(below, where)


def test_an_editor_can_describe_each_key() -> None:
    found = dict(keys(policy_schema()))
    assert len(found) > 40
    said = {name for name, row in found.items() if "description" in row}
    constants = {name for name, row in found.items() if "const" in row}  # mode, version
    assert set(found) == said | constants


def test_an_example_has_the_format_of_its_key_or_keys_of_its_row() -> None:
    schema = policy_schema()
    fields = [row for _, row in keys(schema)]
    fields += [inner for row in fields for inner in [*row.get("anyOf", []), row.get("items", {})]]
    texts = [row for row in fields if "pattern" in row and "examples" in row]
    rows = [row for row in schema["$defs"].values() if "examples" in row]
    assert len(texts) > 10
    assert len(rows) > 10
    for row in texts:
        assert all(re.fullmatch(row["pattern"], example) for example in row["examples"]), row
    for row in rows:
        assert all(example.keys() <= row["properties"].keys() for example in row["examples"]), row


def test_the_shipped_policy_names_its_schema_and_conforms_with_it(
    schema: jsonschema.Draft202012Validator,
) -> None:
    text = SHIPPED.read_text("utf-8")
    first = text.splitlines()[0]
    assert first == "# yaml-language-server: $schema=schema/policy.schema.json"
    assert (SHIPPED.parent / first.partition("=")[2]).resolve() == SCHEMA
    schema.validate(read_yaml(text).value)


@pytest.mark.parametrize("product", ["", BRIDGE])
def test_the_template_of_a_subject_conforms_with_its_schema(product: str) -> None:
    schema = jsonschema.Draft202012Validator(subject_schema())
    addresses = {"management-point": ("bridge.internet.example", "127.0.0.1:8443")}
    text = template("subject.yaml", Path("kit"), addresses, product)
    schema.validate(read_yaml(text).value)
    assert not schema.is_valid(read_yaml(text.replace("product:", "produce:")).value)
    assert text.splitlines()[0].endswith("kit/subject.schema.json")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("mode: bridge", "mode: terminate"),
        ("    mode: bridge\n", ""),
        ("unlisted_headers: drop", "unlisted_header: drop"),
        ("https://mp01", "http://mp01"),
        ("listen: 127.0.0.1:8443", "listen: 127.0.0.1"),
        ("version: 1", "version: 2"),
    ],
)
def test_an_editor_marks_a_policy_that_the_bridge_refuses(
    schema: jsonschema.Draft202012Validator, old: str, new: str
) -> None:
    text = SHIPPED.read_text("utf-8")
    assert old in text
    assert not schema.is_valid(read_yaml(text.replace(old, new, 1)).value)
