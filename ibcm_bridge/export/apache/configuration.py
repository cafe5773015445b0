"""The configuration of Apache 2.4 with mod_ssl, mod_proxy and ModSecurity 2.9.

Sources: httpd.apache.org/docs/2.4/mod/mod_ssl.html, mod_proxy.html, mod_headers.html and
/docs/2.4/expr.html; github.com/owasp-modsecurity/ModSecurity, Reference Manual (v2.x).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from ibcm_bridge.export.apache.balancers import balancer_modules, proxy_headers
from ibcm_bridge.export.apache.publications import server_certificate, virtual_host
from ibcm_bridge.export.apache.site_systems import host_addresses, needed_modules
from ibcm_bridge.export.apache.statements import APACHE
from ibcm_bridge.export.apache.text import block, whole_seconds
from ibcm_bridge.export.exported import Export
from ibcm_bridge.export.model import ExportedListener, ExportedPolicy
from ibcm_bridge.export.writing import Files, Place, comment, header, limitations, safe_path
from ibcm_bridge.policy.addresses import address_text
from ibcm_bridge.policy.policy import Limits

HOLDS_LEGS = False
FIRST_ID = 9_100_000
"""Of the rules; ids from 9,000,000 are not reserved (Reference Manual, `id`)."""

_MODULES = (
    *("mpm_event", "unixd", "log_config", "authz_core", "headers", "reqtimeout", "unique_id"),
    *("socache_shmcb", "ssl", "proxy", "proxy_http", "security2"),
)

_DISTRIBUTIONS = """\
<IfFile /usr/lib/apache2/modules>
    Define MODULES /usr/lib/apache2/modules
    Define RUN_USER www-data
    Define RUN_GROUP www-data
</IfFile>
<IfFile !/usr/lib/apache2/modules>
    Define MODULES /etc/httpd/modules
    Define RUN_USER apache
    Define RUN_GROUP apache
</IfFile>"""
"""The modules and the account of Debian and of RHEL. `IfFile` (2.4.34) is true for a folder too."""

_NOTES = (
    "Check: apache2 -t -f FILE. Start: apache2 -f FILE. On RHEL, the program is httpd. Debian "
    "needs apache2-bin and libapache2-mod-security2; RHEL needs httpd, mod_ssl and mod_security. "
    "For another distribution, set MODULES, RUN_USER and RUN_GROUP below. The OWASP Core Rule Set "
    "is not included: it refuses messages of ConfigMgr clients.",
    "The other files have a certificate with its private key: keep the folder readable for root.",
    "Revocation: Apache reads the CRLs at start and reload only. When the list of any authority of "
    "the path expires or is missing, Apache refuses every client. So export again after each new "
    "CRL, with --files, and reload. A connection that is open keeps its client.",
)


def export_apache(policy: ExportedPolicy, place: Place) -> Export:
    """Write the configuration. ExportError if a value cannot be written."""
    files = Files(place.folder)
    not_enforced = limitations(APACHE)
    tunnels = tuple(tunnel.name for listener in policy.listeners for tunnel in listener.tunnels)
    hosts = host_addresses(policy)
    lines = [f"{address} {name}" for name, address in hosts.items()]
    notes = [*_NOTES]
    if lines:
        notes.append(
            "The names of site systems must resolve to the addresses of the policy; in /etc/hosts: "
            + "; ".join(lines)
        )
    text = header(
        "Apache 2.4 with ModSecurity 2.9",
        place,
        notes=notes,
        not_enforced=not_enforced,
        left_out=policy.left_out,
        tunnels=tunnels,
    )
    ids = count(FIRST_ID)
    sections = [text, _main(policy, safe_path(place.folder))]
    for listener in policy.listeners:
        if listener.publications:
            sections += _listener(policy, listener, files, ids)
    return Export(
        "\n\n".join(sections) + "\n",
        files.contents,
        not_enforced,
        (*policy.left_out, *tunnels),
        hosts,
    )


def _main(policy: ExportedPolicy, folder: str) -> str:
    limits = policy.limits
    publications = [each for listener in policy.listeners for each in listener.publications]
    head = max((each.request_head for each in publications), default=8190)
    modules = "\n".join(
        f"<IfModule !mod_{name}.c>\n    LoadModule {name}_module ${{MODULES}}/mod_{name}.so\n"
        "</IfModule>"
        for name in (*_MODULES, *balancer_modules(policy), *needed_modules(policy))
    )
    listen = "\n".join(
        f"Listen {address_text(listener.address)}{' https' if listener.is_tls else ' http'}"
        for listener in policy.listeners
        if listener.publications
    )
    return f"""\
{_DISTRIBUTIONS}
ServerRoot {folder}
DefaultRuntimeDir {folder}
PidFile {folder}/apache.pid
ErrorLog {folder}/error.log
{modules}
User ${{RUN_USER}}
Group ${{RUN_GROUP}}
{listen}

LogFormat "%a %t \\"%r\\" %>s %b" ibcm
CustomLog {folder}/access.log ibcm
ServerTokens Prod
ServerSignature Off
TraceEnable Off
# [HTTP-1.1]
HttpProtocolOptions Strict
LimitRequestLine {head}
LimitRequestFieldSize {head}
LimitRequestFields {limits.header_fields}
KeepAlive On
KeepAliveTimeout {whole_seconds(limits.idle_seconds)}
MaxKeepAliveRequests {limits.connection_requests}
Timeout {whole_seconds(limits.response_seconds)}
{_request_times(limits)}
ProxyAddHeaders Off
ProxyVia Off
ProxyRequests Off
# [BRIDGE-TERMINATE] No client resumes a session.
SSLSessionCache {"shmcb:" + folder + "/sessions(5120000)" if _resumes(policy) else "none"}
SSLSessionTickets {"on" if _resumes(policy) else "off"}
SSLStrictSNIVHostCheck Off

SecRuleEngine On
SecRequestBodyAccess Off
SecResponseBodyAccess Off
SecAuditEngine Off
SecPcreMatchLimit 1000000
SecPcreMatchLimitRecursion 1000000
SecInterceptOnError On
SecTmpDir {folder}
SecDataDir {folder}"""


def _resumes(policy: ExportedPolicy) -> bool:
    return any(
        each.tls is not None and each.tls.clients_resume
        for listener in policy.listeners
        for each in listener.publications
    )


def _request_times(limits: Limits) -> str:
    handshake = whole_seconds(limits.handshake_seconds)
    head, body = whole_seconds(limits.head_seconds), whole_seconds(limits.body_seconds)
    return f"RequestReadTimeout handshake={handshake} header={head} body={body}"


def _listener(
    policy: ExportedPolicy, listener: ExportedListener, files: Files, ids: Iterator[int]
) -> Iterator[str]:
    address = address_text(listener.address)
    without_sni = [each for each in listener.publications if each.name == listener.without_sni]
    if not without_sni:
        yield block("VirtualHost", address, _default(listener, files))
    others = [each for each in listener.publications if each.name != listener.without_sni]
    # Clients without SNI, and those with an unknown name, get the first virtual host.
    for index, publication in enumerate((*without_sni, *others), 1):
        key = f"{listener.number}_{index}"
        lines = virtual_host(policy, listener, publication, files, ids, key=key)
        yield block("VirtualHost", address, lines)


def _default(listener: ExportedListener, files: Files) -> Iterator[str]:
    publication = listener.publications[0]
    yield comment("[DNS-INTERNET-FQDN] Other names: every request is refused.")
    yield "ServerName unknown.invalid"
    yield from proxy_headers(listener)
    if publication.tls is not None:
        yield from server_certificate(publication.tls)
    yield '<Location "/">\n    Require all denied\n</Location>'
