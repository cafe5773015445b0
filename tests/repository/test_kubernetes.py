"""deploy/kubernetes: valid objects, the rights of a pod, and numbers that belong together."""

from __future__ import annotations

import math
import re
import shutil
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from ibcm_bridge.addons.operations.metrics import METRICS
from ibcm_bridge.commands.main import main
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.policy.message_policy import Enforcement
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy_file import PolicyError, load_policy
from ibcm_bridge.storage.postgresql_stores import UPLOAD_CONNECTIONS
from tests.list_publisher import publishing
from tests.needs import find

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text("utf-8"))
CONNECTIONS = UPLOAD_CONNECTIONS + 3
"""Of each worker: uploads, changes, reads and notifications."""
KUBERNETES = "1.30"
"""The oldest version that the page names."""

type Object = dict[str, Any]


def objects() -> dict[str, Object]:
    """Kind -> the object of the folder."""
    found = {}
    for name in KUSTOMIZATION["resources"]:
        for document in yaml.safe_load_all((FOLDER / name).read_text("utf-8")):
            found[document["kind"]] = document
    return found


OBJECTS = objects()
POD: Object = OBJECTS["Deployment"]["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
COPIES, LISTS = POD["initContainers"]
SECRETS = {made["name"]: made["files"] for made in KUSTOMIZATION["secretGenerator"]}
PASSWORD = "db.corp.example:5432:ibcm:ibcm:secret\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, pki_files: Path) -> Path:
    """The folder with certificates, as an operator has it."""
    folder = tmp_path_factory.mktemp("kubernetes") / "kubernetes"
    shutil.copytree(FOLDER, folder)
    shutil.copytree(pki_files, folder / "pki")
    database = folder / "database"
    database.mkdir()
    (database / "state.pass").write_text(PASSWORD, "ascii")
    shutil.copy(pki_files / "root.pem", database / "ca.pem")
    return folder


@pytest.fixture(scope="module")
def policy_file(folder: Path) -> Path:
    """The policy where the pod has it: the volumes are beside each other."""
    root = folder.parent / "root"
    files = {
        "policy": KUSTOMIZATION["configMapGenerator"][0]["files"],
        "pki": SECRETS["ibcm-bridge-pki"],
        "database-secret": SECRETS["ibcm-bridge-database"],
        "database": (),
        "lists": (),
    }
    mounts = {
        mount["name"]: root / mount["mountPath"].lstrip("/")
        for mount in COPIES["volumeMounts"] + CONTAINER["volumeMounts"]
    }
    for volume, names in files.items():
        mounts[volume].mkdir(parents=True)
        for name in names:
            shutil.copy(folder / name, mounts[volume])
    # With fsGroup, a group can read the files of a Secret.
    for copied in mounts["database-secret"].iterdir():
        copied.chmod(0o440)
    words = COPIES["command"] + COPIES["args"]
    command = [f"{root}{word}" if word.startswith("/") else word for word in words]
    subprocess.run(command, check=True)
    return mounts["policy"] / "bridge.yaml"


@pytest.fixture(scope="module")
def policy(policy_file: Path) -> Policy:
    return load_policy(policy_file)


# The objects


def validated(file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kubernetes_validate", "--strict", "-k", KUBERNETES]
    return subprocess.run([*command, str(file)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", KUSTOMIZATION["resources"])
def test_each_object_conforms_with_its_schema(name: str, tmp_path: Path) -> None:
    done = validated(FOLDER / name)
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = tmp_path / name
    text = (FOLDER / name).read_text("utf-8")
    # A key that no object has, at the top.
    wrong.write_text(text.replace("kind:", "unknown: 1\nkind:", 1), "utf-8")
    assert validated(wrong).returncode, "a wrong key is found"


def test_every_file_of_the_folder_is_used() -> None:
    used = {*KUSTOMIZATION["resources"], "kustomization.yaml"}
    used |= {*KUSTOMIZATION["configMapGenerator"][0]["files"]}
    assert {path.name for path in FOLDER.iterdir() if path.suffix == ".yaml"} == used


@pytest.mark.skipif(find("kubectl") is None, reason="kubectl is not here; it is not in Debian")
def test_kustomize_makes_the_same_objects_with_the_policy_and_the_keys(folder: Path) -> None:
    done = subprocess.run(
        ["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    documents = [*yaml.safe_load_all(done.stdout)]
    made = {document["kind"]: document for document in documents}
    assert {*made} == {*OBJECTS, "ConfigMap", "Secret"}
    assert all(
        document["metadata"].get("namespace") == "ibcm-bridge"
        for document in documents
        if document["kind"] != "Namespace"
    )
    volumes = made["Deployment"]["spec"]["template"]["spec"]["volumes"]
    names = {volume["name"]: volume for volume in volumes}
    assert names["policy"]["configMap"]["name"] == made["ConfigMap"]["metadata"]["name"]
    secrets = {d["metadata"]["name"] for d in documents if d["kind"] == "Secret"}
    assert len(secrets) == len(SECRETS)
    for volume in ("pki", "database-secret"):
        assert names[volume]["secret"]["secretName"] in secrets
    (image,) = KUSTOMIZATION["images"]
    pod = made["Deployment"]["spec"]["template"]["spec"]
    for container in pod["containers"] + pod["initContainers"]:
        assert container["image"] == f"{image['newName']}:{image['newTag']}"


def test_all_objects_select_the_same_pods() -> None:
    labels = OBJECTS["Deployment"]["spec"]["template"]["metadata"]["labels"]
    (spread,) = POD["topologySpreadConstraints"]
    selectors = (
        OBJECTS["Deployment"]["spec"]["selector"]["matchLabels"],
        OBJECTS["Service"]["spec"]["selector"],
        OBJECTS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        OBJECTS["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        spread["labelSelector"]["matchLabels"],
    )
    assert all(selector == labels for selector in selectors)
    target = OBJECTS["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert target["name"] == OBJECTS["Deployment"]["metadata"]["name"]


# Rights


def test_the_pod_has_no_unneeded_rights() -> None:
    assert POD["automountServiceAccountToken"] is False
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in (CONTAINER, COPIES, LISTS):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    (label,) = OBJECTS["Namespace"]["metadata"]["labels"].values()
    assert label == "restricted"


def test_the_user_is_that_of_the_image() -> None:
    image = (ROOT / "deploy" / "Containerfile").read_text("utf-8")
    assert f"--uid {POD['securityContext']['runAsUser']} " in image


def test_the_port_of_probes_is_closed_to_clients(policy: Policy) -> None:
    clients, monitoring = OBJECTS["NetworkPolicy"]["spec"]["ingress"]
    assert "from" not in clients
    assert {port["port"] for port in clients["ports"]} == {"https", "updates"}
    assert monitoring["from"]
    assert [port["port"] for port in monitoring["ports"]] == ["operations"]
    assert {port["name"] for port in OBJECTS["Service"]["spec"]["ports"]} == {"https", "updates"}
    assert policy.operations is not None
    assert policy.operations.because is not None


def test_the_service_keeps_the_address_of_the_client() -> None:
    assert OBJECTS["Service"]["spec"]["externalTrafficPolicy"] == "Local"


# The database


def test_the_pods_share_a_database_whose_password_only_the_bridge_reads(policy: Policy) -> None:
    assert policy.state is not None
    parameters = dict(policy.state.parameters)
    host = parameters["host"]
    password = Path(parameters["passfile"])
    assert password.read_text("ascii").startswith(f"{host}:5432:ibcm:ibcm:")
    assert f"{host}:5432:ibcm:ibcm:PASSWORD" in (FOLDER / "kustomization.yaml").read_text("utf-8")
    assert stat.S_IMODE(password.stat().st_mode) == 0o400
    assert parameters["sslmode"] == "verify-full"
    assert Path(parameters["sslrootcert"]).read_bytes().startswith(b"-----BEGIN CERTIFICATE")
    # Only the init container sees the Secret, whose files a group can read.
    assert "database-secret" not in {mount["name"] for mount in CONTAINER["volumeMounts"]}


def test_the_password_file_of_the_secret_itself_is_refused(policy_file: Path) -> None:
    """The reason for the init container."""
    text = policy_file.read_text("utf-8")
    direct = policy_file.with_name("direct.yaml")
    secret = "passfile=../../secret/state.pass"
    direct.write_text(text.replace("passfile=../ibcm-bridge-database/state.pass", secret), "utf-8")
    with pytest.raises(PolicyError, match="other users can read"):
        load_policy(direct)


def test_the_identity_can_be_enforced(policy_file: Path) -> None:
    text = policy_file.read_text("utf-8")
    enforced = text.replace("identity: observe", "identity: enforce")
    own = policy_file.with_name("enforce.yaml")
    own.write_text(enforced, "utf-8")
    assert load_policy(own).messages.identity is Enforcement.ENFORCE
    # Without the database, each pod would know the client GUIDs that it has learned itself.
    own.write_text(re.sub(r"^state:.*\n", "", enforced, flags=re.M), "utf-8")
    with pytest.raises(PolicyError, match="requires a file for bindings"):
        load_policy(own)


def test_the_network_policy_opens_the_port_of_the_database(policy: Policy) -> None:
    assert policy.state is not None
    port = int(dict(policy.state.parameters).get("port", "5432"))
    egress = OBJECTS["NetworkPolicy"]["spec"]["egress"]
    (rule,) = [rule for rule in egress if port in {each["port"] for each in rule["ports"]}]
    assert rule["to"] == [{"ipBlock": {"cidr": "10.0.0.20/32"}}], "one address, to be changed"
    assert len(rule["ports"]) == 1


def test_the_pages_have_the_number_of_connections_of_the_database(policy: Policy) -> None:
    spec = OBJECTS["Deployment"]["spec"]
    pods = OBJECTS["HorizontalPodAutoscaler"]["spec"]["maxReplicas"]
    pods += spec["strategy"]["rollingUpdate"]["maxSurge"]
    # A pod that ends is not counted by either. Meanwhile the next ones are replaced.
    pods += math.ceil(POD["terminationGracePeriodSeconds"] / spec["minReadySeconds"])
    workers = int(CONTAINER["resources"]["limits"]["cpu"])
    # Each worker has at least one inspection process, which reads uploads.
    inspections = max(workers, policy.limits.inspection_workers)
    each = workers * CONNECTIONS + inspections
    page = " ".join((ROOT / "docs" / "scale.md").read_text("utf-8").split())
    assert f"{each} connections of each pod, and {pods * each} for the {pods} pods" in page
    autoscaler = (FOLDER / "autoscaler.yaml").read_text("utf-8")
    assert f"{pods} pods, {pods * each} connections" in autoscaler
    numbers = "four", "five", "six", "seven", "eight"
    of_process = f"Each process uses up to {numbers[CONNECTIONS - 4]} connections"
    several = " ".join((ROOT / "docs" / "policy-file.md").read_text("utf-8").split())
    assert f"{of_process}, {numbers[UPLOAD_CONNECTIONS - 4]} of them for uploads" in several


# Revocation lists


def mounts(container: Object) -> Object:
    """The name of a volume -> its mount."""
    return {mount["name"]: mount for mount in container["volumeMounts"]}


@pytest.fixture(scope="module")
def today(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of authorities whose lists are current."""
    folder = tmp_path_factory.mktemp("today") / "pki"
    LabPki.make(now=datetime.now(UTC)).write(folder)
    return folder


@pytest.mark.parametrize("missing", [None, "root.crl", "issuing.crl"])
def test_a_pod_starts_with_current_lists_or_not_at_all(
    policy_file: Path, today: Path, tmp_path: Path, missing: str | None
) -> None:
    root = policy_file.parents[2]
    own = tmp_path / "root"
    shutil.copytree(root, own)
    shutil.copytree(today, own / "etc" / "ibcm-bridge-pki", dirs_exist_ok=True)
    published = tmp_path / "published"
    published.mkdir()
    for name in ("root.crl", "issuing.crl"):
        (own / "etc" / "ibcm-bridge-pki" / name).replace(published / name)
    if missing is not None:
        (published / missing).unlink()
    command, option, config = LISTS["args"]
    policy = own / config.lstrip("/")
    with publishing(published) as url:
        text = policy.read_text("utf-8").replace("http://pki.corp.example", url)
        policy.write_text(text, "utf-8")
        done = main([command, option, str(policy)])
    assert done == (1 if missing else 0)
    stored = list((own / mounts(LISTS)["lists"]["mountPath"].lstrip("/")).iterdir())
    assert len(stored) == (1 if missing else 2)
    for _, publication in load_policy(policy).bridged():
        assert len(publication.site_system_trust.awaited) == (1 if missing else 0)


def test_the_bridge_has_the_folder_of_lists_that_the_init_container_fills(policy: Policy) -> None:
    (volume,) = (volume for volume in POD["volumes"] if volume["name"] == "lists")
    assert "emptyDir" in volume
    for container in (LISTS, CONTAINER):
        mount = mounts(container)["lists"]
        assert "readOnly" not in mount
        for _, publication in policy.bridged():
            fetch = publication.site_system_trust.revocation.fetch
            assert fetch is not None
            assert str(fetch.folder.resolve()).endswith(mount["mountPath"])
    # Everything else that the policy names must be there, too. Only the lists are written.
    read = {**mounts(CONTAINER)}
    del read["tmp"]
    assert mounts(LISTS) == read
    assert not [name for name in SECRETS["ibcm-bridge-pki"] if name.endswith(".crl")]


def test_the_network_policy_opens_the_ports_of_the_policy(policy: Policy) -> None:
    site_systems, lists = OBJECTS["NetworkPolicy"]["spec"]["egress"][:2]
    assert {port["port"] for port in site_systems["ports"]} == {
        site_system.address[1]
        for _, publication in policy.bridged()
        for role in publication.directories.values()
        for site_system in role.site_systems.listed
    }
    urls = {
        urlsplit(url)
        for _, publication in policy.bridged()
        if (fetch := publication.site_system_trust.revocation.fetch) is not None
        for url in fetch.urls
    }
    assert {port["port"] for port in lists["ports"]} == {url.port or 80 for url in urls}
    assert len({url.hostname for url in urls}) == 1
    assert lists["to"] == [{"ipBlock": {"cidr": "10.0.0.30/32"}}], "one address, to be changed"


def test_the_commands_for_a_lab_use_lists_that_are_files(
    today: Path, tmp_path: Path, policy_file: Path
) -> None:
    page = (ROOT / "docs" / "scale.md").read_text("utf-8")
    section = page.split("\n### Revocation lists\n")[1].split("\n#")[0]
    (commands,) = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    site = tmp_path / "site"
    shutil.copytree(FOLDER, site)
    subprocess.run(["sh", "-euc", commands], cwd=site, check=True)
    made = yaml.safe_load((site / "kustomization.yaml").read_text("utf-8"))
    names = next(
        each["files"] for each in made["secretGenerator"] if each["name"] == "ibcm-bridge-pki"
    )
    assert {name for name in names if name.endswith(".crl")} == {"pki/root.crl", "pki/issuing.crl"}
    # A root of its own, with the files of the Secret.
    own = tmp_path / "root"
    shutil.copytree(policy_file.parents[2], own)
    shutil.rmtree(own / "etc" / "ibcm-bridge-pki")
    (own / "etc" / "ibcm-bridge-pki").mkdir()
    for name in names:
        shutil.copy(today.parent / name, own / "etc" / "ibcm-bridge-pki")
    shutil.copy(site / "bridge.yaml", own / "etc" / "ibcm-bridge")
    policy = own / "etc" / "ibcm-bridge" / "bridge.yaml"
    for _, publication in load_policy(policy).bridged():
        assert publication.site_system_trust.revocation.fetch is None
        assert len(publication.site_system_trust.crls) == 2
    assert main(["fetch", "--config", str(policy)]) == 0, "the init container has nothing to do"


# Numbers that belong together


def test_the_ports_are_those_of_the_policy(policy: Policy) -> None:
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    listen = {address[1] for address in policy.listen_addresses}
    assert listen == {ports["https"], ports["updates"]}
    assert policy.operations is not None
    assert policy.operations.listen[1] == ports["operations"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert CONTAINER[probe]["httpGet"]["port"] == "operations"
    assert CONTAINER["readinessProbe"]["httpGet"]["path"] == "/ready"
    assert CONTAINER["livenessProbe"]["httpGet"]["path"] == "/live"
    public = {port["name"]: port["port"] for port in OBJECTS["Service"]["spec"]["ports"]}
    assert {public["https"], public["updates"]} == {
        publication.public_port for _, publication in policy.publications()
    }


def test_a_pod_has_time_to_drain(policy: Policy) -> None:
    grace = POD["terminationGracePeriodSeconds"]
    assert grace == policy.limits.drain_seconds + 10
    waits = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    # The parent kills a worker three seconds after the drain.
    assert waits + policy.limits.drain_seconds + 3 < grace
    probe = CONTAINER["readinessProbe"]
    assert waits > probe["periodSeconds"] * probe["failureThreshold"]


def test_the_autoscaler_uses_a_metric_of_the_bridge(policy: Policy) -> None:
    spec = OBJECTS["HorizontalPodAutoscaler"]["spec"]
    pods, _ = spec["metrics"]
    assert pods["pods"]["metric"]["name"] in METRICS
    most = int(pods["pods"]["target"]["averageValue"])
    assert most == 0.6 * policy.limits.connections
    assert spec["minReplicas"] > OBJECTS["PodDisruptionBudget"]["spec"]["maxUnavailable"]
    assert "replicas" not in OBJECTS["Deployment"]["spec"], "a new `apply` would undo the scaling"
