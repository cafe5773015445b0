"""The findings of `check` on revocation lists."""

import dataclasses
import datetime
from pathlib import Path

import pytest
from cryptography import x509

from ibcm_bridge.addons.tls.verification import verify_authority
from ibcm_bridge.commands.check.findings import Level
from ibcm_bridge.commands.check.policy import check_policy
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import ISSUING_CRL_URL, ROOT_CRL_URL
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy.trust import CrlFetch, Revocation, Trust
from tests.authentication.revocation_lists import scope
from tests.commands.check.policies import DAY, bad_findings, credential_of, with_


def test_a_clock_that_is_behind_is_reported(policy: Policy, now: datetime.datetime) -> None:
    assert any("check the clock" in finding.text for finding in bad_findings(policy, now - DAY))


def test_a_revocation_list_of_another_authority_is_a_problem(
    policy: Policy, pki: LabPki, now: datetime.datetime
) -> None:
    trust = Trust((pki.root,), (pki.issuing,), pki.crls())
    assert bad_findings(with_(policy, client_trust=trust), now) == []
    other = LabPki.make(now=now)
    forged = Trust((pki.root,), (pki.issuing,), other.crls())
    found = bad_findings(with_(policy, client_trust=forged), now)
    assert {finding.text.split(" ", 4)[4].split(" is ")[1] for finding in found} == {
        "not signed by a configured CA"
    }


@pytest.mark.parametrize(
    ("urls", "lacking"),
    [
        ((ROOT_CRL_URL,), "Lab Issuing CA"),
        ((ISSUING_CRL_URL,), "Lab Root CA"),
        ((ROOT_CRL_URL, ISSUING_CRL_URL), None),
        # The issuer of the second list is unknown.
        ((ROOT_CRL_URL, "http://other.internet.example/x.crl"), None),
    ],
)
def test_an_authority_without_a_fetched_list_is_a_problem(
    policy: Policy,
    pki: LabPki,
    now: datetime.datetime,
    tmp_path: Path,
    urls: tuple[str, ...],
    lacking: str | None,
) -> None:
    fetch = CrlFetch(urls, DAY, tmp_path)
    trust = Trust((pki.root,), (pki.issuing,), (), Revocation(fetch=fetch))
    credential = credential_of(pki.server("bridge.internet.example"))
    changed = with_(policy, client_trust=trust, credential=credential)
    problems = [
        finding.text for finding in bad_findings(changed, now) if "that are fetched" in finding.text
    ]
    assert len(problems) == (lacking is not None)
    assert all(f"no revocation list of CN={lacking}" in text for text in problems)


POINT = [x509.UniformResourceIdentifier("http://pki.internet.example/x.crl")]


@pytest.mark.parametrize(
    ("scopes", "level", "text"),
    [
        ([None], None, ""),
        ([scope(only_contains_user_certs=True)], None, ""),
        (
            [scope(full_name=POINT)],
            Level.WARNING,
            "covers only certificates that name the distribution point "
            "http://pki.internet.example/x.crl; other certificates are refused "
            "(revocation-unknown)",
        ),
        ([scope(full_name=POINT), None], None, ""),
        (
            [scope(only_contains_ca_certs=True)],
            Level.PROBLEM,
            "covers only CA certificates; all its client and site-system certificates are refused",
        ),
        (
            [scope(only_contains_ca_certs=True), scope(only_contains_user_certs=True)],
            None,
            "",
        ),
    ],
    ids=["all", "users", "point", "point-and-all", "authorities", "both"],
)
def test_a_list_that_does_not_cover_every_end_entity_is_reported(
    policy: Policy,
    pki: LabPki,
    now: datetime.datetime,
    scopes: list[x509.IssuingDistributionPoint | None],
    level: Level | None,
    text: str,
) -> None:
    issuing_lists = [
        pki.issuing_crl([], number, scope=scope) for number, scope in enumerate(scopes, 1)
    ]
    # The root's list only needs to cover authorities.
    root_list = pki._root.crl(
        (), 1, now - DAY, now + 7 * DAY, extensions=[(scope(only_contains_ca_certs=True), True)]
    )
    trust = Trust((pki.root,), (pki.issuing,), (root_list, *issuing_lists))
    found = [
        (finding.level, finding.text)
        for finding in bad_findings(with_(policy, client_trust=trust), now)
    ]
    if level is None:
        assert found == []
    else:
        name = pki.issuing.subject.rfc4514_string()
        assert found == [(level, f"the revocation list of {name} {text}")]


@pytest.mark.parametrize(
    ("seconds", "text"), [(90, "90 s"), (120, "2 min"), (43_200, "12 h"), (86_400, "1 d")]
)
def test_a_duration_is_shown_in_the_largest_unit_that_fits(
    policy: Policy, now: datetime.datetime, seconds: int, text: str
) -> None:
    publication = policy.listeners[0].publications["bridge.internet.example"]
    revocation = Revocation(grace=datetime.timedelta(seconds=seconds))
    trust = dataclasses.replace(publication.client_trust, revocation=revocation)
    found = check_policy(with_(policy, client_trust=trust), now, verify_authority)
    assert any(f"accepted for {text} after" in finding.text for finding in found)
