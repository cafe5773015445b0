"""What the design promises about the code itself, read from its source."""

from __future__ import annotations

import ast
import itertools
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.decisions.refusals import REFUSALS
from ibcm_bridge.policy.roles import RoleTable
from tests.repository.project_files import project_files

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path for folder in ("ibcm_bridge", "addons", "config") for path in (ROOT / folder).rglob("*.py")
)

REQUIREMENTS = frozenset(
    re.findall(
        r"^\| ([A-Z][A-Z0-9.-]+) \|",
        (ROOT / "docs/requirements.md").read_text("utf-8"),
        re.MULTILINE,
    )
)
"""The ids of docs/requirements.md."""


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_the_checked_files_exist() -> None:
    names = {name_of(path) for path in SOURCES}
    assert {
        "ibcm_bridge/site_system_leg/gate.py",
        "ibcm_bridge/messages/ccm.py",
        "addons/layers/exchange.py",
    } <= names


# One maker each


def makes(module: ast.Module, kind: str) -> bool:
    """Whether the module calls `kind`, by whatever path it reaches it."""
    for node in ast.walk(module):
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Name) and function.id == kind:
                return True
            if isinstance(function, ast.Attribute) and function.attr == kind:
                return True
    return False


def renames(module: ast.Module, kind: str) -> bool:
    """Whether the module gives `kind` another name, under which a call would not be seen."""
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom | ast.Import):
            if any(
                a.name.split(".")[-1] == kind and a.asname not in (None, kind) for a in node.names
            ):
                return True
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            value = node.value
            if isinstance(value, ast.Name) and value.id == kind:
                return True
    return False


@pytest.mark.parametrize(
    ("kind", "maker"),
    [
        ("Authorized", "ibcm_bridge/request/authorization.py"),
        ("Inspected", "ibcm_bridge/inspection/verdict.py"),
        ("Claim", "ibcm_bridge/identity/claims.py"),
        ("Approved", "ibcm_bridge/identity/approval.py"),
        ("AuthenticatedClient", "ibcm_bridge/authentication/client.py"),
        ("UploadPart", "ibcm_bridge/storage/upload_table.py"),
        ("InspectedReply", "ibcm_bridge/inspection/response.py"),
    ],
)
def test_a_value_that_proves_a_check_has_one_maker(kind: str, maker: str) -> None:
    assert [name_of(path) for path in SOURCES if makes(tree(path), kind)] == [maker]
    assert [name_of(path) for path in SOURCES if renames(tree(path), kind)] == []


def test_a_second_maker_is_found() -> None:
    assert makes(ast.parse("x = decisions.Approved(a, b, c)"), "Approved")
    assert makes(ast.parse("def f():\n  return Approved(a, b, c)"), "Approved")
    assert renames(ast.parse("from ibcm_bridge.identity.approval import Approved as A"), "Approved")
    assert renames(ast.parse("A = Approved"), "Approved")
    assert not makes(ast.parse("isinstance(x, Approved)"), "Approved")
    assert not renames(ast.parse("Decision = Authorized | Approved | Deny"), "Approved")


SIMULATED = ("ibcm_bridge/commands/capacity/", "ibcm_bridge/conformance/", "ibcm_bridge/lab/")


def test_no_decision_is_copied_with_changes() -> None:
    # dataclasses.replace would make a second Approved without calling it. A head with fewer fields
    # is copied so, a role and a table of messages as a policy publishes them, and a revocation list
    # with the revocations of another one. Simulated clients and computed sites decide nothing, and
    # neither does `init`, which writes a policy.
    users = [
        name_of(path)
        for path in SOURCES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ImportFrom)
        and node.module in ("dataclasses", "copy")
        and any(alias.name == "replace" for alias in node.names)
        and not name_of(path).startswith(SIMULATED)
    ]
    assert users == [
        "ibcm_bridge/authentication/revocation_list.py",
        "ibcm_bridge/commands/init/plan.py",
        "ibcm_bridge/policy/endpoints.py",
        "ibcm_bridge/policy/roles.py",
        "ibcm_bridge/request/head.py",
    ]


# Every refusal cites a requirement


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_row_that_cites_a_requirement(reason: Reason) -> None:
    assert REFUSALS[reason].requirement in REQUIREMENTS


def test_the_table_of_refusals_has_no_other_rows() -> None:
    assert set(REFUSALS) == set(Reason)


def test_the_role_table_cites_requirements(table: RoleTable) -> None:
    for role in table.roles.values():
        assert {role.verbs_requirement, role.headers_requirement} <= REQUIREMENTS


def test_a_requirement_of_a_denial_exists() -> None:
    # Deny(reason, rule, detail, requirement): the fourth, where it is written out.
    cited = {
        argument.value
        for path in SOURCES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Deny"
        for argument in (
            *node.args[3:4],
            *(k.value for k in node.keywords if k.arg == "requirement"),
        )
        if isinstance(argument, ast.Constant)
    }
    assert "HTTP-1.1" in cited
    assert cited <= REQUIREMENTS


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_used(reason: Reason) -> None:
    uses = re.compile(rf"\bReason\.{reason.name}\b")
    users = [
        name_of(path)
        for path in SOURCES
        if path.name != "refusals.py" and uses.search(path.read_text("utf-8"))
    ]
    assert users, f"nothing refuses with {reason.name}"


# Decisions know no input and output

ACTING = frozenset(
    (
        "ibcm_bridge/__main__.py",
        "ibcm_bridge/storage/audit_files.py",
        "ibcm_bridge/storage/cgroups.py",
        "ibcm_bridge/storage/file_lock.py",
        "ibcm_bridge/storage/open_files.py",
        "ibcm_bridge/storage/postgresql.py",
        "ibcm_bridge/storage/postgresql_check.py",
        "ibcm_bridge/storage/postgresql_import.py",
        "ibcm_bridge/storage/postgresql_stores.py",
        "ibcm_bridge/storage/temporary_folder.py",
    )
)
ACTING_FOLDERS = ("ibcm_bridge/commands/", "ibcm_bridge/conformance/", "ibcm_bridge/lab/")
FORBIDDEN = frozenset(("mitmproxy", "ssl", "socket", "asyncio", "time", "OpenSSL"))


def imported(module: ast.Module) -> Iterator[str]:
    """The first part of every imported module's name, wherever the import stands."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


DECIDING = [
    path
    for path in SOURCES
    if name_of(path).startswith("ibcm_bridge/")
    and not name_of(path).startswith(ACTING_FOLDERS)
    and name_of(path) not in ACTING
]


@pytest.mark.parametrize("path", DECIDING, ids=name_of)
def test_decision_code_imports_no_acting_module(path: Path) -> None:
    module = tree(path)
    assert not FORBIDDEN & set(imported(module))
    from_ours = {
        node.module for node in ast.walk(module) if isinstance(node, ast.ImportFrom) and node.module
    }
    assert not any(name.startswith("ibcm_bridge.addons") for name in from_ours)
    assert not any(
        name.startswith(("ibcm_bridge.lab", "ibcm_bridge.commands")) for name in from_ours
    )
    assert not {f"{name.replace('.', '/')}.py" for name in from_ours} & ACTING


def test_only_the_policy_file_reads_files() -> None:
    readers = {
        name_of(path)
        for path in DECIDING
        for node in ast.walk(tree(path))
        if (isinstance(node, ast.Attribute) and node.attr in ("read_bytes", "read_text", "open"))
        or (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "open")
    }
    assert readers == {
        "ibcm_bridge/policy_file/__init__.py",
        "ibcm_bridge/policy_file/crl_files.py",
        "ibcm_bridge/policy_file/reading.py",
    }


def test_acting_code_does_not_use_the_lab() -> None:
    users = [
        name_of(path)
        for path in SOURCES
        if name_of(path).startswith("addons/")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith(("ibcm_bridge.conformance", "ibcm_bridge.lab"))
    ]
    assert users == []


# What is started


def unsafe_starts(module: ast.Module) -> int:
    """How often `sys.executable` stands anywhere but before "-P", in a list or tuple."""
    used = [
        node
        for node in ast.walk(module)
        if isinstance(node, ast.Attribute) and node.attr == "executable"
    ]
    safe = 0
    for node in ast.walk(module):
        if isinstance(node, ast.List | ast.Tuple):
            for word, after in itertools.pairwise(node.elts):
                safe += word in used and isinstance(after, ast.Constant) and after.value == "-P"
    return len(used) - safe


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_child_process_imports_nothing_from_the_current_folder(path: Path) -> None:
    # https://docs.python.org/3/using/cmdline.html#cmdoption-P: `-m` alone looks there first.
    assert unsafe_starts(tree(path)) == 0


@pytest.mark.parametrize(
    "text", ["[sys.executable, '-m', 'x']", "(python := sys.executable)", "['-P', sys.executable]"]
)
def test_a_child_process_that_imports_from_the_current_folder_is_found(text: str) -> None:
    assert unsafe_starts(ast.parse(text)) == 1
    assert unsafe_starts(ast.parse("[*place, sys.executable, '-P', '-m', 'x']")) == 0


# What is shipped


def test_every_package_folder_is_in_the_packages_of_pyproject() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    folders = {path.parent.relative_to(ROOT) for path in SOURCES}
    names = set()
    for folder in folders:
        dotted = ".".join(folder.parts)
        names.add(dotted if folder.parts[0] == "ibcm_bridge" else f"ibcm_bridge.{dotted}")
    assert set(settings["packages"]) == names
    assert all((ROOT / folder / "__init__.py").exists() for folder in folders)
    assert settings["package-dir"] == {
        "ibcm_bridge.addons": "addons",
        "ibcm_bridge.config": "config",
    }


def test_every_data_file_of_a_package_is_shipped() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    data = settings["package-data"]
    for name in project_files():
        folder, _, file = name.rpartition("/")
        if folder.split("/")[0] not in ("ibcm_bridge", "addons", "config") or file.endswith(".py"):
            continue
        package = folder.replace("/", ".")
        package = package if package.startswith("ibcm_bridge") else f"ibcm_bridge.{package}"
        assert any(Path(file).match(pattern) for pattern in data.get(package, [])), name


# What stands in the repository


def test_no_file_contains_the_complete_eicar_test_file() -> None:
    # A virus scanner would remove the file from every checkout.
    whole = "".join(
        ("X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-", "ANTIVIRUS-TEST-FILE!$H+H*")
    )
    for text in (whole, whole.replace("\\", "\\\\")):
        for spelling in (text.encode(), text.encode("utf-16-le")):
            assert [n for n in project_files() if spelling in (ROOT / n).read_bytes()] == []


def test_no_file_names_a_path_of_a_developers_machine() -> None:
    places = b"|".join((b"home", b"Users", b"root", b"work", b"tmp"))
    unix = re.compile(rb"(?<![\w.*$}{~>)\]/-])/(?:" + places + rb")/[\w.]+")
    windows = re.compile(rb"[A-Za-z]:\\+Users\\+\w", re.IGNORECASE)
    found = []
    for name in project_files():
        content = (ROOT / name).read_bytes()
        found += [
            (name, match[0]) for match in (*unix.finditer(content), *windows.finditer(content))
        ]
    assert found == []
