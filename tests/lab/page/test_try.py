"""Edited requests and policies, with a running lab."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.page.edits import announces_more
from ibcm_bridge.lab.page.scene_runs import GOOD
from ibcm_bridge.lab.protocol.client import Request
from ibcm_bridge.lab.scenes.table import SCENES
from ibcm_bridge.lab.scenes.users import USERS
from ibcm_bridge.storage.exported_files import find_program
from tests import needs
from tests.lab.page.running import Up

CASE = "inventory-report"


def post(up: Up, path: str, given: object) -> tuple[int, dict[str, Any]]:
    headers = {"X-Lab-Token": up.token}
    status, body = up.request(path, headers, json.dumps(given).encode())
    return status, json.loads(body) if status < 300 else {}


def get(up: Up, path: str) -> dict[str, Any]:
    status, body = up.request(path, {"X-Lab-Token": up.token})
    assert status == 200, body
    found: dict[str, Any] = json.loads(body)
    return found


def edit(up: Up, case: str = CASE, **changed: Any) -> dict[str, Any]:
    """The edited request that the page sends if nothing is changed."""
    parts = get(up, f"/edit/{case}")
    texts = [text["text"] for text in parts["texts"]]
    given = {key: parts[key] for key in ("line", "fields", "client")}
    return {"case": case, **given, "texts": texts, "sign": True, **changed}


def sent(up: Up, given: dict[str, Any]) -> dict[str, Any]:
    """Send an edited request, and wait for its result."""
    before = get(up, f"/edit/{given['case']}")["result"]
    status, said = post(up, "/try", given)
    assert (status, said.get("problem")) == (200, None)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        result: dict[str, Any] = get(up, f"/edit/{given['case']}")["result"]
        if result != before:
            return result
        time.sleep(0.1)
    raise AssertionError("no result")


def test_an_unchanged_request_passes_both_ways(up: Up) -> None:
    result = sent(up, edit(up))
    assert result["decision"] == "ALLOW"
    assert {path["verdict"]["word"] for path in result["paths"].values()} == {"PASSED"}
    assert result["paths"]["bridge"]["audit"]["verdict"] == "allow"
    assert bool(find_program(["nginx"])) == ("why_not" not in result["plain"])


@pytest.mark.needs("nginx")
def test_an_edited_request_is_sent_through_nginx_too(up: Up) -> None:
    plain = sent(up, edit(up, "policy-download", line="DELETE /SMS_MP/ HTTP/1.1"))["plain"]
    assert plain["proxy"].startswith("nginx ")
    assert plain["word"] == "REFUSED"


@pytest.mark.parametrize(("length", "more"), [("7", True), ("4", False), ("x", False)])
def test_a_request_that_announces_more_than_it_has_is_found(length: str, more: bool) -> None:
    """nginx would wait for the rest, and the lab for nginx."""
    assert announces_more(Request("POST", "/", (("content-length", length),), b"body")) is more


def test_a_request_without_its_end_gets_a_sentence(up: Up) -> None:
    given = edit(up, "policy-download", line="DELETE /SMS_MP/ HTTP/1.1")
    given["fields"] += "\nContent-Length: 7"
    assert sent(up, given)["problem"].startswith("There was no response within 10 seconds")


def test_a_changed_verb_is_refused_as_explained(up: Up) -> None:
    given = edit(up, "policy-download", line="DELETE /SMS_MP/ HTTP/1.1")
    status, said = post(up, "/explain", given)
    assert status == 200
    assert said["decision"] == "DENY verb, by management-point.verbs (VERB-MP)"
    result = sent(up, given)
    record = result["paths"]["bridge"]["audit"]
    assert (record["reason"], record["rule"]) == (Reason.VERB, "management-point.verbs")
    assert result["paths"]["bridge"]["verdict"]["word"] == "REFUSED"
    assert result["paths"]["tunnel"]["site_system_received"].startswith("DELETE /SMS_MP/")


def test_malware_in_an_edited_message_is_found_after_it_is_signed(up: Up) -> None:
    given = edit(up)
    malware = edit(up, "malware-in-zlib")["texts"][1]
    begin = malware.index("<!--")
    given["texts"][1] = given["texts"][1].replace("</Report>", f"{malware[begin:]}", 1)
    result = sent(up, given)
    assert result["paths"]["bridge"]["audit"]["rule"] == "engines.yara-x"
    assert result["paths"]["tunnel"]["verdict"]["word"] == "PASSED"


def test_a_changed_message_that_is_not_signed_is_refused(up: Up) -> None:
    given = edit(up, sign=False)
    given["texts"][1] = given["texts"][1].replace("</Report>", "<New>1</New></Report>")
    assert Reason.SIGNATURE_FORGED in post(up, "/explain", given)[1]["decision"]
    assert sent(up, given)["paths"]["bridge"]["audit"]["reason"] == Reason.SIGNATURE_FORGED


def test_another_client_certificate_is_used(up: Up) -> None:
    result = sent(up, edit(up, "policy-download", client="NONE"))
    assert result["paths"]["bridge"]["audit"]["tls_alert"]
    assert result["decision"].startswith("DENY ")


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"line": "nothing"}, "'nothing' is not a request line; use VERB TARGET HTTP/1.1"),
        ({"line": "GET /ü HTTP/1.1"}, "write the path as it is sent, percent-encoded"),
        ({"fields": "no colon"}, "--header 'no colon' has no colon; use 'NAME: VALUE'"),
        ({"fields": "A: b\rC: d"}, "has a control character; remove it"),
        ({"texts": ["one"]}, "The request has other parts by now; begin again."),
        ({"line": f"GET /{'x' * 30_000} HTTP/1.1"}, "The head is longer than 24,000 characters"),
    ],
)
def test_text_that_is_not_a_request_gets_a_sentence_and_is_not_sent(
    up: Up, changed: dict[str, Any], sentence: str
) -> None:
    records = Path(up.summary["files"]["audit"])
    before = records.stat().st_size
    for path in ("/explain", "/try"):
        status, said = post(up, path, edit(up, **changed))
        assert status == 200
        assert sentence in said["problem"]
    assert post(up, "/do/stop", {})[0] == 202
    assert records.stat().st_size == before


def test_only_a_line_end_separates_fields(up: Up) -> None:
    given = edit(up, "policy-download")
    result = sent(up, given | {"fields": f"{given['fields']}\r\nX-Text: one\u2028two"})
    fields = result["paths"]["tunnel"]["received"]["fields"]
    assert ["X-Text", "one\u2028two".encode().decode("latin-1")] in fields


def test_an_upload_that_the_bridge_cancels_cannot_be_edited(up: Up) -> None:
    parts = get(up, "/edit/upload-malware")
    assert "cannot be edited" in parts["why_not"]


@pytest.mark.parametrize(
    ("path", "given"),
    [
        ("/explain", []),
        ("/explain", {}),
        ("/try", {"case": "nothing"}),
        ("/try", {"case": CASE, "client": "X", "line": "", "fields": "", "texts": []}),
        ("/try", {"case": CASE, "client": "NONE", "line": 1, "fields": "", "texts": []}),
        ("/policy", {}),
        ("/policy", {"text": 1}),
        ("/do/apply", {}),
        ("/do/apply", {"text": 1}),
        ("/do/scenes", {"names": ["nothing"]}),
    ],
)
def test_wrong_parameters_are_refused(up: Up, path: str, given: object) -> None:
    assert post(up, path, given)[0] == 400


@pytest.mark.parametrize("path", ["/edit/registration", "/explain", "/try", "/policy"])
def test_each_request_needs_the_token(up: Up, path: str) -> None:
    for data in (None, b"{}"):
        assert up.request(path, {"X-Lab-Token": "wrong"}, data)[0] == 403


# The policy


@pytest.fixture
def policy(up: Up) -> Iterator[str]:
    """The text of the lab's policy. At the end, the bridge uses it again."""
    yield get(up, "/policy")["text"]
    post(up, "/do/reset", {})
    wait(up, edited=False)


def wait(up: Up, *, edited: bool) -> None:
    deadline = time.monotonic() + 60
    while get(up, "/policy")["edited"] is not edited:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_policy_of_the_lab_checks(up: Up, policy: str) -> None:
    said = post(up, "/policy", {"text": policy})[1]
    assert said["good"], said
    assert said["lines"][-1].startswith("0 problems, ")


def test_an_applied_policy_judges_the_next_request(up: Up, policy: str) -> None:
    given = edit(up, "policy-download", line="DELETE /SMS_MP/ HTTP/1.1", fields="")
    old = "connect: "
    begin = policy.index(old, policy.index("management-point:"))
    line = "extra_verbs: [{verb: DELETE, because: the class tries it}]"
    text = f"{policy[:begin]}{line}\n        {policy[begin:]}"
    assert post(up, "/do/apply", {"text": text})[0] == 202
    wait(up, edited=True)
    assert post(up, "/explain", given)[1]["decision"] == "ALLOW"
    assert sent(up, given)["paths"]["bridge"]["site_system_received"].startswith("DELETE /SMS_MP/")
    post(up, "/do/reset", {})
    wait(up, edited=False)
    assert sent(up, given)["paths"]["bridge"]["site_system_received"] == "nothing"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("mode: tunnel", "mode: nothing", "mode"),
        ("version: 1", "version: 1\nversion: 1", "duplicate key"),
        ("version: 1", "version: [", "not YAML"),
        ("pki/root.pem", "/etc/hostname", "leaves the lab"),
        ('listen: "127.0.0.1', 'listen: "0.0.0.0', "leaves the lab"),
    ],
)
def test_a_policy_that_does_not_check_changes_nothing(
    up: Up, policy: str, old: str, new: str, sentence: str
) -> None:
    assert old in policy
    text = policy.replace(old, new, 1)
    said = post(up, "/policy", {"text": text})[1]
    assert not said["good"]
    assert said["lines"][0].startswith("bridge.yaml:")
    assert sentence in said["lines"][0]
    assert said["lines"][-1].endswith("the policy was not loaded")
    assert post(up, "/do/apply", {"text": text})[0] == 202
    assert sent(up, edit(up))["paths"]["bridge"]["verdict"]["word"] == "PASSED"
    assert get(up, "/policy") == {"text": policy, "edited": False}


def test_a_change_that_a_reload_cannot_make_changes_nothing(up: Up, policy: str) -> None:
    text = policy.replace("version: 1", "version: 1\nuploads: {sessions: 7}", 1)
    assert post(up, "/policy", {"text": text})[1]["good"]
    assert post(up, "/do/apply", {"text": text})[0] == 202
    assert sent(up, edit(up))["paths"]["bridge"]["verdict"]["word"] == "PASSED"
    assert get(up, "/policy") == {"text": policy, "edited": False}


@pytest.mark.parametrize("text", ["a: &a [*a, *a, *a]", "[" * 20_000])
def test_a_policy_that_contains_itself_is_refused(up: Up, text: str) -> None:
    assert not post(up, "/policy", {"text": text})[1]["good"]


# Scenes


KERBEROS = ("krb5kdc", "kdb5_util", "kadmin.local", "kinit", "klist", "kvno", "setpriv", "gssapi")
NOT_SHOWN = {"site-server", *(scene.name for scene in USERS if needs.missing(KERBEROS))}
"""On loopback, and without MIT Kerberos."""


@pytest.mark.parametrize("name", SCENES)
def test_a_scene_ends_with_what_it_should_or_with_why_not(up: Up, name: str) -> None:
    before = get(up, "/scenes").get(name)
    assert post(up, "/do/scenes", {"names": [name]})[0] == 202
    deadline = time.monotonic() + 120
    while (run := get(up, "/scenes").get(name)) == before or not run["end"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    why_not = run["end"].startswith("This lab does not show it: ")
    assert why_not if name in NOT_SHOWN else run["end"] == GOOD, run
