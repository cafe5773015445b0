"""deploy/kubernetes/components/postgresql: valid objects, and settings that a server accepts."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from ibcm_bridge.policy_file import load_policy
from ibcm_bridge.storage.binding_registry import RegistryError
from ibcm_bridge.storage.postgresql_stores import SharedRegistry
from tests.needs import find
from tests.postgresql_server import USER, PostgresqlServer, postgresql_server
from tests.repository import test_kubernetes as bridge
from tests.storage.test_binding_stores import PC1

NAME = "components/postgresql"
FOLDER = bridge.FOLDER / NAME
TEXT = (FOLDER / "kustomization.yaml").read_text("utf-8")
COMPONENT = yaml.safe_load(TEXT)
COMMANDS = "".join(line[4:] for line in TEXT.splitlines(True) if line.startswith("#   "))

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the commands are for a shell")


def objects(kind: str) -> list[dict[str, Any]]:
    texts = [(FOLDER / name).read_text("utf-8") for name in COMPONENT["resources"]]
    found = [document for text in texts for document in yaml.safe_load_all(text)]
    return [document for document in found if document["kind"] == kind]


(SET,) = objects("StatefulSet")
(SERVICE,) = objects("Service")
POD = SET["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
LABELS = SET["spec"]["template"]["metadata"]["labels"]
(SECRET,) = COMPONENT["secretGenerator"]
SETTINGS = CONTAINER["args"][1::2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, pki_files: Path) -> Path:
    """A copy of the folder after the commands."""
    site = tmp_path_factory.mktemp("kubernetes") / "site"
    shutil.copytree(bridge.FOLDER, site)
    shutil.copytree(pki_files, site / "pki")
    (site / "database").mkdir()
    subprocess.run(["sh", "-euc", COMMANDS], cwd=site, check=True, capture_output=True)
    return site


# The objects


@pytest.mark.parametrize("name", COMPONENT["resources"])
def test_each_object_conforms_with_its_schema(name: str) -> None:
    done = bridge.validated(FOLDER / name)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_file_of_the_folder_is_used() -> None:
    used = {*COMPONENT["resources"], "kustomization.yaml"}
    assert {path.name for path in FOLDER.iterdir()} == used
    assert COMPONENT["kind"] == "Component"


@pytest.mark.needs("openssl")
@pytest.mark.skipif(find("kubectl") is None, reason="kubectl is not here; it is not in Debian")
def test_kustomize_adds_the_objects_to_those_of_the_bridge(site: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        ["kubectl", "kustomize", str(site)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    made = [*yaml.safe_load_all(done.stdout)]
    assert {each["kind"] for each in made} == {
        *bridge.OBJECTS,
        "ConfigMap",
        "Secret",
        "StatefulSet",
    }
    (stateful,) = [each for each in made if each["kind"] == "StatefulSet"]
    assert stateful["metadata"]["namespace"] == "ibcm-bridge"
    secret = stateful["spec"]["template"]["spec"]["volumes"][0]["secret"]["secretName"]
    assert secret.startswith("postgresql-"), "with a hash, so that a change replaces the pod"
    assert secret in {each["metadata"]["name"] for each in made}
    (policy,) = [each for each in made if each["kind"] == "ConfigMap"]
    assert "\nstate: postgresql://ibcm@postgresql/ibcm?" in policy["data"]["bridge.yaml"]
    whole = tmp_path / "whole.yaml"
    whole.write_text(done.stdout, "utf-8")
    assert bridge.validated(whole).returncode == 0


def test_the_service_and_the_rules_of_the_network_select_the_pod() -> None:
    assert SET["spec"]["selector"]["matchLabels"] == LABELS
    assert SERVICE["spec"]["selector"] == LABELS
    assert SET["spec"]["serviceName"] == SERVICE["metadata"]["name"] == "postgresql"
    clients = bridge.OBJECTS["Deployment"]["spec"]["template"]["metadata"]["labels"]
    own, of_bridges = (each["spec"] for each in objects("NetworkPolicy"))
    assert own["podSelector"]["matchLabels"] == LABELS
    (incoming,) = own["ingress"]
    assert incoming["from"] == [{"podSelector": {"matchLabels": clients}}]
    assert "Egress" in own["policyTypes"]
    assert "egress" not in own
    assert of_bridges["podSelector"]["matchLabels"] == clients
    (outgoing,) = of_bridges["egress"]
    assert outgoing["to"] == [{"podSelector": {"matchLabels": LABELS}}]
    (port,) = CONTAINER["ports"]
    assert incoming["ports"] == outgoing["ports"] == [{"port": port["name"]}]


def test_the_pod_has_no_unneeded_rights() -> None:
    """The namespace refuses others (`restricted`)."""
    assert POD["automountServiceAccountToken"] is False
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    rights = bridge.CONTAINER["securityContext"]
    assert CONTAINER["securityContext"] == rights
    written = {mount["name"] for mount in CONTAINER["volumeMounts"] if "readOnly" not in mount}
    (claim,) = SET["spec"]["volumeClaimTemplates"]
    in_memory = {each["name"] for each in POD["volumes"] if "emptyDir" in each}
    assert written == {claim["metadata"]["name"], *in_memory}


# The settings


def test_the_version_is_that_which_the_project_tests() -> None:
    page = (bridge.ROOT / "docs" / "policy-file.md").read_text("utf-8")
    (tested,) = re.findall(r"The project tests PostgreSQL (\d+)\.", page)
    assert CONTAINER["image"] == f"postgres:{tested}"


def test_the_database_allows_the_connections_of_all_pods() -> None:
    (most,) = re.findall(r"max_connections=(\d+)", " ".join(SETTINGS))
    page = (bridge.ROOT / "docs" / "scale.md").read_text("utf-8")
    (needed,) = re.findall(r"of each pod,\s+and\s+(\d+)\s+for the", page)
    (reserved,) = re.findall(r"and\s+(\d+)\s+that\s+PostgreSQL\s+reserves", page)
    # Some are for commands and the administrator.
    assert int(most) >= int(needed) + int(reserved) + 10


def test_each_file_that_is_named_is_in_the_secret() -> None:
    named = [each.partition("=")[2] for each in SETTINGS if "_file=" in each]
    named += [each["value"] for each in CONTAINER["env"] if each["name"].endswith("_FILE")]
    (folder,) = [
        mount["mountPath"] for mount in CONTAINER["volumeMounts"] if mount["name"] == "files"
    ]
    assert sorted(named) == sorted(f"{folder}/{name}" for name in SECRET["files"])
    assert {"name": "files", "secret": {"secretName": SECRET["name"], "defaultMode": 0o440}} in POD[
        "volumes"
    ]


@pytest.fixture(scope="module")
def server(site: Path) -> Iterator[PostgresqlServer]:
    """Debian's PostgreSQL with the settings and files of the pod, as its image sets it up."""
    files = site / NAME
    with postgresql_server() as server:
        own = server.folder / "files"
        shutil.copytree(files, own)
        for name in SECRET["files"]:
            # As a pod has it: root owns the file, and the group can read it.
            (own / name).chmod(0o440 if os.geteuid() == 0 else 0o400)
            if os.geteuid() == 0:
                shutil.chown(own / name, group=USER)
        own.chmod(0o755)
        password = (own / "password").read_text("ascii").strip()
        with server.connect("postgres") as connection:
            connection.execute(f"CREATE ROLE ibcm SUPERUSER LOGIN PASSWORD '{password}'")
            connection.execute("CREATE DATABASE ibcm OWNER ibcm")
        rules = "local all all trust\nhost all all all scram-sha-256\n"
        (server.data / "pg_hba.conf").write_text(rules, "ascii")
        server.stop()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            server.port = int(free.getsockname()[1])
        settings = [each.replace("/etc/postgresql", str(own)) for each in SETTINGS]
        server.start("listen_addresses=127.0.0.1", *settings)
        yield server


@pytest.mark.needs("openssl", "postgresql")
def test_a_bridge_uses_the_server_with_the_files_of_the_commands(
    site: Path, server: PostgresqlServer, tmp_path: Path
) -> None:
    (tmp_path / "ibcm-bridge").mkdir()
    shutil.copy(site / "bridge.yaml", tmp_path / "ibcm-bridge")
    for folder in ("pki", "database"):
        shutil.copytree(site / folder, tmp_path / f"ibcm-bridge-{folder}")
    (tmp_path / "ibcm-bridge-lists").mkdir()
    password = tmp_path / "ibcm-bridge-database" / "state.pass"
    # The name and port of the Service, which is not here.
    password.write_text(password.read_text("ascii").replace(":5432:", f":{server.port}:"), "ascii")
    password.chmod(0o400)
    state = load_policy(tmp_path / "ibcm-bridge" / "bridge.yaml").state
    assert state is not None
    here = (("hostaddr", "127.0.0.1"), ("port", str(server.port)))
    state = replace(state, parameters=(*state.parameters, *here))
    with SharedRegistry(state, creates=True) as registry:
        assert registry.add(PC1) == PC1
        shown = registry._database.one("SELECT current_setting('max_connections')")
        assert shown == ("250",)
        shown = registry._database.one("SELECT current_setting('superuser_reserved_connections')")
        assert shown == ("3",), "as in docs/scale.md"
    password.chmod(0o600)
    password.write_text(re.sub(r":\w+$", ":wrong", password.read_text("ascii").strip()), "ascii")
    with pytest.raises(RegistryError, match="password authentication failed"):
        SharedRegistry(state)
