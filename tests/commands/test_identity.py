"""`ibcm-bridge identity`: output, changes and exit statuses."""

from __future__ import annotations

import datetime
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ibcm_bridge.commands import identity as command
from ibcm_bridge.commands.main import main
from ibcm_bridge.identity.bindings import Binding, Source
from ibcm_bridge.lab.pki.files import shipped_policy
from ibcm_bridge.storage.binding_registry import Registry
from tests.little_room import ON_UNIX, largest_file

NOW = datetime.datetime(2026, 1, 31, 12, 30, 15, 5, tzinfo=datetime.UTC)
GUID = "GUID:11111111-2222-3333-4444-5555555555AA"
OTHER = "GUID:22222222-2222-3333-4444-555555555555"
LEARNED = Binding(
    GUID, Source.REGISTRATION, NOW, "a" * 64, "b" * 64, "pc1.corp.example", b"\x30\x00"
)
IMPORTED = Binding(OTHER, Source.IMPORT, NOW, name="pc2")


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str


@pytest.fixture
def path(directory: Path, tmp_path: Path) -> Path:
    return tmp_path / "bindings.sqlite"


@pytest.fixture
def filled(path: Path) -> Path:
    with Registry(path) as registry:
        registry.import_all([LEARNED, IMPORTED])
    return path


Identity = Callable[..., Done]


@pytest.fixture
def identity(directory: Path, path: Path, capsys: pytest.CaptureFixture[str]) -> Identity:
    """Runs an action with a policy that has these keys under `messages`."""

    def run(action: str, *arguments: str, messages: str | None = None) -> Done:
        lines = f"bindings: {path}" if messages is None else messages
        policy = directory / "bridge.yaml"
        policy.write_text(f"{shipped_policy()}\nmessages: {{{lines}}}\n", "utf-8")
        status = main(["identity", action, "--config", str(policy), *arguments])
        return Done(status, *capsys.readouterr())

    return run


def stored(path: Path) -> list[Binding]:
    with Registry(path) as registry:
        return [*registry.all()]


# init


@pytest.mark.parametrize(
    ("keys", "meaning"),
    [
        ("identity: enforce", "will be bound to the first client for which a management point"),
        ("identity: enforce, unknown_guids: refuse", "are refused (unknown_guids: refuse) until"),
        ("identity: observe", "Bindings are report-only"),
    ],
)
def test_init_creates_the_file_once(
    identity: Identity, path: Path, keys: str, meaning: str
) -> None:
    path.touch()  # an empty file is none
    done = identity("init", messages=f"bindings: {path}, {keys}")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith(f"{path} was created, without bindings.\n")
    assert meaning in done.out
    assert stored(path) == []
    again = identity("init", messages=f"bindings: {path}, {keys}")
    assert (again.status, again.out) == (1, "")
    assert f"{path} already exists, with 0 bindings; nothing was changed" in again.err


def test_init_keeps_bindings(identity: Identity, filled: Path) -> None:
    done = identity("init")
    assert "already exists, with 2 bindings; nothing was changed" in done.err
    assert stored(filled) == [LEARNED, IMPORTED]


# list and show


def test_a_list_is_a_table(identity: Identity, filled: Path) -> None:
    assert identity("list") == Done(
        0,
        "CLIENT GUID                                NAME              SOURCE        "
        "SINCE                    KEY\n"
        f"{GUID}  pc1.corp.example  registration  2026-01-31 12:30:15 UTC  {'a' * 16}\n"
        f"{OTHER}  pc2               import        2026-01-31 12:30:15 UTC  -\n",
        "",
    )


def test_a_json_list_has_every_field(identity: Identity, filled: Path) -> None:
    done = identity("list", "--json")
    first, second = map(json.loads, done.out.splitlines())
    assert first == {
        "client_guid": GUID,
        "name": "pc1.corp.example",
        "source": "registration",
        "since": "2026-01-31T12:30:15.000005+00:00",
        "key_sha256": "a" * 64,
        "certificate_sha256": "b" * 64,
        "signing_key": "MAA=",
    }
    assert (second["client_guid"], second["key_sha256"]) == (OTHER, "")


@pytest.mark.parametrize("spelling", [GUID, GUID.removeprefix("GUID:").lower()])
def test_show_has_every_field(identity: Identity, filled: Path, spelling: str) -> None:
    done = identity("show", spelling)
    assert done.status == 0
    assert done.out.splitlines() == [
        f"client GUID          {GUID}",
        "name                 pc1.corp.example",
        f"certificate SHA-256  {'b' * 64}",
        f"key SHA-256          {'a' * 64}",
        "signing key          MAA=",
        "source               registration: a management point accepted its registration",
        "since                2026-01-31 12:30:15 UTC",
    ]


def test_show_marks_unknown_fields(identity: Identity, filled: Path) -> None:
    out = identity("show", OTHER).out
    assert (
        "key SHA-256          not bound yet; will bind to the first client that matches the name "
        "or certificate above\n" in out
    )
    assert "certificate SHA-256  unknown\n" in out


@pytest.mark.parametrize("action", ["show", "forget"])
def test_a_guid_without_a_binding_is_not_found(
    identity: Identity, filled: Path, action: str
) -> None:
    unknown = GUID.replace("1111", "9999")
    done = identity(action, unknown)
    assert done == Done(1, "", f"ibcm-bridge identity: {unknown} has no binding\n")
    assert stored(filled) == [LEARNED, IMPORTED]


@pytest.mark.parametrize(
    "arguments", [["show", "pc1"], ["forget", f"{GUID}0"], ["forget"], ["import"], ["bind", GUID]]
)
def test_a_usage_error_exits_with_2(identity: Identity, filled: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        identity(*arguments)
    assert exit_.value.code == 2
    assert stored(filled) == [LEARNED, IMPORTED]


# forget


@pytest.mark.parametrize(
    ("messages", "next_"),
    [
        ("identity: enforce", "the first client for which a management point accepts it.\n"),
        (
            "identity: enforce, unknown_guids: refuse",
            "Requests with this GUID are refused (unknown_guids: refuse) until it is imported.\n",
        ),
        ("identity: observe", "accepts it. Bindings are report-only (identity: observe).\n"),
        ("unknown_guids: refuse", "accepts it. Bindings are report-only (identity: observe).\n"),
    ],
)
def test_forget_explains_what_happens_next(
    identity: Identity, filled: Path, messages: str, next_: str
) -> None:
    done = identity("forget", GUID, messages=f"bindings: {filled}, {messages}")
    assert done.status == 0
    assert done.out.startswith("Binding removed.\n")
    assert done.out.endswith(next_)
    assert stored(filled) == [IMPORTED]


# import


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        path = tmp_path / "devices.csv"
        path.write_text(text, "utf-8")
        return str(path)

    return write


File = Callable[[str], str]


def test_an_import_prints_counts(identity: Identity, path: Path, file: File) -> None:
    done = identity("import", file(f"SMSID,Name,Domain\n{OTHER},PC2,CORP\n,printer,CORP\n"))
    assert done == Done(0, "ignored columns: 'Domain'\n1 imported, 0 kept, 1 skipped\n", "")
    (binding,) = stored(path)
    assert replace(binding, since=NOW) == IMPORTED
    assert datetime.datetime.now(datetime.UTC) - binding.since < datetime.timedelta(minutes=1)


def test_an_import_keeps_and_reports_other_bindings(
    identity: Identity, filled: Path, file: File
) -> None:
    devices = file(f"SMSID,Name\n{GUID},pc9\n{OTHER},pc2\n")
    done = identity("import", devices)
    assert done == Done(
        0,
        f"kept: {GUID} is bound to pc1.corp.example, the file has pc9\n"
        "0 imported, 1 unchanged, 1 kept, 0 skipped\n"
        "Use --replace to replace the kept bindings.\n",
        "",
    )
    assert stored(filled) == [LEARNED, IMPORTED]
    done = identity("import", devices, "--replace")
    assert done.out == "0 imported, 1 replaced, 1 unchanged, 0 kept, 0 skipped\n"
    assert [(binding.name, binding.key) for binding in stored(filled)] == [("pc9", ""), ("pc2", "")]


def test_an_import_lists_at_most_20_kept_bindings(
    identity: Identity, path: Path, file: File
) -> None:
    guids = [f"GUID:{number:08X}-0000-0000-0000-000000000000" for number in range(25)]
    lines = [f"{guid},,{'1' * 64},{'c' * 64}" for guid in guids]
    identity("import", file("\n".join(["guid,name,sha256,key", *lines])))
    lines = [f"{guid},,{'2' * 64}," for guid in guids]
    done = identity("import", file("\n".join(["guid,name,sha256,key", *lines])))
    lines_printed = done.out.splitlines()
    assert lines_printed[0] == (
        f"kept: {guids[0]} is bound to certificate {'1' * 16}, the file has certificate {'2' * 16}"
    )
    assert lines_printed[20:22] == ["kept: 5 more", "0 imported, 25 kept, 0 skipped"]


def test_with_a_problem_nothing_is_imported(identity: Identity, path: Path, file: File) -> None:
    devices = file(f"SMSID,Name\n{GUID},pc1\n1,pc2\n{OTHER},\n")
    assert identity("import", devices) == Done(
        1,
        "",
        f"{devices}: line 3: SMSID: '1' is not a client GUID\n"
        f"{devices}: line 4: no name, certificate or key to bind the client GUID to\n"
        "ibcm-bridge identity: 2 problems; nothing was imported\n",
    )
    assert not path.exists()


def test_a_missing_file_is_reported(identity: Identity, path: Path, tmp_path: Path) -> None:
    done = identity("import", str(tmp_path / "none.csv"))
    assert (done.status, done.out) == (2, "")
    assert done.err.endswith("none.csv cannot be read: No such file or directory\n")
    assert not path.exists()


# export


def test_an_export_can_be_imported(
    identity: Identity, filled: Path, directory: Path, file: File
) -> None:
    done = identity("export")
    assert (done.status, done.err) == (0, "")
    other = filled.parent / "other.sqlite"
    again = identity("import", file(done.out), messages=f"bindings: {other}")
    assert again.out == "2 imported, 0 kept, 0 skipped\n"
    assert stored(other) == [LEARNED, IMPORTED]


def test_an_export_replaces_an_earlier_one(identity: Identity, filled: Path) -> None:
    output = filled.parent / "out.csv"
    output.write_text("earlier")
    assert identity("export", "--output", str(output)) == Done(0, "", "")
    assert len(output.read_text().splitlines()) == 3
    if sys.platform != "win32":
        assert stat.S_IMODE(output.stat().st_mode) == 0o600
    assert not (filled.parent / "out.csv.part").exists()


def test_an_export_that_fails_keeps_the_earlier_one(identity: Identity, filled: Path) -> None:
    output = filled.parent / "out.csv"
    output.write_text("earlier")
    with Registry(filled) as registry:
        registry._database.one("UPDATE bindings SET source = 'rumour' WHERE name = 'pc2'")
    done = identity("export", "--output", str(output))
    assert (done.status, done.out) == (1, "")
    assert f"{filled} is damaged: 'rumour' is not a valid source" in done.err
    assert output.read_text() == "earlier"
    assert not (filled.parent / "out.csv.part").exists()
    done = identity("export", "--output", str(filled.parent / "no" / "out.csv"))
    assert (done.status, "cannot be written: No such file" in done.err) == (1, True)


@ON_UNIX
def test_an_export_that_does_not_fit_keeps_the_earlier_one(
    identity: Identity, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = filled.parent / "out.csv"
    output.write_text("earlier")
    whole = command._write

    def with_a_file_size_limit(path: Path, lines: Iterator[bytes]) -> None:
        # The files of the bindings are already open here.
        written = [*lines]
        with largest_file(60):
            whole(path, iter(written))

    monkeypatch.setattr(command, "_write", with_a_file_size_limit)
    done = identity("export", "--output", str(output))
    assert (done.status, done.out) == (1, "")
    assert f"{output} cannot be written: the file would exceed the size limit; " in done.err
    assert done.err.endswith("or name another FILE\n")
    assert output.read_text() == "earlier"
    assert not (filled.parent / "out.csv.part").exists()


@ON_UNIX
def test_an_export_does_not_replace_a_device_or_a_link(identity: Identity, filled: Path) -> None:
    link, target = filled.parent / "link", filled.parent / "target"
    link.symlink_to(target)
    target.write_text("earlier")
    assert identity("export", "--output", str(link)) == Done(0, "", "")
    assert link.is_symlink()
    assert len(target.read_text().splitlines()) == 3
    link.unlink()
    link.symlink_to("/dev/full")
    done = identity("export", "--output", str(link))
    assert "the disk is full; free some space, or name another FILE" in done.err
    pipe = filled.parent / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        assert identity("export", "--output", str(pipe)) == Done(0, "", "")
        read, _ = reader.communicate(timeout=10)
    assert len(read.splitlines()) == 3
    assert pipe.is_fifo()


# The policy and its bindings file


@pytest.mark.parametrize("arguments", [["list"], ["show", GUID], ["forget", GUID], ["export"]])
def test_reading_creates_no_file(identity: Identity, path: Path, arguments: list[str]) -> None:
    done = identity(*arguments)
    assert (done.status, done.out) == (1, "")
    assert f"{path} does not exist yet; identity init or an import creates" in done.err
    assert not path.exists()


@pytest.mark.parametrize("arguments", [["list"], ["forget", GUID], ["import", "devices.csv"]])
def test_without_a_bindings_file_it_shows_what_to_add(
    identity: Identity, arguments: list[str]
) -> None:
    done = identity(*arguments, messages="")
    assert done == Done(
        1,
        "",
        "ibcm-bridge identity: the policy names no file for bindings; add one, for example:\n"
        "messages:\n"
        "  bindings: bindings.sqlite\n",
    )


def test_a_wrong_policy_is_a_problem(identity: Identity, filled: Path) -> None:
    done = identity("forget", GUID, messages=f"bindngs: {filled}")
    assert (done.status, done.out) == (1, "")
    assert "messages.bindngs: unknown key" in done.err
    assert stored(filled) == [LEARNED, IMPORTED]


def test_a_file_that_is_not_a_database_is_a_problem(identity: Identity, path: Path) -> None:
    path.write_text("no database\n" * 100)
    done = identity("list")
    assert done == Done(1, "", f"ibcm-bridge identity: {path} is not a database\n")
