"""Messages for the author of a policy file: the line, the key, the problem and the correction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import pytest

from ibcm_bridge.policy_file.known_keys import Location, is_row, parts_at
from ibcm_bridge.policy_file.rows.policy import PolicyRow
from ibcm_bridge.policy_file.rows.values import Row
from ibcm_bridge.policy_file.wording import Misfit, in_words
from tests.policy_samples import MP, TRUST, WHY, Problems, bridge, plaintext, sample, tunnel


def role(keys: str) -> str:
    return bridge(f"{MP}:, {keys}")


# Each error at its place, with the correction


@pytest.mark.parametrize(
    ("publication", "at", "expected"),
    [
        # numbers and words that YAML converts
        (
            role("highest_tls: 1.2"),
            "roles.management-point.highest_tls",
            "invalid value; write '1.2' or '1.3', in quotes",
        ),
        (
            role("observed_headers: no"),
            "observed_headers",
            "YAML reads no as a boolean; write true or",
        ),
        (
            role("observed_headers: 'true'"),
            "observed_headers",
            "invalid value; write true or false",
        ),
        (
            tunnel(listen="1:30"),
            "listen",
            "YAML reads 1:30 as a number; write an address and a port number, "
            "such as '0.0.0.0:443'",
        ),
        (tunnel(listen="443"), "listen", "an address and a port number, such as '0.0.0.0:443'"),
        (
            tunnel(name="no"),
            "name",
            "YAML reads no as a boolean; write a fully qualified domain name, such as",
        ),
        (
            tunnel(name="5"),
            "name",
            "a fully qualified domain name, such as bridge.internet.example",
        ),
        (
            role("verify_name: 2026-01-01"),
            "verify_name",
            "YAML reads 2026-01-01 as a date; write a host",
        ),
        (tunnel(more="    public_port: '443'\n"), "public_port", "443, without quotes"),
        (
            tunnel(more="    public_port: https\n"),
            "public_port",
            "invalid value; write a port number",
        ),
        (bridge(MP).replace("crls:", "grace: 12, crls:", 1), "trust.grace", "such as 30m, 12h or"),
        (
            bridge(MP).replace("bridge-server.key", "bridge-server.key, pfx: 5", 1),
            "certificate.pfx",
            "invalid value; write text, in quotes",
        ),
        # keys and values, a list
        (
            bridge(MP).replace("key: pki", "passphrase: secret1, key: pki", 1),
            "certificate.passphrase",
            "never the passphrase itself, such as {file: bridge.pass} or {environment: BRIDGE_",
        ),
        (
            role("windows_authentication: true"),
            "windows_authentication",
            "invalid value; write keys and values, such as {because: user policy for laptops}",
        ),
        (role("extra_verbs: [PUT]"), "extra_verbs.0", "such as {verb: PUT, because: "),
        (
            role("extra_verbs: PUT"),
            "extra_verbs",
            "invalid value; write a list, such as [{verb: PUT, ",
        ),
        (bridge(MP, clients=""), "clients", "such as {trust: {anchors: [root.pem], crls: [root"),
        (bridge(MP, clients=""), "clients", "the value is empty; write"),
        (
            bridge(MP).replace("crls: [pki/root.crl, pki/issuing.crl]", "crls: pki/root.crl", 1),
            "trust.crls",
            "invalid value; write a list, such as [root.crl]",
        ),
        ("  - name\n", "publications.1", "such as {name: bridge.internet.example, mode: bridge"),
        # roles
        (
            bridge(MP).partition("    roles:")[0] + "    roles: [management-point]\n",
            "roles",
            "such as {management-point: {site_system: 'https://mp01.corp.example'}}",
        ),
        (
            bridge(MP).partition("{site")[0] + "mp01\n",
            f"roles.{MP}",
            "such as {site_system: 'https",
        ),
        (plaintext().partition("{site")[0] + "fsp\n", "point", "such as {site_system: 'http://fsp"),
        # addresses of site systems
        (
            bridge(MP).replace("ss.corp.example", "ss.corp.example/SMS_MP"),
            "site_system",
            "https://NAME:PORT, without a path",
        ),
        (
            bridge(MP).replace("ss.corp.example", "a b"),
            "site_system",
            "invalid value; write https://NAME or https://NAME:PORT",
        ),
        # unknown keys
        (role("conect: x"), "conect", "unknown key; did you mean connect?"),
        (role("Highest-TLS: x"), "Highest-TLS", "unknown key; did you mean highest_tls?"),
        (
            bridge(MP, more="    colour: x\n"),
            "colour",
            "unknown key; use one of name, mode, listen, public_port, without_sni, cert",
        ),
        (
            role(f"extra_headers: [{{colour: x, name: X, {WHY}}}]"),
            "colour",
            "use one of name, because",
        ),
        # the mode
        (
            bridge(MP).replace("mode: bridge", "mode: bridging"),
            "mode",
            "invalid value; write bridge, tunnel or",
        ),
    ],
)
def test_an_error_is_reported_at_its_place_with_the_correction(
    problems: Problems, publication: str, at: str, expected: str
) -> None:
    text = sample(tunnel("other.example", "127.0.0.1:8443"), publication)
    [(line, message)] = problems(text)
    place, _, words = message.partition(": ")
    assert place.startswith("publications.1")
    assert place.endswith(at)
    assert expected in words
    # The last key of the place, or the first line of its list.
    *_, key = (name for name in place.split(".") if not name.isdigit())
    assert key in text.splitlines()[line - 1] or key == "publications"


@pytest.mark.parametrize(
    ("head", "at", "expected"),
    [
        (
            "audit: {when_unwritable: no}",
            "audit.when_unwritable",
            "YAML reads no as a boolean; write refuse or continue",
        ),
        ("audit: audit.jsonl", "audit", "such as {file: audit.jsonl}"),
        ("audit: {fiel: x}", "audit.fiel", "unknown key; did you mean file?"),
        (
            "limits: {request_head: 32K}",
            "limits.request_head",
            "invalid value; write a whole number of bytes, such as 65536",
        ),
        (
            "limits: {idle_seconds: 5m}",
            "limits.idle_seconds",
            "invalid value; write a number of seconds, such as 120",
        ),
        (
            "uploads: {per_client_bytes: many}",
            "uploads.per_client_bytes",
            "invalid value; write a whole number of bytes",
        ),
        (
            "limits: {connections: '7'}",
            "limits.connections",
            "invalid value; write a whole number, such as 1000, without quotes",
        ),
        (
            "colour: x",
            "colour",
            "use one of version, audit, rules, engines, limits, messages",
        ),
        ("publication: []", "publication", "unknown key; did you mean publications?"),
    ],
)
def test_an_error_at_the_top_is_reported_with_the_correction(
    problems: Problems, head: str, at: str, expected: str
) -> None:
    [(line, message)] = problems(sample(tunnel(), head=f"version: 1\n{head}\npublications:\n"))
    assert line == 2
    assert message.startswith(f"{at}: ")
    assert expected in message


def locations(of: type[Row], start: Location = ()) -> Iterator[Location]:
    """The location of every key, at the first item of each list."""
    for key in (field.alias or name for name, field in of.model_fields.items()):
        yield (*start, key)
        for inner in ((*start, key), (*start, key, 0)):
            for row in filter(is_row, parts_at(inner)):
                yield inner
                is_publication = inner[1:] == (0,) and "mode" in row.model_fields
                modes = get_args(row.model_fields["mode"].annotation) if is_publication else ()
                yield from locations(row, (*inner, *modes))


@pytest.mark.parametrize("location", sorted(set(locations(PolicyRow)), key=str), ids=str)
def test_every_key_has_a_description_of_its_valid_values(location: Location) -> None:
    message = in_words(Misfit("missing", location, None, ""))
    problem, _, expected = message.partition("; write ")
    assert problem == "this key is missing"
    assert len(expected) > 3
    assert expected != "a list", "a list needs an example"


@pytest.mark.parametrize(
    ("head", "now"),
    [
        ("uploads: {largest: 65536}", "max_bytes"),
        ("uploads: {size: 67108864}", "max_total_bytes"),
        ("uploads: {of_client: 2}", "per_client_sessions"),
        ("uploads: {client_size: 67108864}", "per_client_bytes"),
        ("limits: {held_bytes: 16777216}", "buffered_bytes"),
    ],
)
def test_a_key_of_an_earlier_version_is_refused_with_the_known_keys(
    problems: Problems, head: str, now: str
) -> None:
    [(_, message)] = problems(sample(tunnel(), head=f"version: 1\n{head}\npublications:\n"))
    assert ": unknown key; use one of " in message
    assert f" {now}," in message


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the value is empty"),
        ("just text", "invalid value"),
        ("[]", "a list is not allowed here"),
    ],
)
def test_a_file_that_is_not_a_policy_is_reported(
    problems: Problems, text: str, problem: str
) -> None:
    [(_, message)] = problems(text)
    assert message == f"{problem}; write version: 1 and publications"


# YAML


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("anchors: [pki/root.pem]", "anchors: [gone.pem]", "trust.anchors.0: "),
        ("anchors: [pki/root.pem]", "anchors: 5", "trust.anchors: invalid value; write a list"),
        ("anchors: [", "colour: red, anchors: [", "trust.colour: unknown key"),
        ("anchors: [pki/root.pem], ", "", "trust.anchors: this key is missing"),
        ("crls: [pki/root.crl, ", "crls: [", "trust.crls: no revocation list of"),
        ("anchors: [", "grace: 1:30, anchors: [", "trust.grace: YAML reads 1:30 as a number"),
    ],
)
def test_an_error_behind_an_alias_is_reported_once_at_its_anchor(
    problems: Problems, old: str, new: str, expected: str
) -> None:
    both = bridge(MP, clients="{trust: *pki}", name="b.example")
    both = both.replace(f"trust: {TRUST}", "trust: *pki")
    shared = bridge(MP, clients="{trust: *pki}").replace("trust: {", "trust: &pki {")
    text = sample(shared.replace(old, new, 1), both)
    [(line, message)] = problems(text)
    assert message.startswith(f"publications.0.site_systems.{expected}")
    assert "&pki" in text.splitlines()[line - 1]


def test_a_merge_key_is_one_problem_without_missing_keys(problems: Problems) -> None:
    text = sample(
        "  - &a\n" + tunnel().replace("  - ", "    "), "  - <<: *a\n    name: u.example\n"
    )
    [(line, message)] = problems(text)
    assert message.startswith(
        "publications.1: merge keys (<<) are not supported; write the keys out"
    )
    assert "<<" in text.splitlines()[line - 1]


def test_a_windows_path_in_double_quotes_is_reported(problems: Problems) -> None:
    text = sample(bridge(MP).replace("key: pki/bridge-server.key", 'key: "C:\\bridge.key"', 1))
    [(_, message)] = problems(text)
    assert message.startswith("publications.0.certificate.key: control character; in double quotes")
    assert message.endswith("write paths in single quotes, or with / between folders")


@pytest.mark.parametrize("key", ['"a\\eb"', '"\\x9b"', '"\\u202e"', '"\\n"'])
def test_messages_have_no_control_characters(problems: Problems, key: str) -> None:
    for text in (f"{key}: 1\n", f"version: 1\nrules: [{key}]\n", f"version: {key}\n"):
        assert all(message.isprintable() for _, message in problems(text))
