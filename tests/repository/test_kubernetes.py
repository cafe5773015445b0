"""deploy/kubernetes: valid objects, the rights of a pod, and numbers that belong together."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ibcm_bridge.addons.operations.metrics import METRICS
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy_file import load_policy
from tests.needs import find

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text("utf-8"))
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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, pki_files: Path) -> Path:
    """The folder with certificates, as an operator has it."""
    folder = tmp_path_factory.mktemp("kubernetes") / "kubernetes"
    shutil.copytree(FOLDER, folder)
    shutil.copytree(pki_files, folder / "pki")
    return folder


@pytest.fixture(scope="module")
def policy(folder: Path) -> Policy:
    """The policy as the pod sees it: the volumes are beside each other."""
    mounts = {mount["name"]: mount["mountPath"] for mount in CONTAINER["volumeMounts"]}
    etc = folder.parent / "root"
    place = etc / mounts["policy"].lstrip("/")
    place.mkdir(parents=True)
    pki = etc / mounts["pki"].lstrip("/")
    pki.mkdir()
    for name in KUSTOMIZATION["configMapGenerator"][0]["files"]:
        shutil.copy(folder / name, place)
    for name in KUSTOMIZATION["secretGenerator"][0]["files"]:
        shutil.copy(folder / name, pki)
    return load_policy(place / "bridge.yaml")


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
    made = {document["kind"]: document for document in yaml.safe_load_all(done.stdout)}
    assert {*made} == {*OBJECTS, "ConfigMap", "Secret"}
    assert all(
        document["metadata"].get("namespace") == "ibcm-bridge"
        for kind, document in made.items()
        if kind != "Namespace"
    )
    volumes = made["Deployment"]["spec"]["template"]["spec"]["volumes"]
    names = {volume["name"]: volume for volume in volumes}
    assert names["policy"]["configMap"]["name"] == made["ConfigMap"]["metadata"]["name"]
    assert names["pki"]["secret"]["secretName"] == made["Secret"]["metadata"]["name"]
    (image,) = KUSTOMIZATION["images"]
    (container,) = made["Deployment"]["spec"]["template"]["spec"]["containers"]
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
    assert CONTAINER["securityContext"] == {
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
