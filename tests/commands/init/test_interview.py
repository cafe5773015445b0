"""`ibcm-bridge init` on a terminal: what it asks, and what an empty line means."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from ibcm_bridge.commands.init.inputs import Terminal, read_inputs
from ibcm_bridge.commands.main import main
from tests.commands.init.options import NAME, options

GIVEN = {
    "name": [NAME],
    "certificate": ["pki/bridge-server.pem"],
    "key": ["pki/bridge-server.key"],
    "client-certificate": ["pki/bridge-client.pem"],
    "client-key": ["pki/bridge-client.key"],
    "root": ["pki/root.pem"],
    "crl": ["pki/root.crl"],
}
"""Every needed option, but no site system."""

ASKED = ("listen", "passphrase-file", "client-passphrase-file", "issuing")
"""The questions before the site systems that these options leave open, each with a default."""


def terminal(*lines: str) -> tuple[Terminal, list[str]]:
    """A terminal on which these lines are typed, and what it shows."""
    typed, shown = iter(lines), list[str]()

    def ask(prompt: str) -> str:
        shown.append(prompt)
        return next(typed)

    return Terminal(ask, shown.append), shown


def test_a_terminal_is_asked_for_everything_that_is_missing(home: Path) -> None:
    asked, shown = terminal(
        "bridge",  # no FQDN: asked again
        NAME,
        "",  # the default address
        "pki/bridge-server.pem",
        "",  # a key is needed
        "pki/bridge-server.key",
        "",  # no passphrase
        "pki/bridge-client.pem",
        "pki/bridge-client.key",
        "",
        "pki/root.pem",
        "",  # no other root
        "pki/issuing.pem",
        "",
        "pki/root.crl",
        "pki/issuing.crl",
        "",
        "",  # one name for all, and no other roles
        "https://mp01.corp.example",
        "",  # no distribution point
        "",  # no software update point, so its address is not asked for
        "",  # no fallback status point
    )
    inputs = read_inputs({}, asked)
    assert inputs["name"] == (NAME,)
    assert inputs["listen"] == ("0.0.0.0:443",)
    assert inputs["crl"] == ("pki/root.crl", "pki/issuing.crl")
    assert inputs["management-point"] == (f"{NAME}=https://mp01.corp.example",)
    assert "update-listen" not in inputs
    assert "  'bridge' is not a fully qualified domain name, such as cm.example.com" in shown
    assert "  a value is needed" in shown


def test_a_terminal_is_not_asked_if_the_options_say_everything(home: Path) -> None:
    asked, shown = terminal()
    given = {"name": [NAME], "certificate": ["pki/bridge-server.pem"]}
    given |= {"key": ["pki/bridge-server.key"], "client-certificate": ["pki/bridge-client.pem"]}
    given |= {"client-key": ["pki/bridge-client.key"], "root": ["pki/root.pem"]}
    given |= {"crl": ["pki/root.crl"], "management-point": ["https://mp01.corp.example"]}
    assert read_inputs(given, asked)["listen"] == ("0.0.0.0:443",)
    assert not shown


def test_site_systems_have_their_own_names_if_a_person_says_so(home: Path) -> None:
    asked, shown = terminal(
        *[""] * len(ASKED),
        "perhaps",
        "yes",
        "https://mp01.corp.example",
        "",  # the shared name
        "mp2.internet.example=https://mp02.corp.example",
        "",
        "https://dp01.corp.example, 10.0.0.7:443",
        "dp",  # no FQDN: only the name is asked again
        "dp.internet.example",
        "",
        "",  # all clients have a computer certificate
        "",
        "",  # no software update point
        "",  # no fallback status point
        "https://cat01.corp.example",
        "",  # this role has no default
        "cat.internet.example",
        "",
        "10.0.0.9:443",
        "ndes.internet.example",
        "",
        "",  # no enrollment proxy point
        "",  # no tunnel
        "dp.internet.example=pki/own.pem, pki/own.key",
        "",
    )
    inputs = read_inputs(GIVEN, asked)
    assert inputs["management-point"] == (
        f"{NAME}=https://mp01.corp.example",
        "mp2.internet.example=https://mp02.corp.example",
    )
    assert inputs["distribution-point"] == (
        "dp.internet.example=https://dp01.corp.example,10.0.0.7:443",
    )
    assert inputs["clients"] == ("computer",)
    assert inputs["application-catalog-website-point"] == (
        "cat.internet.example=https://cat01.corp.example",
    )
    assert inputs["policy-module"] == ("ndes.internet.example=10.0.0.9:443",)
    assert inputs["certificate-of"] == ("dp.internet.example=pki/own.pem,pki/own.key",)
    assert not {"enrollment-proxy-point", "tunnel", "update-listen"} & {*inputs}
    assert "  'perhaps' is not yes or no" in shown
    assert shown.count(f"  its Internet FQDN [{NAME}]: ") == 3  # one of them twice
    assert shown.count("  its Internet FQDN: ") == 3


def test_a_short_interview_has_one_prompt_for_a_site_system(home: Path) -> None:
    typed = [*[""] * len(ASKED), "no", "https://mp01.corp.example"]
    typed += ["dp.internet.example=https://dp01.corp.example", "", ""]
    asked, shown = terminal(*typed)
    inputs = read_inputs(GIVEN, asked)
    assert inputs["management-point"] == (f"{NAME}=https://mp01.corp.example",)
    assert inputs["distribution-point"] == ("dp.internet.example=https://dp01.corp.example",)
    assert len(shown) == len(typed)


def test_without_a_shared_name_each_site_system_is_asked_for_its_own(home: Path) -> None:
    given = {**GIVEN, "distribution-point": ["dp.internet.example=https://dp01.corp.example"]}
    del given["name"], given["root"]
    typed = ["", *[""] * 3, "pki/root.pem", "", "", "", "https://mp01.corp.example"]
    asked, _ = terminal(*typed, "mp2.internet.example", "", "")
    inputs = read_inputs(given, asked)
    assert "name" not in inputs
    assert inputs["management-point"] == ("mp2.internet.example=https://mp01.corp.example",)


REFUSED = {
    "a conflict of options": (NAME, "https://ndes01.corp.example", 2),
    "a name that the certificate does not have": ("other.example", "https://dp01.corp.example", 1),
}


@pytest.mark.parametrize("case", REFUSED)
def test_typed_inputs_are_not_lost(
    case: str, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name, url, expected = REFUSED[case]
    role = "policy-module" if name == NAME else "distribution-point"
    line = options(name=None, **{role: f"{name}={url}"})
    typed = iter([NAME, *[""] * 8])
    monkeypatch.setattr("builtins.input", lambda _: next(typed))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    assert main(line) == expected
    shown = capsys.readouterr()
    command = shown.out.splitlines()[-1]
    assert shown.out.splitlines()[-2] == "Change this line and run it:"
    assert f" --name {NAME} " in command
    # The line asks nothing, and has the same problem.
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    assert main(shlex.split(command)[1:]) == expected
    assert capsys.readouterr().err == shown.err


def test_a_line_that_asked_nothing_is_not_repeated(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(options(distribution_point="other.example=https://dp01.corp.example")) == 1
    assert "Change this line" not in capsys.readouterr().out
