"""Several site systems for a role, and several addresses for a tunnel."""

from __future__ import annotations

import pytest

from ibcm_bridge.commands.check.publications import publication_text
from ibcm_bridge.policy.publications import PlaintextListener, TunnelPublication
from ibcm_bridge.policy.site_systems import Order, SiteSystem, SiteSystems
from ibcm_bridge.policy.tls_settings import TlsSettings, TlsVersion
from tests.policy_file.conftest import Load
from tests.policy_samples import MP, Problems, bridge, plaintext, published, sample, tunnel

ONE = "site_system: https://ss.corp.example"
A, B = "{site_system: https://mp01.corp.example}", "{site_system: https://MP02.corp.example}"


def several(*items: str, keys: str = "") -> str:
    text = sample(bridge(MP + ":" + keys))
    assert ONE in text
    return text.replace(ONE, f"site_system: [{', '.join(items)}]")


def site_systems(load: Load, text: str) -> SiteSystems:
    return published(load(text)).directories["sms_mp"].site_systems


def test_each_item_has_its_own_address_name_and_tls(load: Load) -> None:
    other = "{site_system: 'https://mp02.corp.example:8443', connect: 192.0.2.7:443, "
    other += "verify_name: Real.corp.example, highest_tls: '1.2'}"
    found = site_systems(load, several(A, other))
    assert found.order is Order.AS_LISTED
    assert found.listed == (
        SiteSystem(("mp01.corp.example", 443), "mp01.corp.example", "mp01.corp.example"),
        SiteSystem(
            ("192.0.2.7", 443),
            "mp02.corp.example",
            "real.corp.example",
            TlsSettings(TlsVersion.TLS_1_2),
        ),
    )
    assert found.names == {"mp01.corp.example", "mp02.corp.example", "real.corp.example"}


def test_the_order_can_depend_on_the_client(load: Load) -> None:
    policy = load(several(A, B, keys=", order: by-client"))
    found = published(policy).directories["sms_mp"].site_systems
    assert found.order is Order.BY_CLIENT
    text = "management-point at mp01.corp.example or mp02.corp.example (by client)"
    assert text in publication_text(published(policy))


def test_one_site_system_is_as_before(load: Load) -> None:
    found = site_systems(load, sample(bridge(MP)))
    assert [each.name for each in found.listed] == ["ss.corp.example"]
    assert site_systems(load, several(A)).listed[0].name == "mp01.corp.example"


def test_the_internal_domains_are_those_of_all(load: Load) -> None:
    other = "{site_system: https://mp02.branch.example.net}"
    domains = load(several(A, other)).messages.internal_domains
    assert domains == {"corp.example", "branch.example.net"}


def test_a_plaintext_role_and_a_tunnel_may_have_several(load: Load) -> None:
    shown = "{site_system: http://fsp01.corp.example}, {site_system: http://fsp02.corp.example}"
    plain = plaintext().replace("http://fsp.corp.example", f"[{shown}]")
    [listener] = load(sample(plain)).listeners
    assert isinstance(listener, PlaintextListener)
    listed = listener.publication.directories["sms_fsp"].site_systems.listed
    assert [each.name for each in listed] == ["fsp01.corp.example", "fsp02.corp.example"]
    text = sample(tunnel().replace("192.0.2.1:443", "[192.0.2.1:443, 'mp02.corp.example:443']"))
    (found,) = (each for _, each in load(text).publications())
    assert isinstance(found, TunnelPublication)
    assert found.site_systems == (("192.0.2.1", 443), ("mp02.corp.example", 443))
    assert "tunneled to 192.0.2.1:443 or mp02.corp.example:443" in publication_text(found)


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        (several(), "site_system", "must not be empty; add at least one item"),
        (
            several("https://mp01.corp.example"),
            "site_system.0",
            "invalid value; write keys and values, such as {site_system: 'https://mp01",
        ),
        (
            several(A, "{site_system: http://mp02.corp.example}"),
            "site_system.1.site_system",
            "invalid value; write https://NAME or https://NAME:PORT",
        ),
        (several(A, "{connect: 'h:1'}"), "site_system.1.site_system", "this key is missing"),
        (
            several(A, "{site_system: https://b.example, verify_nam: x}"),
            "site_system.1.verify_nam",
            "unknown key; did you mean verify_name?",
        ),
        (
            several(A, A),
            "site_system.1.site_system",
            "mp01.corp.example is already in the list; write each site system's own name here, "
            "and in verify_name the name in its certificate",
        ),
        (
            several(A, B, keys=", connect: '192.0.2.1:443'"),
            "connect",
            "write it in each item of site_system, which is a list",
        ),
        (
            several(A, B, keys=", highest_tls: '1.2'"),
            "highest_tls",
            "write it in each item of site_system, which is a list",
        ),
        (
            sample(bridge(MP + ":, order: by-client")),
            "order",
            "order is for a list in site_system; remove it",
        ),
        (several(A, B, keys=", order: random"), "order", "invalid value; write as-listed or by-"),
        (several(A).replace(f"[{A}]", A), "site_system", "keys and values are not allowed here"),
    ],
)
def test_a_list_that_does_not_fit_is_reported_where_it_is_wrong(
    problems: Problems, text: str, place: str, problem: str
) -> None:
    ((_, message),) = problems(text)
    assert message.startswith(f"publications.0.roles.management-point.{place}: {problem}")


def test_a_tunnel_has_each_address_once(problems: Problems) -> None:
    text = sample(tunnel().replace("192.0.2.1:443", "['h.example:1', 'h.example:1']"))
    ((_, message),) = problems(text)
    assert message == "publications.0.site_system.1: h.example:1 is already in the list; remove it"
