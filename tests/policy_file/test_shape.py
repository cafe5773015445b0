"""A problem in one part of a policy file does not hide problems in another part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ibcm_bridge.policy_file import PolicyError, load_policy
from ibcm_bridge.policy_file.rows.values import Row
from tests.policy_samples import (
    DP,
    MP,
    NOBODY,
    SUP,
    TRUST,
    WHY,
    Problems,
    bridge,
    changed,
    line_of,
    plaintext,
    sample,
    tunnel,
)


def slow(more: str = "") -> str:
    """Keys of a role that include a pattern with very long matching times."""
    return f", extra_paths: [{{directory: R, path: '(a+)+', verbs: [GET], {WHY}}}]{more}"


# One error of shape, and one that is found only if the shape is valid


@pytest.mark.parametrize(
    "shapeless",
    [
        "extra: 1\n",
        "audit: {when_unwritable: keep}\n",
        "audit: nowhere\n",
        "limits: {request_head: 32K}\n",
        "rules: {a: b}\n",
    ],
)
@pytest.mark.parametrize(
    ("publications", "hidden"),
    [
        ((tunnel(), tunnel()), "publications.1.name: t.example is published twice"),
        ((bridge(f"{MP}:{slow()}"),), "extra_paths.0.path: a client could cause"),
        ((bridge(f"{MP}:, connect: 'x:99999'"),), "connect: 99999 is not a port"),
        ((bridge(MP, SUP),), "roles: these roles require different client certificates"),
    ],
)
def test_an_error_of_shape_elsewhere_hides_no_problem_of_a_publication(
    problems: Problems, shapeless: str, publications: tuple[str, ...], hidden: str
) -> None:
    found = problems(sample(*publications, head=f"version: 1\n{shapeless}publications:\n"))
    assert len(found) == 2, found
    assert hidden in found[1][1]


@pytest.mark.parametrize(
    ("publication", "old", "new", "only", "later"),
    [
        (bridge(f"{MP}:{slow()}"), "    roles:", "    colour: red\n    roles:",
         "colour: unknown key", "extra_paths.0.path: a client"),
        (bridge(f"{MP}:{slow()}"), ", extra_paths", ", conect: 'x:1', extra_paths",
         "conect: unknown key", "extra_paths.0.path: a client"),
        (bridge(f"{MP}:{slow()}"), ", extra_paths", ", extra_verbs: [{verb: PUT}], extra_paths",
         "extra_verbs.0.because: this key is missing", "extra_paths.0.path: a client"),
        (bridge(f"{MP}:{slow()}"), "chain: pki/bridge-client.pem", "chain: 5",
         "site_systems.certificate.chain: invalid", "extra_paths.0.path: a client"),
        (bridge(f"{MP}:, highest_tls: '1.2'{slow()}"), "'1.2'", "1.2",
         "highest_tls: invalid", "extra_paths.0.path: a client"),
        (bridge(MP).replace("bridge-server.key", "gone.key"), "{chain: ", "{chian: ",
         "chian: unknown key", "certificate.key: "),
        (bridge(MP, SUP), f"      {SUP}", f"      mp: {{}}\n      {SUP}",
         "roles.mp: unknown site system role", "roles: these roles require"),
        (bridge(f"{MP}:{slow()}"), "    roles:", "    listen: 127.0.0.1:443\n    roles:",
         "listen: duplicate key", "extra_paths.0.path: a client"),
    ],
)  # fmt: skip
def test_the_rest_of_a_publication_is_checked_after_an_error_of_shape_is_corrected(
    problems: Problems, publication: str, old: str, new: str, only: str, later: str
) -> None:
    right = sample(publication)
    [(_, problem)] = problems(right.replace(old, new, 1))
    assert only in problem
    [(_, problem)] = problems(right)
    assert later in problem


# Nothing follows from a value that is left out.


@pytest.mark.parametrize(
    ("publication", "only"),
    [
        (
            bridge(f"{MP}:{slow()}").replace("mode: bridge", "mode: bridging"),
            "publications.0.mode: invalid value; write bridge,",
        ),
        (
            bridge(f"{MP}:{slow()}").replace("mode: bridge", "mode: [x]"),
            "publications.0.mode: a list is not allowed here; write bridge,",
        ),
        (
            bridge(f"{MP}:{slow()}").replace("    mode: bridge\n", ""),
            "publications.0.mode: this key is missing",
        ),
        (
            tunnel(more="    roles: [mp]\n").replace("mode: tunnel", "mode: passthrough"),
            "publications.0.mode: invalid value; write bridge,",
        ),
        (
            bridge(MP).replace("mode: bridge", "mode: x").replace("key: pki", "key: gone"),
            "publications.0.mode: invalid value; write bridge,",
        ),
        (
            bridge(f"{MP}:{slow()}").replace("    listen: 127.0.0.1:443\n", ""),
            "publications.0.listen: this key is missing",
        ),
        (
            bridge(f"{MP}:{slow()}").replace("{anchors: [pki/root.pem], ", "{", 1),
            "site_systems.trust.anchors: this key is missing",
        ),
        (
            bridge(MP, SUP).replace(f"{SUP}: {{site_system", f"{SUP}: [] #", 1),
            f"roles.{SUP}: a list is not allowed here; write keys and values",
        ),
        (
            bridge(f"{MP}:, extra_verbs: [5, {{verb: TRACE, {WHY}}}]"),
            "extra_verbs.0: invalid value; write keys and",
        ),
        (
            bridge(MP).replace("crls: [pki/root.crl,", "crls: [5, gone.crl,", 1),
            "crls.0: invalid value; write text",
        ),
    ],
)
def test_a_part_that_is_left_out_has_no_other_problem(
    problems: Problems, publication: str, only: str
) -> None:
    [(_, problem)] = problems(sample(publication))
    assert only in problem


def test_an_invalid_mode_hides_no_problem_of_other_publications(problems: Problems) -> None:
    text = sample(
        bridge(MP).replace("mode: bridge", "mode: x"),
        tunnel(more="    roles: [mp]\n"),
        tunnel(),
        tunnel(),
    )
    found = [message for _, message in problems(text)]
    assert [message.partition(": ")[0] for message in found] == [
        "publications.0.mode",
        "publications.1.roles.0",
        "publications.3.name",
    ]


# No false problems


@pytest.mark.parametrize(
    ("publications", "only"),
    [
        # a misspelled key is not also missing
        ((bridge(MP).replace("    listen:", "    lisen:"),), "lisen: unknown key"),
        ((bridge(MP, clients=f"{{trsut: {TRUST}}}"),), "clients.trsut: unknown key"),
        ((bridge(MP).replace("{chain:", "{chian:", 1),), "certificate.chian: unknown key"),
        ((bridge(MP).replace(", crls:", ", clrs:", 1),), "trust.clrs: unknown key"),
        # placeholders are not checked
        ((bridge(MP, clients="x"),), "publications.0.clients: "),
        ((bridge(MP, clients=f"{{certificate: x, trust: {TRUST}}}"),), "clients.certificate: "),
        ((bridge(SUP, clients="{certificate: x}"),), "clients.certificate: "),
        ((bridge(SUP, clients="{trust: x}"),), "clients.trust: "),
        ((bridge(MP, SUP, clients="{certificate: x}"),), "clients.certificate: "),
        ((bridge(MP).replace("listen: 127.0.0.1:443", "listen: x"), tunnel()), "listen: "),
        ((tunnel(), "  - 5\n"), "publications.1: "),
        ((bridge(MP).replace("passphrase", "").replace("key: pki", "passphrase: x, key: pki", 1),),
         "certificate.passphrase: "),
        ((bridge(MP).replace("crls: [", "fetch: {}, crls: [", 1).replace("{}", "x"),), "fetch: "),
        # a misspelled key that is not missing
        ((bridge(MP).replace("crls: [", "crl: x, crls: [", 1),), "trust.crl: unknown key"),
        # an item that YAML converts
        ((tunnel(), "  - no\n"), "publications.1: YAML reads no as a boolean; write keys and"),
        # a role that is unknown, or of another mode, has other keys and certificates
        ((bridge("fallback-status-point:, colour: x", clients=NOBODY),),
         "roles.fallback-status-point: this role cannot be published with mode: bridge, only with"),
        ((bridge(SUP, "x", clients=f"{{trust: {TRUST}}}"),), "roles.x: unknown site system role"),
        ((bridge("x", clients=NOBODY),), "roles.x: unknown site system role"),
        # a refused verb is reported once
        ((bridge(f"{MP}:, extra_verbs: [{{verb: PUT, body: x, {WHY}}}], extra_paths: "
                 f"[{{directory: R, path: x, verbs: [PUT], {WHY}}}]"),), "extra_verbs.0.body"),
        ((bridge(f"{MP}:, extra_verbs: [{{vreb: PUT, {WHY}}}], extra_paths: "
                 f"[{{directory: R, path: x, verbs: [PUT], {WHY}}}]"),), "extra_verbs.0.vreb"),
    ],
)  # fmt: skip
def test_one_mistake_is_one_problem(
    problems: Problems, publications: tuple[str, ...], only: str
) -> None:
    found = problems(sample(*publications))
    assert len(found) == 1, found
    assert only in found[0][1]


def test_a_misspelled_list_of_publications_is_one_problem(problems: Problems) -> None:
    [(line, problem)] = problems(sample(tunnel(), head="version: 1\npublicatoins:\n"))
    assert (line, problem) == (2, "publicatoins: unknown key; did you mean publications?")


def test_a_misspelled_section_beside_the_right_one_hides_no_problem(problems: Problems) -> None:
    head = "version: 1\nlimit: {}\nlimits: x\npublications:\n"
    found = problems(sample(tunnel(listen="x"), head=head))
    assert [message.partition(": ")[0] for _, message in found] == [
        "limit",
        "limits",
        "publications.0.listen",
    ]


def test_two_publications_without_a_listen_do_not_share_one(problems: Problems) -> None:
    lost = tunnel(more="    without_sni: true\n").replace("    listen: 127.0.0.1:443\n", "")
    found = problems(sample(lost, lost, plaintext().replace("127.0.0.1:80", "x")))
    assert [message.partition(": ")[0] for _, message in found] == [
        "publications.0.listen",
        "publications.1.listen",
        "publications.2.listen",
    ]


def test_each_publication_has_its_own_placeholder(problems: Problems) -> None:
    """A bridged role requires https://, a plaintext role http://; one dict cannot have both."""
    lost = [
        text.partition("    roles:")[0]
        for text in (bridge(MP), plaintext(), bridge(MP, name="b.example"))
    ]
    for _ in range(2):
        found = problems(sample(*lost, "  - 5\n"))
        assert [message.partition(": ")[0] for _, message in found] == [
            "publications.0.roles",
            "publications.1.roles",
            "publications.2.roles",
            "publications.3",
        ]


# Random errors


WHOLE: Any = yaml.safe_load(
    sample(
        bridge(
            f"{MP}:, extra_verbs: [{{verb: PUT, {WHY}}}], extra_headers: [{{name: X, {WHY}}}]"
            + slow(f", windows_authentication: {{{WHY}}}"),
            DP,
            clients=TRUST.join(("{certificate: user, trust: ", "}")),
        ),
        tunnel(more="    roles: [management-point]\n"),
        plaintext(),
        head="version: 1\nlimits: {connections: 5}\naudit: {file: x}\nrules: []\npublications:\n",
    )
)
JUNK = st.sampled_from((None, 5, 1.5, True, "x", "", [], [5], {}, {"x": {}}, [[]], "none", "1"))


def places(value: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a value."""
    yield where
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in inner:
            yield from places(item, (*where, key))


def spoil(value: Any, where: tuple[Any, ...], junk: object) -> Any:
    """The value with something else at a place; None removes the place."""
    if not where:
        return junk
    key, rest = where[0], where[1:]
    if not isinstance(value, dict | list) or (isinstance(value, dict) and key not in value):
        return value
    if isinstance(value, list):
        if not isinstance(key, int) or key >= len(value):
            return value
        return [*value[:key], spoil(value[key], rest, junk), *value[key + 1 :]]
    changed = {**value, key: spoil(value[key], rest, junk)}
    if junk is None and not rest:
        del changed[key]
    return changed


def rows(of: type[Row] = Row) -> Iterator[type[Row]]:
    for row in of.__subclasses__():
        yield row
        yield from rows(row)


REQUIRED = {
    name for row in rows() for name, field in row.model_fields.items() if field.is_required()
}
OPTIONAL = {("publications", 0, "clients", "certificate"), ("publications", 1, "roles")}
"""Places where a key with such a name is optional."""


@pytest.mark.parametrize(
    "where",
    [where for where in places(WHOLE) if where and where[-1] in REQUIRED and where not in OPTIONAL],
    ids=str,
)
def test_a_missing_required_key_is_one_problem(directory: Path, where: tuple[Any, ...]) -> None:
    path = directory / "missing.yaml"
    path.write_text(yaml.safe_dump(spoil(WHOLE, where, None)), "utf-8")
    lines = problems_in(path).splitlines()
    place = ".".join(map(str, where))
    assert [line.split(": ")[1] for line in lines if place in line] == [place], lines


UNREPORTED = "a policy error without a problem"


def problems_in(path: Path) -> str:
    try:
        load_policy(path)
    except PolicyError as error:
        return str(error) or UNREPORTED
    return ""


@settings(
    max_examples=2 * settings.default.max_examples,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(st.tuples(st.sampled_from([*places(WHOLE)]), JUNK), min_size=1, max_size=4))
def test_random_errors_never_break_the_reader(
    directory: Path, spoilt: list[tuple[tuple[Any, ...], object]]
) -> None:
    value = WHOLE
    for where, junk in spoilt:
        value = spoil(value, where, junk)
    path = directory / "spoilt.yaml"
    path.write_text(yaml.safe_dump(value), "utf-8")
    found = problems_in(path)
    assert "x:0" not in found.lower()
    assert found != UNREPORTED


# Several problems


def test_two_problems_of_values_are_both_reported(problems: Problems) -> None:
    text = changed(
        ("unlisted_headers: drop", "unlisted_headers: keep"),
        ("https://dp01.corp.example", "http://dp01.corp.example"),
    )
    assert [line for line, _ in problems(text)] == [
        line_of("unlisted_headers"),
        line_of("dp01.corp.example"),
    ]


def test_two_problems_of_files_are_both_reported(problems: Problems) -> None:
    text = changed(
        ("chain: pki/bridge-server.pem", "chain: missing.pem"),
        ("key: pki/bridge-client.key", "key: text.pem"),
        ("crls: [pki/root.crl, pki/issuing.crl]", "crls: [pki/root.crl]"),
    )
    assert [line for line, _ in problems(text)] == [
        line_of("chain: pki/bridge-server.pem"),
        line_of("crls:"),
        line_of("key: pki/bridge-client.key"),
    ]


def test_an_invalid_chain_does_not_hide_an_invalid_key(problems: Problems) -> None:
    text = changed(
        ("chain: pki/bridge-server.pem", "chain: empty.pem"),
        ("key: pki/bridge-server.key", "key: text.pem"),
    )
    assert [line for line, _ in problems(text)] == [
        line_of("chain: empty.pem", text),
        line_of("key: text.pem", text),
    ]


def test_a_yaml_conversion_and_an_unknown_key_are_both_reported(problems: Problems) -> None:
    text = changed(
        ("unlisted_headers: drop", "unlisted_headers: no"), ("version: 1", "version: 1\nextra: 1")
    )
    found = problems(text)
    assert [line for line, _ in found] == [line_of("extra: 1", text), line_of("_headers: no", text)]
    assert "unknown key" in found[0][1]
    assert "YAML reads no" in found[1][1]


def test_a_name_published_twice_does_not_hide_other_problems(
    problems: Problems,
) -> None:
    text = changed(
        ("name: mp-tunnel.internet.example", "name: bridge.internet.example"),
        ("    site_system: 127.0.0.1:9443", "    site_system: 127.0.0.1:99999"),
    )
    found = [message for _, message in problems(text)]
    assert len(found) == 2
    assert "published twice" in found[0]
    assert "99999 is not a port" in found[1]


def test_each_problem_is_reported_once_in_the_order_of_the_file(problems: Problems) -> None:
    text = changed(
        ("chain: pki/bridge-server.pem", "chain: missing.pem"),
        ("key: pki/bridge-server.key", "key: missing.key"),
        ("anchors: [pki/root.pem]", "anchors: [missing.pem, missing.pem]"),
    )
    found = problems(text)
    assert found == sorted(found, key=lambda problem: problem[0])
    assert len(found) == len(set(found)) == 4


# Many problems


def test_an_error_of_shape_hides_neither_files_nor_other_problems(problems: Problems) -> None:
    text = sample(
        bridge(MP).replace("mode: bridge", "mode: bridge\n    extra: 1"),
        bridge("enrollment-proxy-point", name="b.example"),
        bridge(MP, name="c.example").replace("bridge-client.key", "gone.key"),
        tunnel(more="    roles: [mp]\n"),
        plaintext(),
        plaintext(name="other.example"),
        head="version: 2\nrules: [none.yar]\naudit: {file: nowhere/x}\npublications:\n",
    )
    found = [message for _, message in problems(text)]
    for expected in (
        "version: invalid value; write version: 1",
        "rules.0:",
        "audit.file: there is no folder",
        "publications.0.extra: unknown key",
        "publications.1.roles.enrollment-proxy-point: this role cannot be published",
        "publications.2.site_systems.certificate.key:",
        "publications.3.roles.0: unknown site system role",
        "publications.5.listen: a port can have only one plaintext publication",
    ):
        assert any(message.startswith(expected) for message in found), (expected, found)
    assert len(found) == 8
