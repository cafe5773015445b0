"""No export forgets a rule: it enforces each, with a comment, or lists it in its header."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ibcm_bridge.export.exported import Export
from ibcm_bridge.export.proxies import PROXIES, Proxy
from ibcm_bridge.export.rules import ExportRule, Extent
from ibcm_bridge.export.writing import Place
from ibcm_bridge.lab.cases.requirements import REQUIREMENTS

from .conftest import Load

NOT_FOR_A_PROXY = {
    "CLIENT-CONNECTION",
    "CLIENT-MODE",
    "CLIENT-PICK",
    "CLIENT-RESUME",
    "CLIENT-UPDATES",
    "NO-REMOTE-CONTROL",
    "ROLE-PRIMARY",
    "SITE-DOMAIN",
}
"""Requirements for clients, sites and site systems."""


def exported(proxy: Proxy, load: Load) -> Export:
    return proxy.export(load(), Place("bridge.yaml", "0123456789abcdef", Path("/files")))


@pytest.mark.parametrize("proxy", PROXIES.values(), ids=PROXIES)
def test_each_rule_has_a_statement(proxy: Proxy) -> None:
    assert list(proxy.statements) == list(ExportRule)
    for statement in proxy.statements.values():
        assert statement.sentence
        assert not statement.sentence.endswith(".")


@pytest.mark.parametrize("proxy", PROXIES.values(), ids=PROXIES)
def test_an_enforced_rule_has_a_comment(proxy: Proxy, load: Load) -> None:
    export = exported(proxy, load)
    body = export.text.partition("\n\n")[2]
    missing = [
        rule
        for rule, statement in proxy.statements.items()
        if statement.extent is not Extent.NO and f"[{rule.requirement}]" not in body
    ]
    assert missing == []


@pytest.mark.parametrize("proxy", PROXIES.values(), ids=PROXIES)
def test_every_other_rule_is_in_the_header(proxy: Proxy, load: Load) -> None:
    export = exported(proxy, load)
    header = " ".join(export.text.partition("\n\n")[0].replace("\n#", " ").split())
    limits = {limit.rule: limit for limit in export.not_enforced}
    for rule, statement in proxy.statements.items():
        assert (rule in limits) == (statement.extent is not Extent.YES)
        if rule in limits:
            assert f"[{rule.requirement}] {rule.text}" in header
            assert f"{statement.sentence}." in header


@pytest.mark.parametrize("proxy", PROXIES.values(), ids=PROXIES)
def test_windows_authentication_needs_a_leg_for_one_client(proxy: Proxy, load: Load) -> None:
    export = exported(proxy, load)
    left_out = [
        "catalog.internet.example/cmapplicationcatalog",
        "signin.internet.example/ccm_system_windowsauth",
        "signin.internet.example/sms_mp_windowsauth",
    ]
    directories = [place for place in export.left_out if "/" in place]
    assert directories == ([] if proxy.holds_legs else left_out)
    statement = proxy.statements[ExportRule.SIGN_IN]
    assert (statement.extent is Extent.YES) == proxy.holds_legs


def test_each_requirement_for_a_proxy_is_a_rule() -> None:
    assert {rule.requirement for rule in ExportRule} == REQUIREMENTS.keys() - NOT_FOR_A_PROXY


RESPONSE_FIELDS = (
    *("x-powered-by", "x-aspnet-version", "x-aspnetmvc-version", "alt-svc", "via", "refresh"),
    *("link", "clear-site-data", "strict-transport-security", "bits-host-id"),
    *("bits-host-id-fallback-timeout", "bits-reply-url", "content-location"),
)


@pytest.mark.parametrize("proxy", PROXIES.values(), ids=PROXIES)
def test_fields_about_a_site_system_are_removed(proxy: Proxy, load: Load) -> None:
    words = set(re.findall(r"[a-z-]+", exported(proxy, load).text.lower()))
    assert [field for field in RESPONSE_FIELDS if field not in words] == []
    assert proxy.statements[ExportRule.RESPONSE_FIELDS].extent is Extent.PART
