"""Policy files for tests: the shipped one with changes, small ones, and their problems."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ibcm_bridge.lab.pki.files import shipped_policy
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy.publications import BridgePublication, Listener
from ibcm_bridge.policy_file import PolicyError, load_policy

SHIPPED = shipped_policy()

Problems = Callable[[str], list[tuple[int, str]]]


def problems_of(path: Path, text: str) -> list[tuple[int, str]]:
    """The problems of a text as (line, message). Each problem starts with the file."""
    path.write_text(text, "utf-8")
    with pytest.raises(PolicyError) as caught:
        load_policy(path)
    assert str(caught.value) == "\n".join(caught.value.problems)
    found = []
    for problem in caught.value.problems:
        assert problem.startswith(f"{path}:")
        line, _, message = problem.removeprefix(f"{path}:").partition(": ")
        found.append((int(line), message))
    return found


def changed(*changes: tuple[str, str]) -> str:
    """The shipped policy with the first occurrence of each text replaced."""
    text = SHIPPED
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def line_of(fragment: str, text: str = SHIPPED, occurrence: int = 1) -> int:
    lines = [number for number, line in enumerate(text.splitlines(), 1) if fragment in line]
    return lines[occurrence - 1]


# Small policies


def sample(*publications: str, head: str = "version: 1\npublications:\n") -> str:
    return head + "".join(publications)


LEGS = """\
    certificate: {chain: pki/bridge-server.pem, key: pki/bridge-server.key}
    site_systems:
      certificate: {chain: pki/bridge-client.pem, key: pki/bridge-client.key}
      trust: {anchors: [pki/root.pem], issuing: [pki/issuing.pem], crls: [pki/root.crl, pki/issuing.crl]}
"""  # noqa: E501
TRUST = (
    "{anchors: [pki/root.pem], issuing: [pki/issuing.pem], crls: [pki/root.crl, pki/issuing.crl]}"
)


def bridge(
    *roles: str,
    name: str = "a.example",
    listen: str = "127.0.0.1:443",
    clients: str = f"{{trust: {TRUST}}}",
    more: str = "",
) -> str:
    """A bridged publication; roles are `name` or `name: more keys`."""
    text = (
        f"  - name: {name}\n    mode: bridge\n    listen: {listen}\n{LEGS}    clients: {clients}\n"
    )
    text += f"{more}    roles:\n"
    for role in roles:
        role_name, _, keys = role.partition(":")
        text += f"      {role_name}: {{site_system: https://ss.corp.example{keys}}}\n"
    return text


def tunnel(name: str = "t.example", listen: str = "127.0.0.1:443", more: str = "") -> str:
    text = f"  - name: {name}\n    mode: tunnel\n    listen: {listen}\n"
    return text + f"    site_system: 192.0.2.1:443\n{more}"


def plaintext(
    role: str = "fallback-status-point",
    keys: str = "",
    name: str = "fsp.example",
    listen: str = "127.0.0.1:80",
    url: str = "http://fsp.corp.example",
    because: str = "    because: clients report that HTTPS fails\n",
) -> str:
    text = f"  - name: {name}\n    mode: plaintext\n    listen: {listen}\n{because}"
    return text + f"    roles:\n      {role}: {{site_system: {url}{keys}}}\n"


NOBODY = "{certificate: none}"
MP, DP, SUP = "management-point", "distribution-point", "software-update-point"
WHY = "because: the tests want it"


def published(policy: Policy, name: str = "a.example") -> BridgePublication:
    """The bridged publication of this name."""
    for listener in policy.listeners:
        if isinstance(listener, Listener) and name in listener.publications:
            found = listener.publications[name]
            assert isinstance(found, BridgePublication)
            return found
    raise AssertionError(name)
