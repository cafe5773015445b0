"""What a domain needs, and the sentence that says what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibcm_bridge.lab.domain import programs
from ibcm_bridge.lab.domain.domain import Domain
from ibcm_bridge.lab.errors import LabError


@pytest.fixture
def nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No program and no module is installed."""
    monkeypatch.setattr(programs.sys, "platform", "linux")
    monkeypatch.setattr(programs.shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(programs.importlib.util, "find_spec", lambda _: None)
    return tmp_path


def test_the_sentence_names_what_is_missing_and_how_to_install_it(nothing: Path) -> None:
    assert programs.refusal() == (
        "a Kerberos domain needs krb5kdc, kdb5_util, kadmin.local, kinit, klist, kvno, setpriv, "
        "spnego, gssapi, krb5; install with: sudo apt-get install krb5-kdc krb5-admin-server "
        "krb5-user util-linux python3-dev libkrb5-dev gcc, then pip install "
        "'ibcm-bridge[lab]' 'ibcm-bridge[kerberos]'"
    )


def test_only_what_is_missing_is_named(nothing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs.importlib.util, "find_spec", lambda _: object())
    monkeypatch.setattr(
        programs.shutil, "which", lambda name, **_: None if name == "krb5kdc" else name
    )
    assert programs.refusal() == (
        "a Kerberos domain needs krb5kdc; install with: sudo apt-get install krb5-kdc"
    )


def test_another_system_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs.sys, "platform", "darwin")
    assert programs.refusal() == "a Kerberos domain needs Linux, with MIT Kerberos"


def test_a_domain_without_its_programs_does_not_begin(nothing: Path) -> None:
    directory = nothing / "domain"
    with pytest.raises(LabError, match="a Kerberos domain needs krb5kdc"), Domain(directory):
        pass
    assert not directory.exists()
