from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ibcm_bridge.commands import export
from ibcm_bridge.commands.main import main
from ibcm_bridge.export import proxies
from ibcm_bridge.export.exported import Export
from ibcm_bridge.export.proxies import PROXIES
from ibcm_bridge.lab.pki.files import shipped_policy
from ibcm_bridge.storage.exported_files import find_program


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory, pki_files: Path) -> Path:
    folder = tmp_path_factory.mktemp("policy")
    (folder / "pki").symlink_to(pki_files)
    (folder / "bridge.yaml").write_text(shipped_policy(), "utf-8")
    return folder / "bridge.yaml"


def test_the_names_are_those_of_the_exports() -> None:
    assert tuple(PROXIES) == export.NAMES


def test_the_configuration_is_written_to_standard_output(
    policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "nginx", "--config", str(policy)]) == 0
    output = capsys.readouterr()
    assert output.out.startswith("# nginx 1.22 or newer, from bridge.yaml (sha256 ")
    assert f"write them with: --files {policy.parent}/nginx-files" in output.err
    assert not (policy.parent / "nginx-files").exists()


def test_the_other_files_are_written_for_their_owner(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "files"
    for _ in range(2):  # again after each new CRL
        assert main(["export", "nginx", "--config", str(policy), "--files", str(folder)]) == 0
        assert capsys.readouterr().err == ""
    assert "crls-1.pem" in {file.name for file in folder.iterdir()}
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in folder.iterdir())


def test_a_policy_with_a_problem_is_not_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bridge.yaml"
    file.write_text("version: 1\n", "utf-8")
    assert main(["export", "nginx", "--config", str(file)]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert "the policy was not loaded" in output.err


def test_a_value_that_cannot_be_written_is_one_sentence(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "with space")
    assert main(["export", "nginx", "--config", str(policy), "--files", folder]) == 1
    assert capsys.readouterr().err.startswith("ibcm-bridge export: the path '")
    assert not Path(folder).exists()


def test_a_check_needs_the_program(
    policy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    assert main(["export", "nginx", "--config", str(policy), "--check"]) == 1
    assert capsys.readouterr().err == "ibcm-bridge export: nginx is not installed\n"


CHECKED = [
    pytest.param("nginx", marks=pytest.mark.needs("nginx", "nginx-stream")),
    pytest.param("haproxy", marks=pytest.mark.needs("haproxy")),
    pytest.param("apache", marks=pytest.mark.needs("apache2", "modsecurity")),
    pytest.param("envoy", marks=pytest.mark.needs("envoy")),
]


@pytest.mark.needs("apache2", "modsecurity")
def test_apache_is_also_found_under_the_name_that_rhel_has(
    policy: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = find_program(["apache2"])
    assert program is not None
    httpd = tmp_path / "httpd"
    httpd.symlink_to(program)
    found = {"httpd": str(httpd)}
    monkeypatch.setattr("shutil.which", lambda name, **_: found.get(name))
    assert main(["export", "apache", "--config", str(policy), "--check"]) == 0
    assert capsys.readouterr().out.startswith("httpd accepts the configuration")
    found.clear()
    assert main(["export", "apache", "--config", str(policy), "--check"]) == 1
    assert capsys.readouterr().err == "ibcm-bridge export: apache2 and httpd are not installed\n"


@pytest.mark.needs("apache2", "modsecurity")
def test_without_the_folder_of_debian_apache_uses_the_modules_of_rhel(
    policy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = PROXIES["apache"]

    def write(*values: Any) -> Export:
        made = original.write(*values)
        return replace(made, text=made.text.replace("/usr/lib/apache2/modules>", "/none>"))

    monkeypatch.setitem(proxies.PROXIES, "apache", replace(original, write=write))
    assert main(["export", "apache", "--config", str(policy), "--check"]) == 1
    assert "Cannot load /etc/httpd/modules/mod_" in capsys.readouterr().err


@pytest.mark.parametrize("proxy", CHECKED)
def test_the_proxy_accepts_the_configuration(
    proxy: str, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(policy.parent.iterdir())
    assert main(["export", proxy, "--config", str(policy), "--check"]) == 0
    assert "accepts the configuration" in capsys.readouterr().out
    assert sorted(policy.parent.iterdir()) == before


@pytest.mark.parametrize("proxy", CHECKED)
def test_the_proxy_refuses_another_configuration(
    proxy: str,
    policy: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = PROXIES[proxy]

    def write(*values: Any) -> Export:
        made = original.write(*values)
        return replace(made, text=f"{made.text}\nunknown: directive {{\n")

    monkeypatch.setitem(proxies.PROXIES, proxy, replace(original, write=write))
    assert main(["export", proxy, "--config", str(policy), "--check"]) == 1
    assert "refuses the configuration" in capsys.readouterr().err
