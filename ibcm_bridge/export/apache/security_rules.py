"""The rules of ModSecurity for a publication: targets, bodies and header fields."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ibcm_bridge.export.apache.text import quoted
from ibcm_bridge.export.model import (
    ExportedPolicy,
    ExportedPublication,
    ExportedRole,
    body_patterns,
    one_pattern_for,
)
from ibcm_bridge.export.targets import with_cased_method
from ibcm_bridge.export.writing import comment

_OWN_FIELDS = ("connection", "content-length", "host", "keep-alive")


def security_rules(
    policy: ExportedPolicy,
    publication: ExportedPublication,
    ids: Iterator[int],
) -> Iterator[str]:
    """Return the rules of a publication; `ids` are the ids of its rules."""
    yield comment("[HTTP-1.1] Requests that are refused everywhere.")
    yield _deny(ids, 'REQUEST_PROTOCOL "!@streq HTTP/1.1"', 505)
    yield _deny(ids, '&REQUEST_HEADERS:Transfer-Encoding "@gt 0"', 411)
    yield _deny(ids, '&REQUEST_HEADERS:Content-Encoding "@gt 0"', 415)
    yield comment("[HEADER-DP] No number of a range has more than 15 digits.")
    yield _deny(ids, 'REQUEST_HEADERS:Range "@rx [0-9]{16}"', 416)
    yield comment("[DNS-INTERNET-FQDN] Host is the published name, and that of the connection.")
    name = publication.name.replace(".", "[.]")
    yield _deny(ids, f'REQUEST_HEADERS:Host "!@rx (?i)^{name}(?::[0-9]*)?$"', 421)
    yield _deny(ids, '&REQUEST_HEADERS:Host "!@eq 1"', 400)
    yield comment("[BRIDGE-INSPECT] Verb and target, as sent -> role. The first match decides.")
    after = f"TARGETS_{next(ids)}"
    target = "%{REQUEST_METHOD} %{REQUEST_URI_RAW}"
    yield f"SecAction \"id:{next(ids)},phase:1,nolog,pass,setvar:'tx.target={target}'\""
    for line in publication.lines:
        yield comment(f"[{line.requirement}] {line.comment}")
        decided = f"setvar:tx.role={line.role or 'refused'},skipAfter:{after}"
        yield (
            f"SecRule TX:target {quoted(f'@rx {line.cased}')} "
            f'"id:{next(ids)},phase:1,nolog,pass,t:none,{decided}"'
        )
    yield f"SecMarker {after}"
    yield from _not_evaluated(ids)
    names = one_pattern_for(role.name for role in publication.roles)
    yield _deny(ids, '&TX:role "@eq 0"', 403)
    yield _deny(ids, f'TX:role "!@rx ^{names}$"', 403)
    yield comment("[HEADER-MP] [HEADER-DP] Fields that servers obey are refused.")
    never = "|".join(re.escape(name) for name in policy.never_fields if name not in _OWN_FIELDS)
    yield _deny(ids, f"REQUEST_HEADERS_NAMES {quoted(f'@rx (?i)^(?:{never})$')}", 400)
    yield _deny(
        ids, f"REQUEST_HEADERS_NAMES {quoted(f'@rx (?i){policy.never_field_pattern}')}", 400
    )
    yield "RequestHeader unset Authorization"
    for role in publication.roles:
        yield from _role(publication, role, ids)
    yield from _not_evaluated(ids)


def _not_evaluated(ids: Iterator[int]) -> Iterator[str]:
    """A rule whose regular expression exceeds a limit does not match: ModSecurity sets this."""
    yield comment("[BRIDGE-INSPECT] A rule could not be evaluated.")
    yield _deny(ids, '&TX:/^MSC_/ "@gt 0"', 403)


def _role(
    publication: ExportedPublication, role: ExportedRole, ids: Iterator[int]
) -> Iterator[str]:
    after = f"ROLE_{next(ids)}"
    yield comment(f"{role.name}: [HTTP-MULTIPART] [{role.verbs_requirement}] bodies by verb.")
    yield (
        f'SecRule TX:role "!@streq {role.name}" '
        f'"id:{next(ids)},phase:1,nolog,pass,t:none,skipAfter:{after}"'
    )
    body = "%{REQUEST_METHOD} %{tx.length} %{tx.type}"
    for variable, field in (("length", "Content-Length"), ("type", "Content-Type")):
        yield f"SecAction \"id:{next(ids)},phase:1,nolog,pass,setvar:'tx.{variable}='\""
        yield (
            f'SecRule REQUEST_HEADERS:{field} "@unconditionalMatch" '
            f"\"id:{next(ids)},phase:1,nolog,pass,t:none,setvar:'tx.{variable}=%{{MATCHED_VAR}}'\""
        )
    yield f"SecAction \"id:{next(ids)},phase:1,nolog,pass,setvar:'tx.body={body}'\""
    allowed = "|".join(with_cased_method(pattern) for pattern in body_patterns(role))
    yield _deny(ids, f"TX:body {quoted(f'!@rx {allowed}')}", 415)
    for verb, rule in role.verbs.items():
        chained = _deny(ids, f'REQUEST_METHOD "@streq {verb}"', 413, chain=True)
        yield f'{chained}\n    SecRule REQUEST_HEADERS:Content-Length "@gt {rule.limit}" "t:none"'
    yield comment(f"[{role.fields_requirement}] [HTTP-1.1] Header fields.")
    fields = one_pattern_for(role.fields)
    listed = f"@rx (?i)(?:^|[, ]){fields}(?:[, ]|$)"
    yield _deny(ids, f"REQUEST_HEADERS:Connection {quoted(listed)}", 400)
    if publication.refuses_unlisted:
        all_fields = one_pattern_for((*_OWN_FIELDS, *role.fields))
        pattern = quoted(f"!@rx (?i)^{all_fields}$")
        yield _deny(ids, f"REQUEST_HEADERS_NAMES {pattern}", 400)
    yield f"SecMarker {after}"
    for field, verbs in role.dropped.items():
        if field in role.fields:
            some = ", ".join(f"'{verb}'" for verb in verbs)
            yield f'RequestHeader unset {field} "expr=%{{REQUEST_METHOD}} in {{{some}}}"'


def _deny(ids: Iterator[int], condition: str, status: int, *, chain: bool = False) -> str:
    more = ",chain" if chain else ""
    return f'SecRule {condition} "id:{next(ids)},phase:1,t:none,log,deny,status:{status}{more}"'
