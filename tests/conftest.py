"""What many tests need: the shipped role table, a publication, a client that was authenticated.

All of it is immutable and made once: RSA keys are slow to make, and hypothesis wants fixtures that
outlive an example.
"""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import settings

from ibcm_bridge.authentication.certificate import certificate_facts
from ibcm_bridge.authentication.client import (
    AuthenticatedClient,
    admit_anonymous,
    authenticate,
    may_be_anonymous,
)
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.identity.approval import Approved, approve
from ibcm_bridge.inspection.verdict import Inspected
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.policy.message_policy import MessagePolicy
from ibcm_bridge.policy.publications import (
    BridgePublication,
    HttpPublication,
    PlaintextPublication,
    PublishedRole,
    UnlistedHeaders,
)
from ibcm_bridge.policy.roles import Mode, RoleProfile, RoleTable
from ibcm_bridge.policy.site_systems import SiteSystem, SiteSystems
from ibcm_bridge.policy.trust import Credential, Trust
from ibcm_bridge.policy_file import shipped_roles
from ibcm_bridge.request.authorization import Authorized, authorize
from ibcm_bridge.request.head import RequestHead, read_request_head

from .messages.both_parsers import compared
from .needs import LEFT_OUT, demand, must_have_all
from .policy_samples import Problems, problems_of
from .postgresql_server import admin, postgresql, state  # noqa: F401 - fixtures

# No deadline: the first call of a test pays for imports, and the machine may be busy.
settings.register_profile("tests", deadline=None, max_examples=150)
settings.register_profile("quick", deadline=None, max_examples=10)
settings.load_profile("tests")

NAME = "bridge.internet.example"


class LeftOut(NamedTuple):
    """A test that was left out, and for want of what."""

    module: str
    test: str
    wanted: str


_every_test: dict[str, set[str]] = {}
_left_out: list[LeftOut] = []


def pytest_collection_finish(session: pytest.Session) -> None:
    for item in session.items:
        module, _, test = item.nodeid.partition("::")
        _every_test.setdefault(module, set()).add(test)
    # Modules and tests stay to the end: each collection of garbage need not go through them again.
    gc.collect()
    gc.freeze()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--minutes", type=float, help="run tests/soak for so long; without it, they are left out"
    )
    parser.addoption(
        "--containers", action="store_true", help="run tests/containers, which are left out without"
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    left_out = {"soak": config.getoption("minutes") is None}
    left_out["containers"] = not config.getoption("containers")
    is_folder_of_tests = collection_path.parent == Path(__file__).parent
    return True if is_folder_of_tests and left_out.get(collection_path.name) else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        demand(*marker.args)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and isinstance(report.longrepr, tuple):
        _, found, wanted = report.longrepr[2].partition(LEFT_OUT)
        if found:
            module, _, test = report.nodeid.partition("::")
            _left_out.append(LeftOut(module, test, wanted))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Say which tests were left out: the last line, below pytest's own."""
    yield
    if _left_out:
        fails = must_have_all()
        if fails and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        told = told_left_out(_left_out, _every_test)
        verdict = "; with CI set, that is a failure" if fails else ""
        writer = session.config.get_terminal_writer()
        writer.line(f"{told}{verdict}.", red=fails, yellow=not fails)


def told_left_out(left_out: Sequence[LeftOut], every: Mapping[str, Collection[str]]) -> str:
    """Which tests were left out, by name: whole modules by theirs."""
    names: dict[str, list[str]] = {}
    for module in dict.fromkeys(entry.module for entry in left_out):
        here = [entry for entry in left_out if entry.module == module]
        whole = {entry.test for entry in here} == set(every[module])
        for entry in here:
            name = module if whole else f"{module}::{entry.test.partition('[')[0]}"
            names.setdefault(entry.wanted, []).append(name)
    each = [f"{', '.join(dict.fromkeys(of))} (for want of {why})" for why, of in names.items()]
    return f"{len(left_out)} left out: {'; '.join(each)}"


@pytest.fixture(scope="module", autouse=True)
def no_scanner_is_left_to_another_thread() -> Iterator[None]:
    """YARA-X's scanners must be dropped by the thread that made them.

    One that is part of a cycle, such as a traceback, would be dropped by whichever thread the
    collector runs in next: a stand-in's, in a later module.
    """
    yield
    gc.collect()


@pytest.fixture(scope="module", autouse=True)
def both_parsers_find_the_same_in_every_document() -> Iterator[None]:
    with compared():
        yield


@pytest.fixture(scope="session")
def pki() -> LabPki:
    return LabPki.make(now=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture(scope="session")
def pki_files(tmp_path_factory: pytest.TempPathFactory, pki: LabPki) -> Path:
    """The folder that `pki` writes, to copy: writing it makes keys."""
    directory = tmp_path_factory.mktemp("pki") / "pki"
    pki.write(directory)
    return directory


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory, pki_files: Path) -> Path:
    """A folder for policy files, with the certificates that the shipped one names."""
    directory = tmp_path_factory.mktemp("policy")
    shutil.copytree(pki_files, directory / "pki")
    return directory


@pytest.fixture
def problems(directory: Path) -> Problems:
    """What is wrong with a policy file of this text."""
    return lambda text: problems_of(directory / "bridge.yaml", text)


@pytest.fixture
def poisoned(tmp_path: Path) -> Path:
    """A folder with modules named like ours, a library's and the standard library's.

    Each that is imported leaves a file `imported-NAME` beside it, and imports nothing.
    """
    folder = tmp_path / "poisoned"
    for name in ("ibcm_bridge", "json", "yaml"):
        (folder / name).mkdir(parents=True)
        left = folder / f"imported-{name}"
        (folder / name / "__init__.py").write_text(f"open({str(left)!r}, 'w').close()\n", "utf-8")
    return folder


@pytest.fixture(scope="session")
def table() -> RoleTable:
    return shipped_roles()


@pytest.fixture(scope="session")
def publication(table: RoleTable) -> BridgePublication:
    """The management point and the distribution point under one name, as bridge.yaml has it."""
    return _publication(table, UnlistedHeaders.DROP)


@pytest.fixture(scope="session")
def strict_publication(table: RoleTable) -> BridgePublication:
    """The same, refusing header fields that are not listed."""
    return _publication(table, UnlistedHeaders.REFUSE)


@pytest.fixture(scope="session")
def client(pki: LabPki, publication: BridgePublication) -> AuthenticatedClient:
    facts = certificate_facts(pki.computer("pc1.corp.example").certificate)
    authenticated = authenticate(publication, facts)
    assert isinstance(authenticated, AuthenticatedClient)
    return authenticated


@pytest.fixture(scope="session")
def decide(
    client: AuthenticatedClient, publication: BridgePublication, table: RoleTable
) -> Callable[[RequestHead], Authorized | Deny]:
    """authorize, for `client` at `publication`."""
    return lambda head: authorize(client, publication, table.never, head)


@pytest.fixture(scope="session")
def speak(client: AuthenticatedClient) -> Callable[[Inspected], Approved | Deny]:
    """approve, for `client`, as a policy has it that says nothing of messages."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return lambda inspected: approve(inspected, client, lambda _guid: None, MessagePolicy(), now)


@pytest.fixture(scope="session")
def decide_strictly(
    client: AuthenticatedClient, strict_publication: BridgePublication, table: RoleTable
) -> Callable[[RequestHead], Authorized | Deny]:
    """authorize, for `client` at `strict_publication`."""
    return lambda head: authorize(client, strict_publication, table.never, head)


@pytest.fixture(scope="session")
def decide_as(
    pki: LabPki, table: RoleTable
) -> Callable[[RoleProfile], Callable[[RequestHead], Authorized | Deny]]:
    """authorize, at a publication of one role, for a client that it lets in."""
    computer = certificate_facts(pki.computer("pc2.corp.example").certificate)

    def decide_for(profile: RoleProfile) -> Callable[[RequestHead], Authorized | Deny]:
        publication: HttpPublication = _bridge([profile])
        if Mode.BRIDGE not in table.modes[profile.name]:
            publication = PlaintextPublication(
                name=NAME,
                public_port=80,
                directories=_directories([profile]),
                unlisted_headers=UnlistedHeaders.DROP,
                request_head=65_536,
                because="the tests",
            )
        client = (
            admit_anonymous(publication)
            if isinstance(publication, PlaintextPublication) or may_be_anonymous(publication)
            else authenticate(publication, computer)
        )
        assert not isinstance(client, Deny)
        return lambda head: authorize(client, publication, table.never, head)

    return decide_for


@pytest.fixture(scope="session")
def decide_role(
    table: RoleTable, decide_as: Callable[[RoleProfile], Callable[[RequestHead], Authorized | Deny]]
) -> Callable[[str], Callable[[RequestHead], Authorized | Deny]]:
    """authorize, at a publication of the role with this name, as it is without opting in."""
    return lambda name: decide_as(table.roles[name].without_windows_authentication())


@pytest.fixture(scope="session")
def request_head() -> Callable[..., RequestHead]:
    """A well-formed head with a right Host: method, target and more lines."""

    def make(method: str, target: str, *lines: str, host: str | None = NAME) -> RequestHead:
        host_lines = () if host is None else (f"Host: {host}",)
        text = "\r\n".join((f"{method} {target} HTTP/1.1", *host_lines, *lines)) + "\r\n\r\n"
        head = read_request_head(text.encode("latin-1"))
        assert isinstance(head, RequestHead), head
        return head

    return make


SITE_SYSTEMS = {
    "management-point": ("mp01.corp.example", "192.0.2.1"),
    "distribution-point": ("dp01.corp.example", "192.0.2.2"),
    "software-update-point": ("sup01.corp.example", "192.0.2.3"),
    "fallback-status-point": ("fsp01.corp.example", "192.0.2.4"),
    "application-catalog-website-point": ("app01.corp.example", "192.0.2.5"),
    "policy-module": ("ndes01.corp.example", "192.0.2.6"),
}


def _publication(table: RoleTable, unlisted_headers: UnlistedHeaders) -> BridgePublication:
    names = ("management-point", "distribution-point")
    profiles = [table.roles[name].without_windows_authentication() for name in names]
    return _bridge(profiles, unlisted_headers)


def _bridge(
    profiles: Sequence[RoleProfile], unlisted_headers: UnlistedHeaders = UnlistedHeaders.DROP
) -> BridgePublication:
    return BridgePublication(
        name=NAME,
        public_port=443,
        credential=Credential(b"", b""),
        client_trust=Trust((), (), ()),
        certificate_policy=profiles[0].certificates[0],
        directories=_directories(profiles),
        site_system_credential=Credential(b"", b""),
        site_system_trust=Trust((), (), ()),
        unlisted_headers=unlisted_headers,
        request_head=65_536,
    )


def _directories(profiles: Sequence[RoleProfile]) -> dict[str, PublishedRole]:
    published = {}
    for profile in profiles:
        name, host = SITE_SYSTEMS[profile.name]
        role = PublishedRole(profile, SiteSystems((SiteSystem((host, 443), name, name),)))
        published |= dict.fromkeys(profile.directories, role)
    return published
