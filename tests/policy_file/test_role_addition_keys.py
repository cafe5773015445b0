"""What a policy file adds to a role, as it is written: what it cannot add is told in words."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ibcm_bridge.commands.check.publications import addition_text
from ibcm_bridge.policy.policy import Policy
from tests.policy_samples import (
    MP,
    WHY,
    Problems,
    bridge,
    published,
    sample,
)

Load = Callable[[str], Policy]


def verb(text: str, body: str = "") -> str:
    return f"extra_verbs: [{{verb: {text}, {body}{WHY}}}]"


def header(text: str) -> str:
    return f"extra_headers: [{{name: {text}, {WHY}}}]"


def path(text: str, verbs: str = "GET", directory: str = "SMS_MP", more: str = "") -> str:
    return (
        f"extra_paths: [{{directory: {directory}, path: '{text}', verbs: [{verbs}], {more}{WHY}}}]"
    )


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        # why
        ("extra_verbs: [{verb: PUT}]", "extra_verbs.0.because: say why, in words"),
        ("extra_headers: [{name: X-Y}]", "extra_headers.0.because: say why, in words"),
        (
            "extra_paths: [{directory: x, path: y, verbs: [GET]}]",
            "extra_paths.0.because: say why, in words",
        ),
        (
            "extra_verbs: [{verb: PUT, because: short}]",
            "because: say why, in words of 8 to 500 characters",
        ),
        # verbs
        *(
            (verb(one), f"extra_verbs.0.verb: {one} is never published")
            for one in ("TRACE", "trace", "CONNECT", "TRACK", "DEBUG", "PRI")
        ),
        (verb("GET"), "GET is a verb of management-point already"),
        (verb("get"), "GET is a verb of management-point already"),
        (verb("'G ET'"), "verb: a verb, such as GET"),
        (verb("PUT", "body: anything, "), "extra_verbs.0.body: a kind of body: none, ccm-message"),
        (verb("PUT", "body: bits-upload, "), "extra_verbs.0.body: a kind of body: none"),
        (
            f"extra_verbs: [{{verb: PUT, {WHY}}}, {{verb: put, body: soap, {WHY}}}]",
            "extra_verbs.1.verb: PUT is a verb of management-point already",
        ),
        # headers
        *(
            (header(one), f"{one} is never sent on (framing, hop-by-hop, forwarding)")
            for one in (
                "Transfer-Encoding",
                "transfer_encoding",
                "X-Forwarded-For",
                "X-Forwarded-Anything",
                "X_Forwarded_For",
                "Forwarded",
                "Via",
                "Connection",
                "Upgrade",
                "Content-Encoding",
                "X-HTTP-Method-Override",
                "X-Original-URL",
                "X-ARR-ClientCert",
                "Client-Cert",
                "Proxy-Authorization",
            )
        ),
        (header("Authorization"), "Authorization is sent on by windows_authentication"),
        (header("authorization"), "Authorization is sent on by windows_authentication"),
        (header("'a b'"), "extra_headers.0.name: a field name, such as SOAPAction"),
        # paths
        *(
            (path("x", directory=one), f"/{one} answers without a client certificate")
            for one in (
                "CCM_STS",
                "ccm_system_altauth",
                "SMS_MP_TokenAuth",
                "NOCERT_SMS_DP_SMSPKG$",
            )
        ),
        *(
            (path(one), f"{one} is a content library and is never published")
            for one in ("Datalib", "FILELIB/.*")
        ),
        (path("x", directory="'a/b'"), "directory: the whole first segment of a path"),
        (path("x", verbs="PUT"), "PUT is not a verb of this role; extra_verbs can add it"),
        (path("x", verbs="get"), "get is not a verb of this role; extra_verbs can add it"),
        (path("x", verbs=""), "extra_paths.0.verbs: this must not be empty"),
        (path("/x"), "without the slash at its beginning"),
        (path("x", more="query: '?a=b', "), "query: without the question mark"),
        (path("("), "extra_paths.0.path: not a regular expression"),
        (path("x", more="query: '[', "), "extra_paths.0.query: not a regular expression"),
        (path("{CONTNT}"), "there is no {CONTNT}; there are CONTENT, NAME, AUTHORITY, GUID"),
        (path("(a+)+"), "extra_paths.0.path: a client could make this take very long"),
        (path("x", more="query: '.*.*x', "), "query: a client could make this take very long"),
        (path("a" * 513), "extra_paths.0.path: longer than 512 characters"),
        (path("(?=x)"), "look-ahead or look-behind, (?=...) or (?<=...), is not for patterns"),
    ],
)
def test_what_a_policy_cannot_add_is_refused_in_words(
    problems: Problems, keys: str, message: str
) -> None:
    [(line, told)] = problems(sample(bridge(f"{MP}:, {keys}")))
    assert message in told
    assert told.startswith("publications.0.roles.management-point.")
    assert line > 10


def test_what_a_policy_adds_is_there_and_its_reasons_are_kept(load: Load) -> None:
    keys = (
        f"{verb('PUT', 'body: webdav, ')}, {header('X-Custom')}, "
        + path("[A-Z]+/{GUID}", "GET, PUT", "Reports", "query: 'v=[0-9]+', ")
        + f", windows_authentication: {{{WHY}}}, observed_headers: false"
    )
    role = published(load(sample(bridge(f"{MP}:, {keys}")))).directories["reports"]
    profile = role.profile
    assert profile.bodies[b"PUT"].name == "webdav"
    assert {b"x-custom", b"authorization"} <= profile.headers
    assert b"clienttoken" not in profile.headers
    [resource] = profile.directories["reports"].resources
    assert resource.has("abc/11111111-2222-3333-4444-555555555555", "V=12")
    assert not resource.has("abc/11111111-2222-3333-4444-555555555555", None)
    assert not profile.directories["ccm_system_windowsauth"].resources[0].refused
    assert len(role.additions) == 4
    assert all(addition.because == "the tests want it" for addition in role.additions)
    texts = [addition_text(addition) for addition in role.additions]
    assert texts == [
        "the verb PUT is added, because: the tests want it",
        "the header X-Custom is added, because: the tests want it",
        "/Reports/[A-Z]+/{GUID} is added for GET, PUT, because: the tests want it",
        "Windows authentication passes, because: the tests want it",
    ]
