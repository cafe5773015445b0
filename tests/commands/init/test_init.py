"""`ibcm-bridge init`: options or inputs -> a policy, or the reason why there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibcm_bridge.commands.init import inputs as inputs_module
from ibcm_bridge.commands.init.inputs import read_inputs
from ibcm_bridge.commands.init.questions import PUBLISHED, QUESTIONS, TUNNEL
from ibcm_bridge.commands.init.readers import InputError
from ibcm_bridge.commands.main import main
from ibcm_bridge.policy.publications import PlaintextListener
from ibcm_bridge.policy_file import load_policy, shipped_roles
from tests.commands.init.options import OWN, options


def test_options_make_a_policy_that_check_passes(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(options()) == 0
    assert "Next: ibcm-bridge run --config policy.yaml" in capsys.readouterr().out
    assert main(["check", "--config", "policy.yaml"]) == 0
    (listener,) = load_policy(home / "policy.yaml").listeners
    assert listener.address == ("0.0.0.0", 443)
    assert "pki/bridge-server.pem" in (home / "policy.yaml").read_text()


def test_every_role_and_a_tunnel(home: Path) -> None:
    more = options(
        distribution_point="https://dp01.corp.example",
        software_update_point="https://sup01.corp.example:8531",
        update_listen="0.0.0.0:8531",
        fallback_status_point="http://fsp01.corp.example",
        status_listen="0.0.0.0:8080",
        tunnel=["enroll.internet.example=10.0.0.9:443", "ndes.internet.example=10.0.0.8:443"],
    )
    assert main(more) == 0
    policy = load_policy(home / "policy.yaml")
    found = {
        (listener.address[1], type(publication).__name__)
        for listener in policy.listeners
        for publication in (
            [listener.publication]
            if isinstance(listener, PlaintextListener)
            else listener.publications.values()
        )
    }
    assert found == {
        (443, "BridgePublication"),
        (443, "TunnelPublication"),
        (8531, "BridgePublication"),
        (8080, "PlaintextPublication"),
    }


def test_a_pfx_file_needs_no_key(home: Path) -> None:
    line = options(
        name=OWN,
        certificate="pki/own.pfx",
        key=None,
        passphrase_file="pki/pass.txt",
    )
    assert main(line) == 0
    assert "pfx: pki/own.pfx" in (home / "policy.yaml").read_text()
    assert "secret" not in (home / "policy.yaml").read_text()


def test_lists_to_download_get_a_folder(home: Path) -> None:
    url = "http://pki.corp.example/issuing.crl"
    assert main(options(crl=["pki/root.crl", url])) == 0
    assert (home / "crls").is_dir()
    assert f"urls: ['{url}']" in (home / "policy.yaml").read_text()
    (home / "crls").rmdir()


REFUSED = {
    "a name without a dot": ({"name": "bridge"}, "--name: 'bridge' is not a fully qualified"),
    "HTTP to a bridged role": (
        {"management_point": "http://mp01.corp.example"},
        "bridging HTTPS to HTTP is not supported (BRIDGE-HTTPS-ONLY)",
    ),
    "a file that is not there": ({"root": "pki/no.pem"}, "pki/no.pem cannot be read: No such file"),
    "a key beside PFX": ({"certificate": "some.pfx"}, "--certificate: some.pfx cannot be read"),
    "a port without its role": (
        {"update_listen": "0.0.0.0:1"},
        "only with --software-update-point",
    ),
    "a tunnel without an address": ({"tunnel": "enroll.example"}, "is not NAME=ADDRESS:PORT"),
    "no site system": ({"management_point": None}, "missing: one of --management-point"),
    "no key": ({"key": None}, "missing: --key FILE"),
    "two names": ({"name": ["a.example", "b.example"]}, "--name: only one is possible"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_option_that_cannot_be_used_is_a_usage_error(
    case: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed, why = REFUSED[case]
    assert main(options(**changed)) == 2  # type: ignore[arg-type]
    assert why in capsys.readouterr().err
    assert not (home / "policy.yaml").exists()


def test_a_policy_that_check_refuses_is_not_written(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The bridge's client certificate is not a server certificate.
    wrong = {"certificate": "pki/bridge-client.pem", "key": "pki/bridge-client.key"}
    assert main(options(**wrong, crl=["pki/root.crl", "http://pki.corp.example/a.crl"])) == 1
    printed = capsys.readouterr()
    assert "PROBLEM: 0.0.0.0:443: bridge.internet.example: certificate" in printed.out
    assert "policy.yaml was not written" in printed.err
    assert not (home / "policy.yaml").exists()
    assert not (home / "crls").exists()


def test_a_key_of_another_certificate_is_not_written(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(options(key="pki/bridge-client.key")) == 1
    assert "does not match the certificate in pki/bridge-server.pem" in capsys.readouterr().err
    assert not (home / "policy.yaml").exists()


def test_it_replaces_a_policy_only_with_the_option(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "policy.yaml").write_text("mine")
    assert main(options()) == 2
    assert "policy.yaml exists; use --replace" in capsys.readouterr().err
    assert (home / "policy.yaml").read_text() == "mine"
    assert main([*options(), "--replace"]) == 0
    assert "version: 1" in (home / "policy.yaml").read_text()


def test_a_key_beside_a_pfx_file_is_refused(home: Path) -> None:
    (home / "a.pfx").write_bytes(b"")
    with pytest.raises(InputError, match="--key: a PFX file has its own key"):
        read_inputs({"certificate": ["a.pfx"], "key": ["pki/bridge-server.key"]}, None)


def test_a_path_with_special_characters_is_quoted(home: Path) -> None:
    (home / "a: b, [c] #d").mkdir()
    for name in ("root.pem", "issuing.pem"):
        (home / "a: b, [c] #d" / name).write_bytes((home / "pki" / name).read_bytes())
    line = options(root="a: b, [c] #d/root.pem", issuing="a: b, [c] #d/issuing.pem")
    assert main(line) == 0
    assert main(["check", "--config", "policy.yaml"]) == 0


def test_the_questions_agree_with_each_other() -> None:
    keys = [question.key for question in QUESTIONS]
    assert len(keys) == len(set(keys))
    for key, roles in inputs_module.ONLY_WITH.items():
        assert max(keys.index(role) for role in roles) < keys.index(key)
    for key, certificate in inputs_module.ONLY_FOR_PEM.items():
        assert keys.index(certificate) < keys.index(key)


def test_each_role_of_the_role_table_is_a_question() -> None:
    assert {*shipped_roles().modes} | {TUNNEL} == {*PUBLISHED}
