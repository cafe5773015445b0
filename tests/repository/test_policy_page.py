"""Every example of docs/policy-file.md is one that loads, and the table of roles is true."""

import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ibcm_bridge.addons.tls.verification import verify_authority
from ibcm_bridge.commands.check.findings import Level
from ibcm_bridge.commands.check.policy import check_policy
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.policy_file import load_policy, shipped_roles
from ibcm_bridge.policy_file.rows.settings import MessagesRow, UploadsRow
from ibcm_bridge.policy_file.rows.values import Because

PAGE = (Path(__file__).parents[2] / "docs" / "policy-file.md").read_text("utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SHELL = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
BRIDGED = BLOCKS[0].partition("  roles:\n")[0] + "  roles:\n"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("page")
    pki = LabPki.make(now=datetime.now(UTC))
    pki.write(directory / "pki")
    for name in ("devices", "ndes"):
        pki.server(f"{name}.internet.example").write(directory, name)
    shutil.copy(directory / "pki" / "root.pem", directory / "db-ca.pem")
    (directory / "state.pass").touch(0o600)
    return directory


def indented(text: str, spaces: int) -> str:
    return "".join(f"{' ' * spaces}{line}\n" for line in text.splitlines())


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0])
def test_an_example_loads_and_its_certificates_fit(directory: Path, block: str) -> None:
    publication = block if block.startswith("- name:") else BRIDGED + indented(block, 4)
    beside = ""
    if block.startswith(("messages:", "uploads:", "engines:", "listeners:", "state:")):
        publication, beside = BLOCKS[0], block
    path = directory / "bridge.yaml"
    path.write_text(f"version: 1\n{beside}publications:\n{indented(publication, 2)}", "utf-8")
    policy = load_policy(path)
    assert policy.listeners
    found = check_policy(policy, datetime.now(UTC), verify_authority)
    assert [finding for finding in found if finding.level is Level.PROBLEM] == []


def test_there_are_examples_of_each_mode() -> None:
    assert {*re.findall(r"mode: (\w+)$", PAGE, re.MULTILINE)} >= {"bridge", "tunnel", "plaintext"}
    assert len(BLOCKS) == 15


def test_the_table_of_roles_is_that_of_the_role_table() -> None:
    table = shipped_roles()
    rows = re.findall(r"^\| `([a-z-]+)`(?: \(NDES\))? \| (.*?) \| (.*?) ?\| (.*?) ?\|$", PAGE, re.M)
    found = {row[0]: row[1:] for row in rows if row[0] in table.modes}
    assert set(found) == set(table.modes)
    for name, cells in found.items():
        modes, certificates, directories = (re.findall(r"`([^`]+)`", cell) for cell in cells)
        assert set(modes) == {*map(str, table.modes[name])}
        if name in table.roles:
            profile = table.roles[name]
            assert certificates == [*map(str, profile.certificates)]
            published = {
                directory.name
                for directory in profile.directories.values()
                if not all(resource.refused for resource in directory.resources)
            }
            assert {directory.lower() for directory in directories} == published


def test_every_kind_of_body_that_can_be_added_is_named() -> None:
    (row,) = re.findall(r"^\| `body` \| (.*) \|$", PAGE, re.MULTILINE)
    kinds = set(shipped_roles().bodies) - {"bits-upload"}
    assert {*re.findall(r"`([^`]+)`", row)} - {"roles.yaml"} == kinds


def test_every_key_of_messages_is_explained_with_its_default() -> None:
    for name, field in MessagesRow.model_fields.items():
        default = "none" if field.default is None else f"`{field.default}`"
        assert f"| `{name}` | {default} | " in PAGE, name


def test_every_key_of_uploads_is_explained_with_its_default() -> None:
    for name, field in UploadsRow.model_fields.items():
        default = "none" if field.default is None else f"`{field.default}`"
        assert f"| `{name}` | {default} | " in PAGE, name


def test_the_limits_of_a_reason_are_named() -> None:
    limits = Because.__metadata__[0]
    assert f"in {limits.min_length} to {limits.max_length} characters" in PAGE


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("legacy", [[], ["-legacy"]], ids=["aes", "as older Windows exports it"])
def test_a_pfx_file_is_read_as_it_is_and_as_openssl_converts_it(
    directory: Path, tmp_path: Path, legacy: list[str]
) -> None:
    (block,) = (block for block in SHELL if "pkcs12" in block)

    def openssl(*words: str) -> bytes:
        command = ["openssl", "pkcs12", *words, *legacy]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
        if b"unsupported" in done.stderr or b"nknown option" in done.stderr:
            pytest.skip("this openssl knows only one kind of encryption, or is older than 3.0")
        assert done.returncode == 0, done.stderr
        return done.stdout

    shutil.copytree(directory / "pki", tmp_path / "pki")
    pair = ("-inkey", "pki/bridge-server.key", "-in", "pki/bridge-server.pem")
    openssl(
        "-export", *pair, "-certfile", "pki/root.pem", "-passout", "pass:x", "-out", "bridge.pfx"
    )
    for line in block.splitlines():
        words, _, to = line.removeprefix("openssl pkcs12 ").partition(" >> ")
        written = openssl(*words.split(), "-passin", "pass:x")
        if to:
            (tmp_path / to).write_bytes((tmp_path / to).read_bytes() + written)
    (tmp_path / "pass").write_text("x\n")
    text = "version: 1\npublications:\n" + indented(BLOCKS[0], 2)
    old = "{chain: pki/bridge-server.pem, key: pki/bridge-server.key}"
    for new in (
        "{pfx: bridge.pfx, passphrase: {file: pass}}",
        "{chain: bridge.pem, key: bridge.key}",
    ):
        assert old in text
        (tmp_path / "bridge.yaml").write_text(text.replace(old, new), "utf-8")
        found = check_policy(
            load_policy(tmp_path / "bridge.yaml"), datetime.now(UTC), verify_authority
        )
        assert [finding for finding in found if finding.level is not Level.FACT] == []
