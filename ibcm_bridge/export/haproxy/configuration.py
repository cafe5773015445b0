"""The configuration of HAProxy 2.6 or newer.

Source: docs.haproxy.org/2.6/configuration.html: sections 3 (global), 4 (http-request, tcp-request,
http-reuse), 5 (bind and server options, crt-list) and 7 (samples, ACLs).
"""

from __future__ import annotations

from collections.abc import Iterator

from ibcm_bridge.export.exported import Export, ExportError
from ibcm_bridge.export.haproxy.publications import backend_name, publication_rules
from ibcm_bridge.export.haproxy.site_systems import backend, tunnel_backend
from ibcm_bridge.export.haproxy.statements import HAPROXY
from ibcm_bridge.export.haproxy.text import ciphers, milliseconds, section, versions
from ibcm_bridge.export.model import (
    ExportedListener,
    ExportedPolicy,
    ExportedPublication,
    ExportedTls,
)
from ibcm_bridge.export.writing import (
    SITE_SYSTEM_FIELDS,
    Files,
    Place,
    comment,
    header,
    limitations,
    safe_path,
    tunnel_comment,
)
from ibcm_bridge.policy.addresses import address_text
from ibcm_bridge.policy.roles import CertificatePolicy

HOLDS_LEGS = True

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

_RESPONSE_FIELDS = ("server", *map(str.lower, SITE_SYSTEM_FIELDS))


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


def _global(policy: ExportedPolicy) -> Iterator[str]:
    limits = policy.limits
    publications = [each for listener in policy.listeners for each in listener.publications]
    head = max((each.request_head for each in publications), default=16_384)
    resume = any(each.tls is not None and each.tls.clients_resume for each in publications)
    yield section(
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
    yield section(
        "defaults",
        (
            "log global",
            "option dontlognull",
            f"timeout connect {milliseconds(limits.connect_seconds)}",
            f"timeout client {milliseconds(limits.idle_seconds)}",
            f"timeout server {milliseconds(limits.response_seconds)}",
            f"timeout http-request {milliseconds(limits.head_seconds)}",
            f"timeout http-keep-alive {milliseconds(limits.idle_seconds)}",
            "timeout queue 1m",
            "retries 0",
        ),
    )


def _listener(policy: ExportedPolicy, listener: ExportedListener, files: Files) -> Iterator[str]:
    address = address_text(listener.address)
    front = [*_balancers(listener), *_sources(policy)]
    if listener.tunnels:
        socket = f"unix@{safe_path(files.folder)}/listener-{listener.number}.sock"
        if len(socket.encode()) > MAX_SOCKET:
            raise ExportError(f"{socket}: too long for a socket; use a shorter folder for --files")
        seconds = policy.limits.handshake_seconds
        yield section(f"frontend port_{listener.number}", _tcp(listener, address, front, seconds))
        yield from _tunnels(policy, listener, socket)
        bind, front = f"{socket} mode 600 accept-proxy", []
    else:
        bind = address
    if listener.publications:
        yield section(f"frontend http_{listener.number}", _frontend(listener, bind, front, files))
        for index, publication in enumerate(listener.publications, 1):
            for role in publication.roles:
                lines = backend(policy.limits, publication, role, files)
                yield section(f"backend {backend_name(listener, index, role)}", lines)


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
    yield f"tcp-request inspect-delay {milliseconds(seconds)}"
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
    idle = milliseconds(policy.limits.tunnel_idle_seconds)
    for index, tunnel in enumerate(listener.tunnels, 1):
        lines = tunnel_backend(policy.limits, tunnel)
        yield section(f"backend tunnel_{listener.number}_{index}", lines)
    if listener.publications:
        server = f"server bridged {socket} send-proxy-v2"
    else:
        server = "tcp-request content reject"
    yield section(
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
        yield from publication_rules(listener, publication, index, files)
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
    options = ["alpn", "http/1.1", *versions(tls.settings), "ciphers", ciphers(tls.settings)]
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
