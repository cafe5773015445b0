"""What clients show of a refusal is said by role, with a source or as inferred."""

from __future__ import annotations

import copy
from importlib.resources import files
from typing import Any

import pytest
import yaml

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.decisions.refusals import REFUSALS
from ibcm_bridge.decisions.role_clients import Doing, RoleClient
from ibcm_bridge.policy_file import shipped_clients, shipped_roles
from ibcm_bridge.policy_file.tables.clients import read_client_table

CLIENTS = shipped_clients()
OF_BITS = {"management-point", "distribution-point"}
"""Those whose clients have BITS."""


@pytest.mark.parametrize("client", CLIENTS.roles.values(), ids=CLIENTS.roles.keys())
@pytest.mark.parametrize("reason", Reason)
def test_every_refusal_is_shown_by_the_client_of_every_role(
    client: RoleClient, reason: Reason
) -> None:
    row = REFUSALS[reason]
    text = client.shows(row)
    assert text.startswith(f"{client.log}: ")
    assert "{" not in text
    if row.status is not None:
        assert str(row.status.value) in text
        assert ("0x80244" in text) is (client.role == "software-update-point")
    if not row.is_upload:
        # No other client sends uploads.
        assert client.does(row.next_step).startswith(f"{row.next_step.short}: ")
    for words in (text, client.does(row.next_step)):
        assert ("CcmMessaging" in words) <= (client.role == "management-point")
        if not row.is_upload:
            assert ("BITS" in words) <= (client.role in OF_BITS)


@pytest.mark.parametrize(
    "doing",
    [
        pytest.param(doing, id=f"{role}, {step.short}")
        for role, client in CLIENTS.roles.items()
        for step, doing in client.steps.items()
    ],
)
def test_what_is_known_of_a_client_has_its_source_and_the_rest_is_called_inferred(
    doing: Doing,
) -> None:
    assert bool(doing.confirmed) is bool(doing.source)
    assert doing.source.startswith(("Microsoft, ", "[MC-BUP] ")) or not doing.source
    assert doing.text.count("(confirmed)") == bool(doing.confirmed)
    assert doing.text.count("(inferred)") == bool(doing.inferred)
    assert doing.confirmed.startswith("BITS ") or not doing.confirmed, "nothing else is documented"


def test_an_upload_is_told_with_the_error_of_bits() -> None:
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
def test_whose_client_asks_is_said_by_the_path_else_by_the_publication(
    target: str, roles: list[str]
) -> None:
    published = ("management-point", "distribution-point")
    assert sorted(one.role for one in CLIENTS.asking(target, published)) == roles
    unknown = [one.role for one in CLIENTS.asking(target)]
    assert sorted(unknown) == (roles if len(roles) == 1 else sorted(CLIENTS.roles))


def test_a_directory_is_asked_for_by_the_clients_of_one_role() -> None:
    known = [name for one in CLIENTS.roles.values() for name in one.directories]
    assert len(known) == len({*known})
    assert shipped_roles().never.directories <= {*known}, "clients try them by themselves"


def shipped() -> dict[str, Any]:
    read = yaml.safe_load(files("ibcm_bridge.config").joinpath("clients.yaml").read_text("utf-8"))
    assert isinstance(read, dict)
    return copy.deepcopy(read)


@pytest.mark.parametrize(
    ("at", "value", "error"),
    [
        (("policy-module",), None, "not one row for each"),
        (("enrollment-proxy-point",), {}, "not one row for each"),
        (("policy-module", "logs"), "x", r"policy-module has no \['logs'\]"),
        (("policy-module", "next"), {"gives up": {"inferred": "x"}}, "tries again"),
        (("policy-module", "next"), {"any": {}}, "something is said"),
        (("policy-module", "next"), {"any": {"confirmed": "x"}}, "has its source"),
        (("policy-module", "next", "goes on"), {"inferred": "x"}, "policy-module/next has no"),
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
