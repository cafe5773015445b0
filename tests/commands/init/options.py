"""Command lines of `init`."""

from __future__ import annotations

from collections.abc import Iterable

NAME = "bridge.internet.example"
NAMES = (NAME, "mp2.internet.example", "dp.internet.example", "cat.internet.example")
"""The names of the certificate `pki/names.pem`."""
OWN = "own.internet.example"
"""The name of `pki/own.pem` and `pki/own.pfx`, whose passphrase is in `pki/pass.txt`."""
MANY = {"certificate": "pki/names.pem", "key": "pki/names.key"}

MP = "https://mp01.corp.example,127.0.0.1:9443"


def options(**changed: str | Iterable[str] | None) -> list[str]:
    """The command line for one management point, with other options."""
    given: dict[str, str | Iterable[str] | None] = {
        "name": NAME,
        "certificate": "pki/bridge-server.pem",
        "key": "pki/bridge-server.key",
        "client-certificate": "pki/bridge-client.pem",
        "client-key": "pki/bridge-client.key",
        "root": "pki/root.pem",
        "issuing": "pki/issuing.pem",
        "crl": ["pki/root.crl", "pki/issuing.crl"],
        "management-point": MP,
        **{key.replace("_", "-"): value for key, value in changed.items()},
    }
    line = ["init", "policy.yaml"]
    for key, value in given.items():
        for text in [value] if isinstance(value, str) else value or ():
            line += [f"--{key}", text]
    return line
