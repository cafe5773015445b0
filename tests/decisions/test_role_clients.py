"""Each role has the log entries and next steps of its clients, with a source or as inferred."""

from __future__ import annotations

import copy
from importlib.resources import files
from typing import Any

import pytest
import yaml

from ibcm_bridge.decisions.client_reaction import NextStep
from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.decisions.refusals import REFUSALS
from ibcm_bridge.decisions.role_clients import ANY, Reaction, RoleClient
from ibcm_bridge.policy_file import shipped_clients, shipped_roles
from ibcm_bridge.policy_file.tables.clients import read_client_table

CLIENTS = shipped_clients()
OF_BITS = {"management-point", "distribution-point"}
"""The roles whose clients use BITS."""


@pytest.mark.parametrize("client", CLIENTS.roles.values(), ids=CLIENTS.roles.keys())
@pytest.mark.parametrize("reason", Reason)
def test_the_client_of_every_role_shows_every_refusal(client: RoleClient, reason: Reason) -> None:
    row = REFUSALS[reason]
    text = client.shows(row)
    assert text.startswith(f"{client.log}: ")
    assert "{" not in text
    if row.status is not None:
        assert str(row.status.value) in text
        assert ("0x80244" in text) is (client.role == "software-update-point")
    if not row.is_upload:
        # No other client sends uploads.
        assert client.does("GET", row.next_step) == client.steps[ANY][row.next_step].text
    for words in (text, client.does("GET", row.next_step)):
        assert ("CcmMessaging" in words) <= (client.role == "management-point")
        if not row.is_upload:
            assert ("BITS" in words) <= (client.role in OF_BITS)


@pytest.mark.parametrize(
    "reaction",
    [
        pytest.param(reaction, id=f"{role}, {verb}, {step.short}")
        for role, client in CLIENTS.roles.items()
        for verb, steps in client.steps.items()
        for step, reaction in steps.items()
    ],
)
def test_a_confirmed_reaction_has_a_source_and_any_other_is_marked_inferred(
    reaction: Reaction,
) -> None:
    assert bool(reaction.confirmed) is bool(reaction.source)
    assert reaction.source.startswith(("Microsoft, ", "[MC-BUP] ")) or not reaction.source
    assert reaction.text.count("(confirmed)") == bool(reaction.confirmed)
    assert reaction.text.count("(inferred)") == bool(reaction.inferred)
    assert reaction.confirmed.startswith("BITS ") or not reaction.confirmed, (
        "nothing else is documented"
    )


@pytest.mark.parametrize("step", [NextStep.GIVES_UP, NextStep.TRIES_AGAIN])
def test_the_next_step_is_that_of_the_verb(step: NextStep) -> None:
    client = CLIENTS.roles["management-point"]
    message, upload = client.does("CCM_POST", step), client.does("BITS_POST", step)
    assert "is sent again until it expires" in message
    assert "BITS" not in message
    for words in (upload, client.does("GET", step), client.does("DELETE", step)):
        assert words.startswith("BITS ")
        assert "sent again" not in words
        assert "queue" not in words
    assert "download" not in upload


def test_the_log_entry_of_an_upload_has_the_bits_error() -> None:
    client = CLIENTS.roles["management-point"]
    assert client.shows(REFUSALS[Reason.UPLOAD_SESSION]) == (
        "CcmMessaging.log: HTTP status 500 for the upload, BITS error 0x8020001F"
    )
    assert client.shows(REFUSALS[Reason.UPLOAD_GAP]).endswith("HTTP status 416 for the upload")


@pytest.mark.parametrize(
    ("target", "roles"),
    [
        ("/SMS_MP/.sms_aut?MPLIST", ["management-point"]),
        ("/ccm_system_windowsauth/request", ["management-point"]),
        ("/ccm_system_altauth/request", ["management-point"]),
        ("/SMS_DP_SMSPKG%24/x", ["distribution-point"]),
        ("/ClientWebService", ["software-update-point"]),
        ("/certsrv/mscep/mscep.dll?operation=GetCACaps", ["policy-module"]),
        ("/", ["distribution-point", "management-point"]),
        ("*", ["distribution-point", "management-point"]),
        ("/SMS_MPx/", ["distribution-point", "management-point"]),
    ],
)
def test_the_directory_determines_the_client_else_the_publication_does(
    target: str, roles: list[str]
) -> None:
    published = ("management-point", "distribution-point")
    assert sorted(client.role for client in CLIENTS.requesting(target, published)) == roles
    unknown = [client.role for client in CLIENTS.requesting(target)]
    assert sorted(unknown) == (roles if len(roles) == 1 else sorted(CLIENTS.roles))


def test_the_clients_of_one_role_only_request_a_directory() -> None:
    known = [name for client in CLIENTS.roles.values() for name in client.directories]
    assert len(known) == len({*known})
    assert shipped_roles().never.directories <= {*known}, "clients try them by themselves"


def shipped() -> dict[str, Any]:
    read = yaml.safe_load(files("ibcm_bridge.config").joinpath("clients.yaml").read_text("utf-8"))
    assert isinstance(read, dict)
    return copy.deepcopy(read)


@pytest.mark.parametrize(
    ("at", "value", "error"),
    [
        (("policy-module",), None, "one row for each"),
        (("enrollment-proxy-point",), {}, "one row for each"),
        (("policy-module", "logs"), "x", r"policy-module: unknown keys \['logs'\]"),
        (("policy-module", "next", "any"), {"gives up": {"inferred": "x"}}, "tries again"),
        (("policy-module", "next", "any"), {"any": {}}, "or `inferred`"),
        (("policy-module", "next", "any"), {"any": {"confirmed": "x"}}, "with its `source`"),
        (("policy-module", "next", "any"), None, r"must have \['any'\]"),
        (("policy-module", "next", "PUT"), {}, r"unknown keys \['PUT'\]"),
        (("management-point", "next", "BITS_POST"), None, r"must have \['BITS_POST', 'any'\]"),
        (
            ("policy-module", "next", "any", "goes on"),
            {"inferred": "x"},
            "policy-module/next: unknown keys",
        ),
        (("software-update-point", "errors", "other"), None, "other"),
    ],
)
def test_a_mistake_in_the_table_is_a_defect(at: tuple[str, ...], value: object, error: str) -> None:
    data = shipped()
    *path, last = at
    place = data
    for name in path:
        place = place[name]
    place[last] = value
    if value is None:
        del place[last]
    with pytest.raises((ValueError, KeyError), match=error):
        read_client_table(data, shipped_roles())
