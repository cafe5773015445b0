"""The configuration of HAProxy 2.6 or newer.

Source: docs.haproxy.org/2.6/configuration.html: sections 3 (global), 4 (http-request, tcp-request,
http-reuse), 5 (bind and server options, crt-list) and 7 (samples, ACLs).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ibcm_bridge.export.exported import Export, ExportError
from ibcm_bridge.export.haproxy_statements import HAPROXY
from ibcm_bridge.export.model import (
    ExportedListener,
    ExportedPolicy,
    ExportedPublication,
    ExportedRole,
    ExportedTls,
    body_patterns,
    one_pattern_for,
    safe_path,
)
from ibcm_bridge.export.targets import with_cased_method
from ibcm_bridge.export.writing import (
    Files,
    Place,
    comment,
    header,
    limitations,
    tunnel_comment,
)
from ibcm_bridge.policy.addresses import address_text
from ibcm_bridge.policy.roles import CertificatePolicy
from ibcm_bridge.policy.tls_settings import SUITES, TlsSettings

HOLDS_LEGS = True

ESCAPES = 768
"""Targets with so many escapes are refused. About 816 fill PCRE2's stack of 32 KB."""
MAX_SOCKET = 96
"""Bytes of the path of a Unix socket; HAProxy adds a suffix while it starts."""

_NOTES = (
    "Check: haproxy -c -f FILE. Start: haproxy -f FILE, or -Ws -f FILE in a systemd unit. It needs "
    "PCRE or PCRE2. Add `user` and `group` to the global section, and a log target of your own.",
    "The other files have certificates with their private keys, because HAProxy reads both from "
    "one file: keep the folder readable for root only.",
    "Revocation: HAProxy reads the CRLs at start and reload only. When the list of any authority "
    "of the path expires or is missing, HAProxy refuses every client. So export again after each "
    "new CRL, with --files, and reload. A connection that is open keeps its client.",
    "Where tunnels share a port, connections go through a Unix socket, with a PROXY header.",
)

_CLIENT_AUTHENTICATION = "06082B06010505070302"
"""DER of the OID id-kp-clientAuth (RFC 5280 4.2.1.12), in hexadecimal."""
_PRINCIPAL_NAME = "060A2B060104018237140203"
"""DER of the OID of a user principal name ([MS-WCCE] 2.2.2.7.7.4)."""
_COMPUTER_ACCOUNT = "2440"
"""`$@`, as in the principal name of a computer account."""

_KEPT = ("host", "content-length")
_RESPONSE_FIELDS = (
    *("server", "x-powered-by", "x-aspnet-version", "x-aspnetmvc-version", "alt-svc", "via"),
    *("refresh", "link", "clear-site-data", "strict-transport-security", "bits-host-id"),
    *("bits-host-id-fallback-timeout", "bits-reply-url", "content-location"),
)
"""Fields about a site system (`site_system_leg.response_head`)."""


def export_haproxy(policy: ExportedPolicy, place: Place) -> Export:
    """Write the configuration. ExportError if a value cannot be written."""
    files = Files(place.folder)
    not_enforced = limitations(HAPROXY)
    text = header(
        "HAProxy 2.6 or newer",
        place,
        notes=_NOTES,
        not_enforced=not_enforced,
        left_out=policy.left_out,
    )
    sections = [text, *_global(policy)]
    for listener in policy.listeners:
        sections += _listener(policy, listener, files)
    return Export("\n\n".join(sections) + "\n", files.contents, not_enforced, policy.left_out)


def _section(name: str, lines: Iterable[str]) -> str:
    inner = "\n".join(f"    {line}" for text in lines for line in text.split("\n"))
    return f"{name}\n{inner}"


def _global(policy: ExportedPolicy) -> Iterator[str]:
    limits = policy.limits
    publications = [each for listener in policy.listeners for each in listener.publications]
    head = max((each.request_head for each in publications), default=16_384)
    resume = any(each.tls is not None and each.tls.clients_resume for each in publications)
    yield _section(
        "global",
        (
            "log stdout format raw local0",
            f"maxconn {2 * limits.connections}",
            comment("[HTTP-1.1] A request head must fit into a buffer."),
            f"tune.bufsize {head + 2048}",
            "tune.maxrewrite 1024",
            *(() if resume else ("tune.ssl.cachesize 0",)),
        ),
    )
    yield _section(
        "defaults",
        (
            "log global",
            "option dontlognull",
            f"timeout connect {_milliseconds(limits.connect_seconds)}",
            f"timeout client {_milliseconds(limits.idle_seconds)}",
            f"timeout server {_milliseconds(limits.response_seconds)}",
            f"timeout http-request {_milliseconds(limits.head_seconds)}",
            f"timeout http-keep-alive {_milliseconds(limits.idle_seconds)}",
            "timeout queue 1m",
            "retries 0",
        ),
    )


def _milliseconds(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


def _listener(policy: ExportedPolicy, listener: ExportedListener, files: Files) -> Iterator[str]:
    address = address_text(listener.address)
    front = [*_balancers(listener), *_sources(policy)]
    if listener.tunnels:
        socket = f"unix@{safe_path(files.folder)}/listener-{listener.number}.sock"
        if len(socket.encode()) > MAX_SOCKET:
            raise ExportError(f"{socket}: too long for a socket; use a shorter folder for --files")
        seconds = policy.limits.handshake_seconds
        yield _section(f"frontend port_{listener.number}", _tcp(listener, address, front, seconds))
        yield from _tunnels(policy, listener, socket)
        bind, front = f"{socket} mode 600 accept-proxy", []
    else:
        bind = address
    if listener.publications:
        yield _section(f"frontend http_{listener.number}", _frontend(listener, bind, front, files))
        for index, publication in enumerate(listener.publications, 1):
            for role in publication.roles:
                name = _backend(listener, index, role)
                yield _section(f"backend {name}", _server(publication, role, files))


def _balancers(listener: ExportedListener) -> Iterator[str]:
    if listener.balancers:
        yield comment("The balancers send a PROXY header; other clients connect without one.")
        networks = " ".join(map(str, listener.balancers))
        yield f"tcp-request connection expect-proxy layer4 if {{ src {networks} }}"


def _sources(policy: ExportedPolicy) -> Iterator[str]:
    limits = policy.per_source
    if limits.connections is None and limits.handshakes_per_minute is None:
        return
    yield comment("[BRIDGE-INSPECT] The limits of one source.")
    yield "stick-table type ipv6 size 100k expire 2m store conn_cur,conn_rate(1m)"
    unless = ""
    if limits.exceptions:
        unless = f" unless {{ src {' '.join(map(str, limits.exceptions))} }}"
    yield f"tcp-request connection track-sc0 src{unless}"
    if limits.connections is not None:
        number = limits.connections
        yield f"tcp-request connection reject if {{ sc0_conn_cur gt {number} }}"
    if limits.handshakes_per_minute is not None:
        number = limits.handshakes_per_minute
        yield f"tcp-request connection reject if {{ sc0_conn_rate gt {number} }}"


# Tunnels


def _tcp(
    listener: ExportedListener, address: str, front: list[str], seconds: float
) -> Iterator[str]:
    yield "mode tcp"
    yield "option tcplog"
    yield f"bind {address}"
    yield from front
    yield f"tcp-request inspect-delay {_milliseconds(seconds)}"
    yield comment("A connection that does not begin with a TLS handshake ends at once.")
    first = "req.payload(0,1)"
    yield f"tcp-request content reject if {{ {first} -m found }} !{{ {first} -m bin 16 }}"
    yield "tcp-request content accept if { req.ssl_hello_type 1 }"
    yield "tcp-request content reject if WAIT_END"
    for index, tunnel in enumerate(listener.tunnels, 1):
        name = f"tunnel_{listener.number}_{index}"
        yield tunnel_comment(tunnel)
        yield f"use_backend {name} if {{ req.ssl_sni -i {tunnel.name} }}"
        if tunnel.name == listener.without_sni:
            yield f"use_backend {name} unless {{ req.ssl_sni -m found }}"
    yield f"default_backend bridged_{listener.number}"


def _tunnels(policy: ExportedPolicy, listener: ExportedListener, socket: str) -> Iterator[str]:
    idle = _milliseconds(policy.limits.tunnel_idle_seconds)
    for index, tunnel in enumerate(listener.tunnels, 1):
        server = f"server site-system {address_text(tunnel.site_system)}"
        yield _section(
            f"backend tunnel_{listener.number}_{index}",
            ("mode tcp", f"timeout server {idle}", f"timeout tunnel {idle}", server),
        )
    if listener.publications:
        server = f"server bridged {socket} send-proxy-v2"
    else:
        server = "tcp-request content reject"
    yield _section(
        f"backend bridged_{listener.number}", ("mode tcp", f"timeout server {idle}", server)
    )


# Bridged publications


def _frontend(
    listener: ExportedListener, bind: str, front: list[str], files: Files
) -> Iterator[str]:
    yield "mode http"
    yield "option httplog"
    yield "option http-no-delay"
    yield from _bind(listener, bind, files)
    yield from front
    yield comment("[HTTP-1.1] Requests that are refused everywhere.")
    yield "http-request return status 505 unless { req.ver 1.1 }"
    yield "http-request return status 411 if { req.fhdr(transfer-encoding) -m found }"
    yield "http-request return status 415 if { req.fhdr(content-encoding) -m found }"
    yield comment("[HEADER-DP] No number of a range has more than 15 digits.")
    yield "http-request return status 416 if { req.fhdr(range) -m reg [0-9]{16} }"
    yield comment("[DNS-INTERNET-FQDN] Host is a published name, and that of the connection.")
    yield "http-request set-var(txn.host) req.fhdr(host),lower,regsub(:[0-9]*$,)"
    yield "http-request deny deny_status 400 unless { req.fhdr_cnt(host) eq 1 }"
    if listener.is_tls:
        yield "http-request set-var(txn.sni) ssl_fc_sni,lower"
        other = "!{ var(txn.host),strcmp(txn.sni) eq 0 }"
        if listener.without_sni is None:
            yield f"http-request return status 421 if {other}"
        else:
            yield f"http-request return status 421 if {{ var(txn.sni) -m len gt 0 }} {other}"
            name = listener.without_sni
            without = f"!{{ var(txn.sni) -m len gt 0 }} !{{ var(txn.host) -m str {name} }}"
            yield f"http-request return status 421 if {without}"
    for index, publication in enumerate(listener.publications, 1):
        yield f"acl is_{index} var(txn.host) -m str {publication.name}"
    every = " ".join(f"!is_{index}" for index in range(1, len(listener.publications) + 1))
    yield f"http-request return status 421 if {every}"
    yield 'http-request set-var-fmt(txn.target) "%[method] %[url]"'
    yield (
        'http-request set-var-fmt(txn.body) "%[method] %[req.fhdr(content-length)] '
        '%[req.fhdr(content-type)]"'
    )
    for index, publication in enumerate(listener.publications, 1):
        yield from _publication(listener, publication, index, files)
    yield comment("[BRIDGE-INSPECT] Fields about the site system.")
    yield from (f"http-response del-header {field}" for field in _RESPONSE_FIELDS)


def _bind(listener: ExportedListener, bind: str, files: Files) -> Iterator[str]:
    if not listener.is_tls:
        yield f"bind {bind}"
        return
    # Without SNI, HAProxy uses the first certificate of the list.
    first = [each for each in listener.publications if each.name == listener.without_sni]
    others = [each for each in listener.publications if each.name != listener.without_sni]
    lines = [_certificate(each, each.tls, files) for each in (*first, *others) if each.tls]
    content = "".join(f"{line}\n" for line in lines).encode()
    listed = files.named(f"certificates-{listener.number}.list", content)
    resume = any(each.tls and each.tls.clients_resume for each in listener.publications)
    options = "" if resume else " no-tls-tickets"
    strict = "" if first else " strict-sni"
    yield comment("[DNS-INTERNET-FQDN] [BRIDGE-TERMINATE] Unknown server names are refused.")
    yield f"bind {bind} ssl crt-list {listed} alpn http/1.1{strict}{options}"


def _certificate(publication: ExportedPublication, tls: ExportedTls, files: Files) -> str:
    options = ["alpn", "http/1.1", *_versions(tls.settings), "ciphers", _ciphers(tls.settings)]
    trust = tls.client_trust
    if trust is not None:
        required = tls.certificates is not CertificatePolicy.OPTIONAL
        options += ["verify", "required" if required else "optional"]
        options += ["ca-file", files.authorities(trust)]
        if (crls := files.crls(trust)) is not None:
            options += ["crl-file", crls]
        if not tls.sends_names:
            options.append("no-ca-names")
    both = files.pair(tls.server, tls.server_pem)
    return f"{both} [{' '.join(options)}] {publication.name}"


def _versions(settings: TlsSettings) -> list[str]:
    lowest, highest = settings.versions[0], settings.versions[-1]
    return ["ssl-min-ver", f"TLSv{lowest}", "ssl-max-ver", f"TLSv{highest}"]


def _ciphers(settings: TlsSettings) -> str:
    return ":".join(suite.openssl for suite in SUITES[settings.suites])


def _publication(
    listener: ExportedListener, publication: ExportedPublication, index: int, files: Files
) -> Iterator[str]:
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
    for role in publication.roles:
        condition = f"{when} {{ var(txn.role) -m str {role.name} }}"
        yield from _role(role, condition, f"{listener.number}-{index}-{role.name}", files)
        yield f"use_backend {_backend(listener, index, role)} if {condition}"


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


def _backend(listener: ExportedListener, index: int, role: ExportedRole) -> str:
    return f"site_{listener.number}_{index}_{role.name}"


def _server(publication: ExportedPublication, role: ExportedRole, files: Files) -> Iterator[str]:
    site_system = role.site_system
    yield "mode http"
    yield comment("[USER-WINDOWS-AUTH] A server connection belongs to one client connection.")
    yield "http-reuse never"
    names = one_pattern_for(sorted(site_system.names))
    yield f"http-response replace-header location '^https?://{names}(:[0-9]+)?/(.*)$' '/\\2'"
    options = ""
    if publication.tls is not None:
        yield comment("[BRIDGE-TERMINATE] [BRIDGE-HTTPS-ONLY] The site-system leg.")
        options = f" {' '.join(_leg(publication.tls, role, files))}"
    yield comment("[BRIDGE-IDENTITY] The body is forwarded unchanged.")
    yield f"server site-system {address_text(site_system.address)}{options}"


def _leg(tls: ExportedTls, role: ExportedRole, files: Files) -> Iterator[str]:
    site_system = role.site_system
    yield f"ssl verify required ca-file {files.authorities(tls.site_system_trust)}"
    if (crls := files.crls(tls.site_system_trust)) is not None:
        yield f"crl-file {crls}"
    yield f"crt {files.pair(tls.client, tls.client_pem)}"
    yield f"sni str({site_system.name}) verifyhost {site_system.verify_name} alpn http/1.1"
    yield " ".join(_versions(site_system.tls))
    yield f"ciphers {_ciphers(site_system.tls)}"
    if not tls.legs_resume:
        yield "no-ssl-reuse"
