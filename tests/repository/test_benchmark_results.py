"""The results of benchmarks: the kept run and its page, the goals, the rates and the cost."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repository.benchmark_runs import ROOT, run_code


def test_the_page_shows_the_kept_run() -> None:
    code = """
from benchmarks.page import MEASURED, PAGE, written

page = PAGE.read_text("utf-8")
print(written(page, MEASURED.read_text("utf-8")) == page)
"""
    assert run_code(code) == "True\n", "run: python -m benchmarks.page benchmarks/measured.json"


def test_capacity_has_the_figures_of_the_kept_run() -> None:
    code = """
import json
import re
from benchmarks.capacity import SHIPPED, shipped
from benchmarks.page import MEASURED

document = json.loads(MEASURED.read_text("utf-8"))
print(shipped(document) == SHIPPED.read_text("utf-8"))


def refused():
    try:
        shipped(document)
    except ValueError as error:
        print(error)


for measure in document["measures"]:
    if "two workers" in measure["values"] and measure["name"].startswith("memory"):
        measure["values"]["two workers"] = [1.0]
refused()
document["measures"] = []
refused()
"""
    same, negative, missing = run_code(code).splitlines()
    assert same == "True", "run: python -m benchmarks.page benchmarks/measured.json"
    assert re.fullmatch("the run gives -[0-9]+ for worker_bytes", negative), negative
    assert missing.startswith("the run has no memory in use afterwards of CCM_POST")


def test_the_tables_fit_a_terminal() -> None:
    code = """
import json
from benchmarks import beside_report
from benchmarks.page import MEASURED

print(beside_report.text(json.loads(MEASURED.read_text("utf-8"))))
"""
    _, _, tables = run_code(code).partition("\n\n")
    assert max(map(len, tables.splitlines())) <= 80


ONE_RUN = """
from benchmarks import beside, goals, steady

def measure(load, name, **values):
    return {"load": load, "name": name, "values": values}

document = {"measures": [
    measure(beside.MESSAGE, beside.PER_REQUEST, bridge=[60.0, 61.0, 10.0], apache=[100.0] * 3),
    measure(beside.NEW, beside.PER_CONNECTION, bridge=[2.7], haproxy=[2.0], apache=[2.0]),
    measure(beside.RESUMED, beside.PER_CONNECTION, bridge=[2.7]),
    measure(beside.RETURNING, beside.PER_CONNECTION, bridge=[1.0]),
    measure(beside.DOWNLOAD, beside.PER_GIBIBYTE, bridge=[1.0], nginx=[1.4], envoy=[0.6]),
    measure(beside.TUNNEL, beside.PER_GIBIBYTE, bridge=[0.3]),
    measure(beside.WAITING, beside.PER_CLIENT, bridge=[101.0]),
    measure(beside.WAITING, beside.AFTER_WAVE, bridge=[1.0, 90.0, 90.5]),
    measure(beside.WORKERS, beside.PER_REQUEST, bridge=[60.0, 50.0],
        **{beside.TWO_WORKERS: [66.0, 60.0]}),
    measure(beside.WORKERS, beside.SHARES, **{beside.TWO_WORKERS: [0.4, 0.5]}),
    measure(steady.STEADY, steady.P99_MESSAGE, bridge=[80.0]),
    measure(steady.STEADY, steady.P99_CONNECTION, bridge=[249.0]),
    measure(steady.STEADY, steady.ERRORS, bridge=[0.0]),
]}
for work, goal, measured, verdict in goals.judged(document):
    print(goal, measured, verdict, sep=", ")
"""


def test_goals_are_judged() -> None:
    assert run_code(ONE_RUN).splitlines() == [
        "<= 0.6x apache, 0.60, reached",
        "<= 0.8x mitmdump, , not measured",
        "<= 1.3x haproxy, 1.35, not reached",
        "<= 0.85x apache, 1.35, not reached",
        "<= 1.2x haproxy, , not measured",
        "<= 0.7x new, 0.37, reached",
        ">= 1.3x nginx, 1.40, reached",
        ">= 0.7x envoy, 0.60, not reached",
        "<= 0.3 s, 0.30, reached",
        "<= 1.1x one, 1.15, not reached",
        ">= 0.5x other, 0.45, not reached",
        "<= 75 %, 29.1, reached",
        "<= 250 ms, 249, reached",
        "<= 100 KB, 101, not reached",
        "<= 1 MiB, 0.50, reached",
    ]


def test_a_latency_is_not_good_enough_with_an_error() -> None:
    code = ONE_RUN.replace("steady.ERRORS, bridge=[0.0]", "steady.ERRORS, bridge=[1.0]")
    assert "<= 250 ms, inf, not reached" in run_code(code).splitlines()


def test_a_run_without_a_load_has_no_value_for_its_goals() -> None:
    code = ONE_RUN.replace("    measure(", "    None and measure(")
    code = code.replace("for work,", "document['measures'] = []\nfor work,")
    lines = run_code(code).splitlines()
    assert len(lines) == 15
    assert all(line.endswith(", , not measured") for line in lines)


def test_the_share_of_a_worker() -> None:
    code = """
from benchmarks.beside import _smaller_share
from benchmarks.load import Done
from benchmarks.proxies import LoadResult

for by_child in ((3.0, 0.1, 4.0), (0.0, 0.0), (2.0,)):
    print(_smaller_share(LoadResult(Done(1, 0, 1.0), 1.0, 0, 0, by_child)))
"""
    assert run_code(code).split() == ["0.75", "0.0", "0.0"]


def test_the_highest_rate_is_found() -> None:
    code = """
import sys
from benchmarks.steady import highest_rate

for limit in map(float, sys.argv[1:]):
    found = highest_rate(lambda rate: rate <= limit)
    print(0.9 * limit < found <= limit)
try:
    highest_rate(lambda rate: False)
except RuntimeError as error:
    print(error)
"""
    limits = ["2", "99", "100", "101", "450", "9000"]
    none = "the bridge carries no rate without errors or long latencies"
    assert run_code(code, *limits).splitlines() == ["True"] * len(limits) + [none]


def test_a_rate_that_is_not_carried_for_long_is_lowered() -> None:
    code = """
from benchmarks.open_load import summary
from benchmarks.steady import hold

def load(rate):
    tried.append(round(rate, 1))
    return [summary([0.1], 0), summary([9.0 if rate > limit else 0.1], 0)]

for limit, holds in ((100, 3), (95, 3), (10, 3), (10, 1)):
    tried = []
    rate, results = hold(load, 100.0, holds)
    print(round(rate, 1), results[1].p99, *tried)
"""
    assert run_code(code).splitlines() == [
        "100.0 0.1 100.0",
        "90.0 0.1 100.0 90.0",
        "81.0 9.0 100.0 90.0 81.0",
        "100.0 9.0 100.0",
    ]


def test_a_rate_is_carried_without_errors_and_long_latencies() -> None:
    code = """
from benchmarks.open_load import summary
from benchmarks.steady import carried

good = summary([0.1] * 99 + [9.0], 0)
print(good.requests, good.median, good.p99, good.longest)
for bad in (summary([0.1] * 98 + [9.0] * 2, 0), summary([0.1] * 99, 1), summary([], 1)):
    print(carried([good, good]), carried([good, bad]))
"""
    assert run_code(code).splitlines() == ["100 0.1 0.1 9.0", *["True False"] * 3]


OPEN_LOAD = """
import datetime, sys
from pathlib import Path
from benchmarks.comparison import message_request, small_request
from benchmarks.open_load import OpenJob
from benchmarks.proxies import BRIDGED, OpenLoadClient, SiteSystemProcess
from ibcm_bridge.lab.pki.authorities import LabPki

directory = Path(sys.argv[1])
pki = LabPki.make(now=datetime.datetime.now(datetime.UTC))
pki.write(directory / "made")
requests = [request.decode("latin-1") for request in (message_request(), small_request())]
with (
    SiteSystemProcess(pki, directory, 0) as site_system,
    OpenLoadClient(directory / "made") as client,
):
    for messages, connections in ((40.0, 0.0), (0.0, 10.0)):
        client.begin(OpenJob(site_system.port, BRIDGED, *requests, messages, connections, 0.5, 4))
        client.start()
        done = client.result()
        print(done.requests, done.errors, 0 < done.median <= done.p99 <= done.longest)
"""


def test_requests_are_sent_at_a_fixed_rate(tmp_path: Path) -> None:
    assert run_code(OPEN_LOAD, str(tmp_path)).splitlines() == ["20 0 True", "5 0 True"]


def test_a_latency_counts_from_the_time_at_which_the_request_was_due() -> None:
    code = """
import asyncio, time
from benchmarks.open_load import OpenJob, _Load

load = _Load(OpenJob(0, "", "", "", 0.0, 0.0, 0.03, 0), None)

async def stalls() -> None:
    if not load._latencies:
        time.sleep(0.2)

asyncio.run(load._send(100.0, stalls, time.perf_counter()))
print(len(load._latencies), min(load._latencies) > 0.1)
"""
    assert run_code(code) == "3 True\n"


@pytest.mark.parametrize(
    ("flags", "build"),
    [
        ("'--enable-optimizations' '--with-lto'", "PGO and LTO"),
        ("-O3 -fprofile-use", "PGO, not LTO"),
        ("-flto=auto", "LTO, not PGO"),
        ("'--enable-shared' -O3", "not recorded"),
    ],
)
def test_how_the_interpreter_was_built(flags: str, build: str) -> None:
    code = "import sys; from benchmarks.interpreter import described; print(described(sys.argv[1]))"
    assert run_code(code, flags) == build + "\n"


def test_every_name_in_a_peers_configuration_has_a_value(tmp_path: Path) -> None:
    code = """
import datetime, sys
from pathlib import Path
from benchmarks.peers.programs import PEERS, Way
from benchmarks.peers.running import SiteSystem, configured
from ibcm_bridge.lab.pki.authorities import LabPki

made = Path(sys.argv[1]) / "pki"
LabPki.make(now=datetime.datetime.now(datetime.UTC)).write(made)
ports = {way: port for port, way in enumerate(Way, 1)}
for peer in PEERS:
    own = made.parent / peer.name
    own.mkdir()
    configuration = configured(peer, own, made, SiteSystem("a.example", ("127.0.0.1", 9)), ports)
    print(peer.name, all(f":{ports[way]}" in configuration or f"port_value: {ports[way]}}}" in
        configuration for way in peer.ways))
"""
    expected = ["nginx True", "haproxy True", "apache True", "envoy True"]
    assert run_code(code, str(tmp_path)).splitlines() == expected


def test_a_missing_peer_is_named_with_what_installs_it(tmp_path: Path) -> None:
    code = """
import sys
from dataclasses import replace
from pathlib import Path
from benchmarks.peers.programs import PEERS

here = replace(PEERS[0], program=sys.executable, version="--version", files=())
print(here.describe())
print(replace(here, files=(Path(sys.argv[1]),)).describe())
print(replace(here, program="no-such-program").describe())
"""
    version = ".".join(map(str, sys.version_info[:3]))
    missing = "not here: apt-get install nginx libnginx-mod-stream"
    assert run_code(code, str(tmp_path / "missing")).splitlines() == [version, missing, missing]


def _git(repository: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    command = ["git", "-C", str(repository), *identity, *arguments]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with two commits, the second with a reason."""
    origin = tmp_path / "origin"
    origin.mkdir()
    _git(origin, "init", "--quiet")
    (origin / "pyproject.toml").write_text('[tool.setuptools.package-dir]\n"a.b" = "c"\n')
    for folder in ("a", "c"):
        (origin / folder).mkdir()
        (origin / folder / "__init__.py").touch()
    _git(origin, "add", ".")
    _git(origin, "commit", "--quiet", "-m", "First\n\nCost: of the first")
    _git(origin, "commit", "--quiet", "--allow-empty", "-m", "Second\n\nCost: two checks more")
    return origin


COST = "import sys; from pathlib import Path; from benchmarks import cost; path = Path(sys.argv[1])"


@pytest.mark.needs("git")
def test_a_reason_is_read_from_the_commits_after_the_base(repository: Path) -> None:
    code = f"{COST}; print(*cost.given_reasons(path, 'HEAD~1'))"
    assert run_code(code, str(repository)) == "two checks more\n"
    _git(repository, "commit", "--quiet", "--allow-empty", "-m", "Third, where Cost: is inside")
    assert run_code(code, str(repository)) == "\n"


@pytest.mark.needs("git")
def test_a_shallow_clone_has_no_parent(repository: Path, tmp_path: Path) -> None:
    shallow = tmp_path / "shallow"
    _git(tmp_path, "clone", "--quiet", "--depth", "1", repository.as_uri(), str(shallow))
    code = f"{COST}; print(cost.is_commit(path, 'HEAD~1'))"
    assert run_code(code, str(repository)) == "True\n"
    assert run_code(code, str(shallow)) == "False\n"


@pytest.mark.needs("git")
def test_a_base_that_is_named_must_exist() -> None:
    command = ["make", "--no-print-directory", "-n", "BASE=no-such-commit", "cost"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    last = done.stdout.splitlines()[-1].split()
    assert last[1:] == ["-m", "benchmarks.cost", "no-such-commit"]
    refused = subprocess.run(
        [sys.executable, *last[1:]], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert refused.returncode == 2
    assert "no-such-commit is not a commit of this clone" in refused.stderr


@pytest.mark.needs("git")
def test_a_commit_is_extracted_for_import(repository: Path, tmp_path: Path) -> None:
    code = f"{COST}; print(cost.extracted(path, 'HEAD~1', Path(sys.argv[2])))"
    (tmp_path / "trees").mkdir()
    tree = Path(run_code(code, str(repository), str(tmp_path / "trees")).strip())
    assert (tree / "a" / "b" / "__init__.py").exists()
    assert not (tree / "c").exists()


def test_more_than_three_percent_is_too_slow() -> None:
    code = """
from benchmarks.cost import compared

before = {"message": 1000.0, "connection": 1000.0}
print(compared(before, {"message": 1031.0, "connection": 1030.0})[1])
print(compared(before, {"message": 1030.0, "connection": 900.0})[1])
"""
    assert run_code(code) == "['message']\n[]\n"


@pytest.mark.needs("valgrind")
def test_the_instructions_of_callgrind(tmp_path: Path) -> None:
    output = tmp_path / "callgrind"
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={output}"]
    done = subprocess.run([*command, "true"], capture_output=True, text=True, check=True)
    code = """
import sys
from pathlib import Path
from benchmarks.instructions import total
from benchmarks.libraries import by_library

dump = Path(sys.argv[1]).read_text("utf-8")
print(total(dump), sum(by_library(dump).values()), by_library(dump)["C library"] > 10_000)
"""
    counted, of_all_libraries, in_c = run_code(code, str(output)).split()
    # callgrind prints the same number at its end.
    assert f"Collected : {counted}\n" in done.stderr
    assert (of_all_libraries, in_c) == (counted, "True")
