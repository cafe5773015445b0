"""What a policy file's author reads: which line, which key, and what to write instead."""

from __future__ import annotations

import pytest

from tests.policy_samples import MP, TRUST, WHY, Problems, bridge, plaintext, sample, tunnel


def role(keys: str) -> str:
    return bridge(f"{MP}:, {keys}")


# Each mistake, at its place, with what to write


@pytest.mark.parametrize(
    ("publication", "at", "told"),
    [
        # numbers and words that YAML takes for something else
        (
            role("highest_tls: 1.2"),
            "roles.management-point.highest_tls",
            '"1.2" or "1.3" is wanted here, in quotes',
        ),
        (role("observed_headers: no"), "observed_headers", "YAML reads no as a boolean; true or"),
        (role("observed_headers: 'true'"), "observed_headers", "true or false is wanted here"),
        (
            tunnel(listen="1:30"),
            "listen",
            'YAML reads 1:30 as a number; an address and a port number, such as "0.0.0.0:443"',
        ),
        (tunnel(listen="443"), "listen", 'an address and a port number, such as "0.0.0.0:443"'),
        (tunnel(name="no"), "name", "YAML reads no as a boolean; a host name, such as"),
        (tunnel(name="5"), "name", "a host name, such as bridge.internet.example"),
        (role("verify_name: 2026-01-01"), "verify_name", "YAML reads 2026-01-01 as a date; a host"),
        (tunnel(more="    public_port: '443'\n"), "public_port", "443, without quotes"),
        (tunnel(more="    public_port: https\n"), "public_port", "a port number is wanted here"),
        (bridge(MP).replace("crls:", "grace: 12, crls:", 1), "trust.grace", "such as 30m, 12h or"),
        (bridge(MP).replace("bridge-server.key", "bridge-server.key, pfx: 5", 1),
         "certificate.pfx", "text is wanted here: put it in quotes"),
        # keys and values, a list
        (
            bridge(MP).replace("key: pki", "passphrase: secret1, key: pki", 1),
            "certificate.passphrase",
            "such as {file: bridge.pass} or {environment: BRIDGE_PASS}, and never a passphrase",
        ),
        (
            role("windows_authentication: true"),
            "windows_authentication",
            "keys and values are wanted here, such as {because: user policy for laptops}",
        ),
        (role("extra_verbs: [PUT]"), "extra_verbs.0", "such as {verb: PUT, because: "),
        (role("extra_verbs: PUT"), "extra_verbs", "a list is wanted here: [PUT]"),
        (bridge(MP, clients=""), "clients", "such as {trust: {anchors: [root.pem], crls: [root"),
        (bridge(MP, clients=""), "clients", "is it empty?"),
        (bridge(MP).replace("crls: [pki/root.crl, pki/issuing.crl]", "crls: pki/root.crl", 1),
         "trust.crls", "a list is wanted here: [pki/root.crl]"),
        ("  - name\n", "publications.1", "such as {name: bridge.internet.example, mode: bridge"),
        # roles
        (
            bridge(MP).partition("    roles:")[0] + "    roles: [management-point]\n",
            "roles",
            "such as {management-point: {site_system: https://mp01.corp.example}}",
        ),
        (
            bridge(MP).partition("    roles:")[0] + "    roles: [enrollment-proxy-point]\n",
            "roles",
            "enrollment-proxy-point: this role cannot be published with mode: bridge, only with",
        ),
        (
            bridge(MP).partition("    roles:")[0] + "    roles: [x]\n",
            "roles",
            "x: not a site system role that is known",
        ),
        (bridge(MP).partition("{site")[0] + "mp01\n", f"roles.{MP}", "such as {site_system: https"),
        (plaintext().partition("{site")[0] + "fsp\n", "point", "such as {site_system: http://fsp"),
        # addresses of site systems
        (
            bridge(MP).replace("ss.corp.example", "ss.corp.example/SMS_MP"),
            "site_system",
            "and no path: leave /SMS_MP out",
        ),
        (bridge(MP).replace("ss.corp.example", "a b"), "site_system", "https://name:port and no"),
        # unknown keys
        (role("conect: x"), "conect", "no such key here; is it connect?"),
        (role("Highest-TLS: x"), "Highest-TLS", "no such key here; is it highest_tls?"),
        (
            bridge(MP, more="    colour: x\n"),
            "colour",
            "no such key here; there are name, mode, listen, public_port, without_sni, cert",
        ),
        (role(f"extra_headers: [{{colour: x, name: X, {WHY}}}]"), "colour", "are name, because"),
        # the mode
        (bridge(MP).replace("mode: bridge", "mode: bridging"), "mode", "mode is bridge, tunnel or"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_at_its_place_with_what_to_write(
    problems: Problems, publication: str, at: str, told: str
) -> None:
    text = sample(tunnel("other.example", "127.0.0.1:8443"), publication)
    [(line, message)] = problems(text)
    place, _, words = message.partition(": ")
    assert place.startswith("publications.1")
    assert place.endswith(at)
    assert told in words
    # The last key of the place, or the first line of what it is in.
    *_, key = (one for one in place.split(".") if not one.isdigit())
    assert key in text.splitlines()[line - 1] or key == "publications"


@pytest.mark.parametrize(
    ("head", "at", "told"),
    [
        ("audit: {when_unwritable: no}", "audit.when_unwritable",
         "YAML reads no as a boolean; refuse or continue is wanted here"),
        ("audit: audit.jsonl", "audit", "such as {file: audit.jsonl}"),
        ("audit: {fiel: x}", "audit.fiel", "no such key here; is it file?"),
        ("limits: {request_head: 32K}", "limits.request_head",
         "a whole number of bytes is wanted here, such as 65536"),
        ("limits: {idle_seconds: 5m}", "limits.idle_seconds",
         "a number of seconds is wanted here, such as 120"),
        ("limits: {connections: '7'}", "limits.connections",
         "a whole number is wanted here, such as 1000, without quotes"),
        ("publication: []", "publication",
         "there are version, audit, rules, engines, limits, messages"),
    ],
)  # fmt: skip
def test_a_mistake_at_the_top_is_told_with_what_to_write(
    problems: Problems, head: str, at: str, told: str
) -> None:
    [(line, message)] = problems(sample(tunnel(), head=f"version: 1\n{head}\npublications:\n"))
    assert line == 2
    assert message.startswith(f"{at}: ")
    assert told in message


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
def test_a_key_that_was_renamed_is_refused_with_its_name_now(
    problems: Problems, head: str, now: str
) -> None:
    [(_, message)] = problems(sample(tunnel(), head=f"version: 1\n{head}\npublications:\n"))
    assert message.endswith(f": no such key here; is it {now}?")


@pytest.mark.parametrize("text", ["", "just text", "[]"])
def test_what_is_no_policy_is_told_what_one_has(problems: Problems, text: str) -> None:
    [(_, message)] = problems(text)
    assert message == "version: 1 and publications are wanted in a policy file"


# YAML


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("anchors: [pki/root.pem]", "anchors: [gone.pem]", "trust.anchors.0: "),
        ("anchors: [pki/root.pem]", "anchors: 5", "trust.anchors: a list is wanted"),
        ("anchors: [", "colour: red, anchors: [", "trust.colour: no such key here"),
        ("anchors: [pki/root.pem], ", "", "trust.anchors: this key is missing"),
        ("crls: [pki/root.crl, ", "crls: [", "trust.crls: no revocation list of"),
        ("anchors: [", "grace: 1:30, anchors: [", "trust.grace: YAML reads 1:30 as a number"),
    ],
)
def test_a_mistake_behind_an_alias_is_told_once_where_it_is_written(
    problems: Problems, old: str, new: str, told: str
) -> None:
    both = bridge(MP, clients="{trust: *pki}", name="b.example")
    both = both.replace(f"trust: {TRUST}", "trust: *pki")
    shared = bridge(MP, clients="{trust: *pki}").replace("trust: {", "trust: &pki {")
    text = sample(shared.replace(old, new, 1), both)
    [(line, message)] = problems(text)
    assert message.startswith(f"publications.0.site_systems.{told}")
    assert "&pki" in text.splitlines()[line - 1]


def test_a_merge_key_is_one_problem_and_not_all_that_is_missing_for_it(problems: Problems) -> None:
    text = sample(
        "  - &a\n" + tunnel().replace("  - ", "    "), "  - <<: *a\n    name: u.example\n"
    )
    [(line, message)] = problems(text)
    assert message.startswith("publications.1.<<: merge keys are not read: write the keys out")
    assert "<<" in text.splitlines()[line - 1]


def test_a_path_of_windows_in_double_quotes_is_told_with_what_to_write(problems: Problems) -> None:
    text = sample(bridge(MP).replace("key: pki/bridge-server.key", 'key: "C:\\bridge.key"', 1))
    [(_, message)] = problems(text)
    assert message.startswith("publications.0.certificate.key: this makes a control character")
    assert message.endswith("write paths in single quotes, or with / between folders")


@pytest.mark.parametrize("key", ['"a\\eb"', '"\\x9b"', '"\\u202e"', '"\\n"'])
def test_nothing_is_printed_that_a_terminal_would_act_on(problems: Problems, key: str) -> None:
    for text in (f"{key}: 1\n", f"version: 1\nrules: [{key}]\n", f"version: {key}\n"):
        assert all(message.isprintable() for _, message in problems(text))
