"""The port that `explain` assumes for a URL without one, and the publication of a port."""

import dataclasses
import json
from pathlib import Path

import pytest

from ibcm_bridge.commands.explain.described_request import read_url
from ibcm_bridge.commands.explain.ports import NoListenerError, Port, listed
from ibcm_bridge.commands.main import main
from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy.publications import (
    Listener,
    PlaintextListener,
    PlaintextPublication,
    UnlistedHeaders,
)
from ibcm_bridge.policy.roles import CertificatePolicy
from tests.commands.explain.questions import (
    LIST,
    MP,
    NAMED,
    ask,
    bridged,
    command,
    reason,
)


def test_tls_on_a_plaintext_port_is_not_an_unknown_name(policy: Policy, pki: LabPki) -> None:
    directories = {"sms_fsp": bridged(policy).directories["sms_mp"]}
    plain = PlaintextPublication("fsp.example", 80, directories, UnlistedHeaders.DROP, 8192, "x")
    both = dataclasses.replace(
        policy, listeners=(*policy.listeners, PlaintextListener(("127.0.0.1", 8080), plain))
    )
    computer = pki.computer("pc8.corp.example")
    for url, expected in (
        ("https://fsp.example:8080/", Reason.TLS_ON_PLAINTEXT),
        ("https://fsp.example/", Reason.UNKNOWN_NAME),
        ("http://other.example:8080/", Reason.HOST_MISMATCH),
        # Clients connect to its port 80.
        ("http://other.example/", Reason.HOST_MISMATCH),
        (f"http://other.example:{policy.listeners[0].address[1]}/", Reason.PLAINTEXT),
        ("http://fsp.example/", Reason.DIRECTORY),
    ):
        assert reason(ask(both, "GET", url, computer)) is expected, url
    with pytest.raises(
        NoListenerError, match=r"81; the policy has 80 \(http\), 8080 \(http\) and 8443$"
    ):
        ask(both, "GET", "http://other.example:81/", computer)


def test_a_url_without_a_port_uses_443_if_the_name_is_published_there(
    lab_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = (lab_files / "bridge.yaml").read_text("utf-8").replace("pki/", f"{lab_files}/pki/")
    policy = policy.replace("../audit.jsonl", "audit.jsonl")
    moved = policy.replace(
        "    listen: 127.0.0.1:8531\n", "    listen: 127.0.0.1:8531\n    public_port: 443\n"
    )
    assert moved != policy
    for text, published in ((policy, "management-point"), (moved, "software-update-point")):
        (tmp_path / "bridge.yaml").write_text(text, "utf-8")
        main(["explain", "--config", str(tmp_path / "bridge.yaml"), "GET", f"{MP}/x"])
        assert f"is bridged: {published}" in capsys.readouterr().out


def test_a_url_without_a_port_uses_the_port_of_its_scheme(policy: Policy) -> None:
    """If a publication has that port; the shipped policy has neither 443 nor 80."""
    listeners = [
        dataclasses.replace(
            listener,
            publications={
                name: dataclasses.replace(publication, public_port=443)
                for name, publication in listener.publications.items()
            },
        )
        if isinstance(listener, Listener) and listener.address[1] == 8443
        else listener
        for listener in policy.listeners
    ]
    on_443 = dataclasses.replace(policy, listeners=tuple(listeners))
    explanation = ask(
        on_443, "GET", "https://sup.internet.example:443/SelfUpdate/wuident.cab", None
    )
    assert explanation.denial is not None
    assert explanation.denial.reason is Reason.UNKNOWN_NAME
    assert "the listener has no publication" in explanation.denial.detail


@pytest.mark.parametrize(
    ("url", "port", "message"),
    [
        (
            f"https://{NAMED}/x",
            Port(8443, (8531,)),
            f"assumed port 8443; {NAMED} is also published on 8531",
        ),
        (
            f"http://{NAMED}/x",
            Port(8443, (8531,)),
            f"assumed port 8443; {NAMED} is also published on 8531",
        ),
        (f"https://{NAMED}:8531/x", None, ""),
        (f"https://{NAMED}:8443/x", None, ""),
        (
            "https://mp-tunnel.internet.example/x",
            Port(8443, ()),
            "assumed port 8443, the only port of mp-tunnel.internet.example",
        ),
        (
            "http://fsp.internet.example/x",
            Port(8080, ()),
            "assumed port 8080, the only port of fsp.internet.example",
        ),
        ("https://fsp.internet.example/x", None, ""),
        ("https://nobody.example/x", None, ""),
        ("http://nobody.example/x", None, ""),
        ("https://[2001:db8::1]/x", None, ""),
    ],
)
def test_the_assumed_port_is_reported(
    lab_files: Path, url: str, port: Port | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = f"ibcm-bridge explain: {message}\n" if message else ""
    status = command(lab_files, "--json", "GET", url)
    captured = capsys.readouterr()
    record = json.loads(captured.out)
    assert captured.err == shown
    assert record["url"] == url
    found = record.get("port")
    assert found == (
        None if port is None else {"assumed": port.assumed, "alternatives": [*port.alternatives]}
    )
    assert status == (1 if record["verdict"] == "deny" else 0)


def test_443_is_assumed_silently_if_it_is_the_only_port(policy: Policy) -> None:
    url = read_url("https://mp.example/")
    assert Port(443, ()).describe(url) is None
    assert Port(443, (8531, 8444)).describe(url) == (
        "assumed port 443; mp.example is also published on 8531 and 8444"
    )
    assert Port(80, ()).describe(url) == "assumed port 80, the only port of mp.example"


def test_an_ip_address_reaches_the_publication_without_sni(
    policy: Policy, computer: LabCredential
) -> None:
    listener = policy.listeners[0]
    assert isinstance(listener, Listener)
    named = dataclasses.replace(listener, without_sni=NAMED)
    explanation = ask(
        dataclasses.replace(policy, listeners=(named,)), "GET", f"https://[::1]{LIST}", computer
    )
    assert explanation.port == Port(8443, ())


def test_names_are_listed_as_in_a_sentence() -> None:
    assert [listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        *("", "a", "a and b", "a, b and c"),
    ]


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_a_port_without_a_listener_is_a_usage_error(
    lab_files: Path, scheme: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in ((), ("--json",)):
        assert command(lab_files, *arguments, "GET", f"{scheme}://{NAMED}:9999{LIST}") == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err == (
            "ibcm-bridge explain: no listener on port 9999; the policy has 8080 (http), 8443 and "
            "8531\n"
        )


def test_a_public_port_takes_precedence_over_a_listen_port(policy: Policy) -> None:
    """A firewall forwards 443 to 8443, and 8443 to another listener with the same name."""
    with_certificates = bridged(policy)
    without_certificates = dataclasses.replace(
        with_certificates,
        client_trust=None,
        certificate_policy=CertificatePolicy.NONE,
        public_port=8443,
    )
    two = dataclasses.replace(
        policy,
        listeners=(
            Listener(
                ("127.0.0.1", 8443),
                {NAMED: dataclasses.replace(with_certificates, public_port=443)},
            ),
            Listener(("127.0.0.1", 9443), {NAMED: without_certificates}),
        ),
    )
    for port, expected in ((443, Reason.CERTIFICATE_MISSING), (8443, None), (9443, None)):
        explanation = ask(two, "GET", f"https://{NAMED}:{port}{LIST}", None)
        assert reason(explanation) is expected, port
