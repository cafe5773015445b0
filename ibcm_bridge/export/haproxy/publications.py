"""The bridged publications of HAProxy: the rules of a frontend for each name and role."""

from __future__ import annotations

from collections.abc import Iterator

from ibcm_bridge.export.haproxy.site_systems import client_variable
from ibcm_bridge.export.model import (
    ExportedListener,
    ExportedPublication,
    ExportedRole,
    ExportedTls,
    body_patterns,
    one_pattern_for,
)
from ibcm_bridge.export.targets import with_cased_method
from ibcm_bridge.export.writing import Files, comment
from ibcm_bridge.policy.roles import CertificatePolicy

ESCAPES = 768
"""Targets with so many escapes are refused. About 816 fill PCRE2's stack of 32 KB."""

_CLIENT_AUTHENTICATION = "06082B06010505070302"
"""DER of the OID id-kp-clientAuth (RFC 5280 4.2.1.12), in hexadecimal."""
_PRINCIPAL_NAME = "060A2B060104018237140203"
"""DER of the OID of a user principal name ([MS-WCCE] 2.2.2.7.7.4)."""
_COMPUTER_ACCOUNT = "2440"
"""`$@`, as in the principal name of a computer account."""

_KEPT = ("host", "content-length")


def backend_name(listener: ExportedListener, index: int, role: ExportedRole) -> str:
    """Return the name of the backend of a role; `index` is that of its publication (1, 2 ...)."""
    return f"site_{listener.number}_{index}_{role.name}"


def publication_rules(
    listener: ExportedListener, publication: ExportedPublication, index: int, files: Files
) -> Iterator[str]:
    """Return the rules of a publication in its frontend."""
    yield comment(f"{publication.name}, for clients port {publication.public_port}")
    when = f"is_{index}"
    if publication.tls is not None and publication.tls.client_trust is not None:
        yield from _client_certificate(publication.tls, when)
    # HAProxy skips a line if its stack is full, also one that refuses.
    lines = [
        f"# [BRIDGE-INSPECT] many escapes\n(?:%[^%]*){{{ESCAPES}}} refused\n",
    ]
    for line in publication.lines:
        pattern = line.cased.replace(" ", "\\x20")
        lines.append(f"# [{line.requirement}] {line.comment}\n{pattern} {line.role or 'refused'}\n")
    name = f"targets-{listener.number}-{index}.map"
    targets = files.named(name, "".join(lines).encode())
    ids = sorted({line.requirement for line in publication.lines})
    yield comment(f"[{'] ['.join(ids)}] Verb and target, as sent -> role. The first match decides.")
    yield f"http-request set-var(txn.role) var(txn.target),map_reg({targets}) if {when}"
    refused = "!{ var(txn.role) -m found }", "{ var(txn.role) -m str refused }"
    yield from (f"http-request deny deny_status 403 if {when} {which}" for which in refused)
    yield from client_variable(publication, when)
    for role in publication.roles:
        condition = f"{when} {{ var(txn.role) -m str {role.name} }}"
        yield from _role(role, condition, f"{listener.number}-{index}-{role.name}", files)
        yield f"use_backend {backend_name(listener, index, role)} if {condition}"


def _client_certificate(tls: ExportedTls, when: str) -> Iterator[str]:
    yield comment("[PKI-BOTH-ENDS] [BRIDGE-AUTH-COMPUTER] [BRIDGE-AUTH-USER] Certificates.")
    presented = "{ ssl_c_used }"
    if tls.certificates is not CertificatePolicy.OPTIONAL:
        yield f"http-request deny deny_status 403 if {when} !{presented}"
    purpose = f"!{{ ssl_c_der,hex -m sub {_CLIENT_AUTHENTICATION} }}"
    yield f"http-request deny deny_status 403 if {when} {presented} {purpose}"
    has_name = f"{{ ssl_c_der,hex -m sub {_PRINCIPAL_NAME} }}"
    computer = f"{{ ssl_c_der,hex -m sub {_COMPUTER_ACCOUNT} }}"
    if tls.certificates is CertificatePolicy.COMPUTER:
        yield f"http-request deny deny_status 403 if {when} {has_name} !{computer}"
    if tls.certificates is CertificatePolicy.USER:
        yield f"http-request deny deny_status 403 if {when} !{has_name}"


def _role(role: ExportedRole, when: str, name: str, files: Files) -> Iterator[str]:
    yield comment(f"{role.name}: [HTTP-MULTIPART] [{role.verbs_requirement}] bodies by verb.")
    patterns = (with_cased_method(pattern) for pattern in body_patterns(role))
    lines = (f"{pattern.replace(' ', chr(92) + 'x20')} 1\n" for pattern in patterns)
    bodies = files.named(f"bodies-{name}.map", "".join(lines).encode())
    allowed = f"{{ var(txn.body),map_reg({bodies}) -m found }}"
    yield f"http-request return status 415 if {when} !{allowed}"
    for verb, rule in role.verbs.items():
        too_long = f"{{ method {verb} }} {{ req.hdr_val(content-length) gt {rule.limit} }}"
        yield f"http-request return status 413 if {when} {too_long}"
    yield comment(f"[{role.fields_requirement}] [HTTP-1.1] Header fields.")
    names = one_pattern_for(role.fields)
    listed = f"{{ req.fhdr(connection) -i -m reg '(^|[, ]){names}([, ]|$)' }}"
    yield f"http-request deny deny_status 400 if {when} {listed}"
    for field in role.fields:
        if field not in role.repeatable:
            twice = f"{{ req.fhdr_cnt({field}) gt 1 }}"
            yield f"http-request deny deny_status 400 if {when} {twice}"
    for field, verbs in role.dropped.items():
        if field in role.fields:
            yield f"http-request del-header {field} if {when} {{ method {' '.join(verbs)} }}"
    kept = one_pattern_for((*_KEPT, *role.fields))
    yield f"http-request del-header '^(?!{kept}$)' -m reg if {when}"
    yield from _sign_in(role, when)


def _sign_in(role: ExportedRole, when: str) -> Iterator[str]:
    if not role.users:
        return
    yield comment("[USER-WINDOWS-AUTH] Only Negotiate and NTLM, and only in these directories.")
    schemes = "{ req.fhdr(authorization) -i -m reg '^(negotiate|ntlm) ' }"
    other = "{ req.fhdr(authorization) -m found }"
    yield f"http-request deny deny_status 400 if {when} {other} !{schemes}"
    if role.directories:
        users = f"'^/{one_pattern_for(role.users)}(/|$)'"
        yield f"http-request del-header authorization if {when} !{{ path -i -m reg {users} }}"
