"""Devices enroll by SCEP, through the bridge and through a tunnel: clients that others wrote.

strongSwan's `pki` posts its message, without a Content-Type; certmonger puts it in the query of a
GET (protocol.md §8.4). Both know names and roots from the system's own files, so each runs in a
mount namespace in which those are the lab's; making one takes root.
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ibcm_bridge.lab.bridge.process import free_port
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.site_systems import cms, scep
from ibcm_bridge.lab.site_systems.published import BRIDGED
from tests.integration.lab import Lab

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="drives Debian's packages"),
    pytest.mark.needs(
        *("root", "pki", "strongswan-curl", "strongswan-openssl"),
        "certmonger-session",
        "getcert",
        "dbus-run-session",
    ),
]

NDES_PORT = free_port()
TUNNELED = "ndes.internet.example"
NAME = "pc9.corp.example"
SECONDS = 60.0

HANDLER = "/certsrv/mscep/mscep.dll/pkiclient.exe"
OTHER = "/certsrv/mscep/mscep.dll/other.exe"

INSIDE = """\
mount --bind "$1" /etc/hosts
mount -t tmpfs none /etc/ssl/certs
cp "$2" /etc/ssl/certs/ca-certificates.crt
shift 2
exec "$@"
"""
"""In the mount namespace: the file of names, the root, and what to run there."""

CERTMONGER = """\
mkdir -p "$HOME"
/usr/lib/certmonger/certmonger-session -n >"$HOME/log" 2>&1 &
daemon=$!
trap 'kill "$daemon"' EXIT
for _ in 1 2 3 4 5 6 7 8 9 10; do
    getcert list-cas -s >/dev/null 2>&1 && break
    sleep 0.5
done
getcert add-scep-ca -s -c lab -u "$1" -R "$2"
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    getcert list-cas -s -c lab | grep -q thumbprint && break
    sleep 0.5
done
getcert request -s -c lab -N "CN=$3" -D "$3" -L "$4" -k "$HOME/key.pem" -f "$HOME/cert.pem" -w -v
"""
"""A daemon of its own on a bus of its own, and one request: URL, root, name and password."""


@pytest.fixture(scope="module")
def change_policy(policy: dict[str, Any]) -> None:
    """The policy module is tunneled as it is shipped; here it is bridged as well."""
    (bridge, *_) = policy["publications"]
    ndes = {"site_system": "https://ndes01.corp.example", "connect": "127.0.0.1:9448"}
    more = {
        "listen": f"127.0.0.1:{NDES_PORT}",
        "clients": {"certificate": "none"},
        "unlisted_headers": "refuse",
        "roles": {"policy-module": ndes},
    }
    policy["publications"].append({**bridge, **more})


@dataclass
class Device:
    """A machine that has neither a certificate nor anything else of the lab but its root."""

    lab: Lab
    files: Path
    base: str
    """Where NDES is for it."""

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run something where names and roots are the lab's."""
        hosts = self.files / "hosts"
        hosts.write_text(f"127.0.0.1 localhost {BRIDGED} {TUNNELED}\n")
        inside = ["unshare", "--mount", "sh", "-euc", INSIDE, "sh", str(hosts)]
        return subprocess.run(
            [*inside, self.lab.root_file, *command],
            cwd=self.files,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def ask_for_certificates(self, path: str = HANDLER) -> subprocess.CompletedProcess[str]:
        """What to encrypt for (ra.pem), and what is above it (ca.pem, ca-1.pem)."""
        return self.run(
            *("pki", "--scepca", "--force", "--outform", "pem", "--url", self.base + path),
            *("--caout", "ca.pem", "--raout", "ra.pem"),
        )

    def enroll(
        self, *more: str, key: str = "key.pem", password: str = scep.PASSWORD
    ) -> subprocess.CompletedProcess[str]:
        """By strongSwan's client; the certificate is what it says."""
        made = self.run("pki", "--gen", "--type", "rsa", "--size", "2048", "--outform", "pem")
        (self.files / key).write_text(made.stdout)
        return self.run(
            *("pki", "--scep", "--url", self.base + HANDLER, "--in", key, "--outform", "pem"),
            *("--dn", f"CN={NAME}", "--san", NAME, "--password", password),
            *("--cacert-enc", "ra.pem", "--cacert-sig", "ra.pem"),
            *("--cacert", "ca.pem", "--cacert", "ca-1.pem", *more),
        )

    def enroll_with_certmonger(self) -> subprocess.CompletedProcess[str]:
        """The certificate and its key are in the folder certmonger."""
        home = str(self.files / "certmonger")
        return self.run(
            *("dbus-run-session", "--", "sh", "-euc", CERTMONGER, "sh"),
            *(self.base + HANDLER, self.lab.root_file, NAME, scep.PASSWORD),
            HOME=home,
            XDG_CONFIG_HOME=home,
            TMPDIR=str(self.files),
        )


def credential(lab: Lab, certificate: str, key: bytes) -> LabCredential:
    read = load_pem_private_key(key, None)
    assert isinstance(read, RSAPrivateKey)
    return LabCredential(
        x509.load_pem_x509_certificate(certificate.encode()), read, (lab.pki.issuing,)
    )


def check_it_is_good(lab: Lab, certificate: str, key: Path) -> None:
    """For this name, from this lab, and it opens the bridge to who came without any."""
    own = credential(lab, certificate, key.read_bytes())
    own.certificate.verify_directly_issued_by(lab.pki.issuing)
    assert own.certificate.public_key() == own.key.public_key()
    lab.clear()
    with lab.client(own) as client:
        assert client.request("GET", "/SMS_MP/.sms_aut?MPLIST").status == 200
    assert lab.record()["client_name"] == NAME


@pytest.fixture(params=["bridge", "tunnel"])
def device(request: pytest.FixtureRequest, lab: Lab, tmp_path: Path) -> Device:
    ways = {"bridge": (BRIDGED, NDES_PORT), "tunnel": (TUNNELED, lab.bridge.address[1])}
    name, port = ways[request.param]
    return Device(lab, tmp_path, f"https://{name}:{port}")


def requests(lab: Lab) -> list[tuple[str, str]]:
    """What reached NDES: the verb, and the target less the message in it."""
    return [
        (request.method, request.target.partition("&message=MI")[0])
        for request in lab.site.received()
        if request.site_system == "policy-module"
    ]


def test_strongswan_enrolls_and_renews(lab: Lab, device: Device) -> None:
    asked = device.ask_for_certificates()
    assert asked.returncode == 0, asked.stderr
    done = device.enroll()
    assert done.returncode == 0, done.stderr
    assert requests(lab) == [
        ("GET", f"{HANDLER}?operation=GetCACert"),
        ("GET", f"{HANDLER}?operation=GetCACaps"),
        ("POST", f"{HANDLER}?operation=PKIOperation"),
    ]
    posted = lab.site.received()[-1]
    assert "content-type" not in {name.lower() for name, _ in posted.headers}
    check_it_is_good(lab, done.stdout, device.files / "key.pem")
    # What it has is what it proves itself by, with a key that is new.
    (device.files / "cert.pem").write_text(done.stdout)
    more = ("--cert", "cert.pem", "--key", "key.pem")
    renewed = device.enroll(*more, key="next.pem", password="")
    assert renewed.returncode == 0, renewed.stderr
    check_it_is_good(lab, renewed.stdout, device.files / "next.pem")


def test_certmonger_enrolls(lab: Lab, device: Device) -> None:
    done = device.enroll_with_certmonger()
    home = device.files / "certmonger"
    assert (home / "cert.pem").exists(), (done.stdout, done.stderr, (home / "log").read_text())
    asked = requests(lab)
    assert ("GET", f"{HANDLER}?operation=GetCACert&message=0") in asked
    assert asked[-1] == ("GET", f"{HANDLER}?operation=PKIOperation")
    check_it_is_good(lab, (home / "cert.pem").read_text(), home / "key.pem")


def test_certmonger_requests_an_authority_with_spaces_in_its_name(lab: Lab, device: Device) -> None:
    submit = ("/usr/lib/certmonger/scep-submit", "-u", device.base + HANDLER, "-R", lab.root_file)
    done = device.run(*submit, "-C", "-i", "Lab Issuing CA")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("BEGIN CERTIFICATE") >= 2
    assert lab.received().target == f"{HANDLER}?operation=GetCACert&message=Lab+Issuing+CA"


def test_a_wrong_challenge_password_gets_no_certificate(lab: Lab, device: Device) -> None:
    """NDES says so, which passes the bridge: it cannot read what is encrypted for NDES."""
    assert device.ask_for_certificates().returncode == 0
    done = device.enroll(password="another")
    assert done.returncode != 0
    assert "badRequest" in done.stderr
    assert done.stdout == ""
    assert requests(lab)[-1] == ("POST", f"{HANDLER}?operation=PKIOperation")


def test_other_path_info_is_refused(lab: Lab, device: Device) -> None:
    done = device.ask_for_certificates(OTHER)
    assert done.returncode != 0
    assert "HTTP 404" in done.stderr
    if TUNNELED in device.base:
        assert requests(lab) == [("GET", f"{OTHER}?operation=GetCACert")]
        return
    record = lab.record()
    assert (record["verdict"], record["reason"]) == ("deny", "resource")
    lab.check_nothing_arrived()


@pytest.mark.parametrize(
    ("join", "status", "reason"),
    [
        ("%0D%0A", 200, None),
        ("%0A", 200, None),
        ("", 200, None),
        ("%20", 403, "encoding"),
        ("%0D%0A%20", 400, "target-unsafe"),
    ],
)
def test_a_message_with_line_breaks_is_allowed_and_with_spaces_refused(
    lab: Lab, join: str, status: int, reason: str | None
) -> None:
    message = certificate_poll(lab)
    encoded = base64.b64encode(message).decode()
    # A blank before a slash would end a name, and be refused for that.
    ends = [at for at in range(64, len(encoded), 64) if encoded[at] != "/"]
    lines = [quote(encoded[a:b]) for a, b in pairwise([0, *ends, len(encoded)])]
    target = f"{HANDLER}?operation=PKIOperation&message={join.join(lines)}"
    with lab.client(address=("127.0.0.1", NDES_PORT)) as client:
        reply = client.request("GET", target)
    # A tunnel of the test before may end only now, and have its record here.
    lab.until(lambda: any(record["event"] == "request" for record in lab.audit()))
    (record,) = (record for record in lab.audit() if record["event"] == "request")
    assert (reply.status, record.get("reason")) == (status, reason)
    if reason is None:
        # What it is answered is a refusal, but signed: the message was read whole.
        refused = cms.read_signed(reply.body)
        assert refused.attribute(scep.PKI_STATUS, cms.PRINTABLE) == scep.FAILURE.encode()
        assert record["inspected"] == [f"message:{len(message)}"]
    else:
        lab.check_nothing_arrived()


def certificate_poll(lab: Lab) -> bytes:
    """A message that is good, and asks for what the stand-in does not have."""
    values = {scep.MESSAGE_TYPE: "20", scep.TRANSACTION_ID: "1"}
    attributes = {
        kind: cms.element(cms.PRINTABLE, value.encode()) for kind, value in values.items()
    }
    attributes[scep.SENDER_NONCE] = cms.element(cms.OCTETS, b"x")
    return scep.signed(b"x", attributes, lab.credentials.computer)
