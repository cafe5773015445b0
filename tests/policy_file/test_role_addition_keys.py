"""Additions to a role in a policy file, and the messages for those that are not allowed."""

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
        # reasons
        (
            "extra_verbs: [{verb: PUT}]",
            "extra_verbs.0.because: this key is missing; write a reason",
        ),
        (
            "extra_headers: [{name: X-Y}]",
            "extra_headers.0.because: this key is missing; write a reason",
        ),
        (
            "extra_paths: [{directory: x, path: y, verbs: [GET]}]",
            "extra_paths.0.because: this key is missing; write a reason",
        ),
        (
            "extra_verbs: [{verb: PUT, because: short}]",
            "because: invalid value; write a reason of 8 to 500 characters",
        ),
        # verbs
        *(
            (verb(name), f"extra_verbs.0.verb: {name} is never published")
            for name in ("TRACE", "trace", "CONNECT", "TRACK", "DEBUG", "PRI")
        ),
        (verb("GET"), "GET is already a verb of management-point"),
        (verb("get"), "GET is already a verb of management-point"),
        (verb("'G ET'"), "verb: invalid value; write a verb, such as GET"),
        (
            verb("PUT", "body: anything, "),
            "extra_verbs.0.body: invalid kind of body; write one of none, ccm-message",
        ),
        (
            verb("PUT", "body: bits-upload, "),
            "extra_verbs.0.body: invalid kind of body; write one of none",
        ),
        (
            f"extra_verbs: [{{verb: PUT, {WHY}}}, {{verb: put, body: soap, {WHY}}}]",
            "extra_verbs.1.verb: PUT is already a verb of management-point",
        ),
        # headers
        *(
            (header(name), f"{name} is never forwarded (framing, hop-by-hop, proxy)")
            for name in (
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
        (
            header("Authorization"),
            "Authorization is never an extra header; write windows_authentication",
        ),
        (
            header("authorization"),
            "Authorization is never an extra header; write windows_authentication",
        ),
        (
            header("'a b'"),
            "extra_headers.0.name: invalid value; write a field name, such as SOAPAction",
        ),
        # paths
        *(
            (
                path("x", directory=name),
                f"/{name} has no client authentication and is never published",
            )
            for name in (
                "CCM_STS",
                "ccm_system_altauth",
                "SMS_MP_TokenAuth",
                "NOCERT_SMS_DP_SMSPKG$",
            )
        ),
        *(
            (path(name), f"{name} is a content library and is never published")
            for name in ("Datalib", "FILELIB/.*")
        ),
        (
            path("x", directory="'a/b'"),
            "directory: invalid value; write the whole first segment of a path",
        ),
        (path("x", verbs="PUT"), "PUT is not a verb of this role; add it to extra_verbs"),
        (path("x", verbs="get"), "get is not a verb of this role; add it to extra_verbs"),
        (path("x", verbs=""), "extra_paths.0.verbs: must not be empty"),
        (path("/x"), "path: starts with a slash"),
        (path("x", more="query: '?a=b', "), "query: starts with a question mark"),
        (path("("), "extra_paths.0.path: not a regular expression"),
        (path("x", more="query: '[', "), "extra_paths.0.query: not a regular expression"),
        (path("{CONTNT}"), "unknown name {CONTNT}; use one of CONTENT, NAME, AUTHORITY, GUID"),
        (path("(a+)+"), "extra_paths.0.path: a client could cause very long matching times"),
        (
            path("x", more="query: '.*.*x', "),
            "query: a client could cause very long matching times",
        ),
        (path("a" * 513), "extra_paths.0.path: longer than 512 characters"),
        (path("(?=x)"), "look-ahead or look-behind, (?=...) or (?<=...), is not supported"),
    ],
)
def test_an_addition_that_is_not_allowed_is_reported(
    problems: Problems, keys: str, message: str
) -> None:
    [(line, problem)] = problems(sample(bridge(f"{MP}:, {keys}")))
    assert message in problem
    assert problem.startswith("publications.0.roles.management-point.")
    assert line > 10


def test_additions_are_in_the_role_with_their_reasons(load: Load) -> None:
    keys = (
        f"{verb('PUT', 'body: webdav, ')}, {header('X-Custom')}, "
        + path("[A-Z]+/{GUID}", "GET, PUT", "Reports", "query: 'v=[0-9]+', ")
        + f", windows_authentication: {{{WHY}}}, observed_headers: false"
    )
    role = published(load(sample(bridge(f"{MP}:, {keys}")))).directories["reports"]
    profile = role.profile
    assert profile.bodies[b"PUT"].name == "webdav"
    assert b"x-custom" in profile.headers
    assert profile.directories["ccm_system_windowsauth"].authenticates_users
    assert b"clienttoken" not in profile.headers
    [resource] = profile.directories["reports"].resources
    assert resource.matches("abc/11111111-2222-3333-4444-555555555555", "V=12")
    assert not resource.matches("abc/11111111-2222-3333-4444-555555555555", None)
    assert not profile.directories["ccm_system_windowsauth"].resources[0].refused
    assert len(role.additions) == 4
    assert all(addition.because == "the tests want it" for addition in role.additions)
    texts = [addition_text(addition) for addition in role.additions]
    assert texts == [
        "added verb PUT, because: the tests want it",
        "added header field X-Custom, because: the tests want it",
        "added path /Reports/[A-Z]+/{GUID} for GET, PUT, because: the tests want it",
        "Windows authentication is allowed, because: the tests want it",
    ]
