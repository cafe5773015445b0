"""The configuration of Apache 2.4 with mod_ssl, mod_proxy and ModSecurity 2.9.

Sources: httpd.apache.org/docs/2.4/mod/mod_ssl.html, mod_proxy.html, mod_headers.html and
/docs/2.4/expr.html; github.com/owasp-modsecurity/ModSecurity, Reference Manual (v2.x).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import count

from ibcm_bridge.export.apache_statements import APACHE
from ibcm_bridge.export.exported import Export, ExportError
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
from ibcm_bridge.export.raw_patterns import raw_literal
from ibcm_bridge.export.targets import with_cased_method
from ibcm_bridge.export.writing import Files, Place, comment, header, limitations
from ibcm_bridge.policy.addresses import address_text, host_text, is_ip_address
from ibcm_bridge.policy.policy import Limits
from ibcm_bridge.policy.roles import CertificatePolicy
from ibcm_bridge.policy.tls_settings import SUITES, TlsSettings

HOLDS_LEGS = False
FIRST_ID = 9_100_000
"""Of the rules; ids from 9,000,000 are not reserved (Reference Manual, `id`)."""

_MODULES = (
    *("mpm_event", "unixd", "log_config", "authz_core", "headers", "reqtimeout", "unique_id"),
    *("socache_shmcb", "ssl", "proxy", "proxy_http", "security2"),
)

_NOTES = (
    "Check: apache2 -t -f FILE. Start: apache2 -f FILE. Set MODULES, RUN_USER and RUN_GROUP below "
    "for your distribution; Debian needs apache2-bin and libapache2-mod-security2. The OWASP Core "
    "Rule Set is not included: it refuses messages of ConfigMgr clients.",
    "The other files have a certificate with its private key: keep the folder readable for root.",
    "Revocation: Apache reads the CRLs at start and reload only. When the list of any authority of "
    "the path expires or is missing, Apache refuses every client. So export again after each new "
    "CRL, with --files, and reload. A connection that is open keeps its client.",
)

_RESPONSE_FIELDS = (
    *(
        "Server",
        "X-Powered-By",
        "X-AspNet-Version",
        "X-AspNetMvc-Version",
        "Alt-Svc",
        "Via",
        "Refresh",
    ),
    *("Link", "Clear-Site-Data", "Strict-Transport-Security", "BITS-Host-ID"),
    *("BITS-Host-ID-Fallback-Timeout", "BITS-Reply-URL", "Content-Location"),
)
"""Fields about a site system (`site_system_leg.response_head`)."""

_OWN_FIELDS = ("connection", "content-length", "host", "keep-alive")


def export_apache(policy: ExportedPolicy, place: Place) -> Export:
    """Write the configuration. ExportError if a value cannot be written."""
    files = Files(place.folder)
    not_enforced = limitations(APACHE)
    tunnels = tuple(tunnel.name for listener in policy.listeners for tunnel in listener.tunnels)
    hosts = _hosts(policy)
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


def _hosts(policy: ExportedPolicy) -> Mapping[str, str]:
    """Return the names of site systems that the policy connects to at another address."""
    hosts: dict[str, str] = {}
    for listener in policy.listeners:
        for publication in listener.publications:
            for role in publication.roles:
                name, address = role.site_system.verify_name, role.site_system.address[0]
                if name != address and hosts.setdefault(name, address) != address:
                    raise ExportError(
                        f"{name}: Apache connects to a name, which cannot have the addresses "
                        f"{hosts[name]} and {address}"
                    )
                if name != address and not is_ip_address(address):
                    raise ExportError(
                        f"{name}: connect: {address} is another name; write an IP address"
                    )
    return hosts


def _main(policy: ExportedPolicy, folder: str) -> str:
    limits = policy.limits
    publications = [each for listener in policy.listeners for each in listener.publications]
    head = max((each.request_head for each in publications), default=8190)
    modules = "\n".join(
        f"<IfModule !mod_{name}.c>\n    LoadModule {name}_module ${{MODULES}}/mod_{name}.so\n"
        "</IfModule>"
        for name in _MODULES
    )
    listen = "\n".join(
        f"Listen {address_text(listener.address)}{' https' if listener.is_tls else ' http'}"
        for listener in policy.listeners
        if listener.publications
    )
    return f"""\
Define MODULES /usr/lib/apache2/modules
Define RUN_USER www-data
Define RUN_GROUP www-data
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
KeepAliveTimeout {_seconds(limits.idle_seconds)}
MaxKeepAliveRequests {limits.connection_requests}
Timeout {_seconds(limits.response_seconds)}
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
    handshake, head = _seconds(limits.handshake_seconds), _seconds(limits.head_seconds)
    body = _seconds(limits.body_seconds)
    return f"RequestReadTimeout handshake={handshake} header={head} body={body}"


def _seconds(seconds: float) -> int:
    return max(1, round(seconds))


def _block(name: str, argument: str, lines: Iterable[str]) -> str:
    inner = "\n".join(f"    {line}" if line else "" for text in lines for line in text.split("\n"))
    return f"<{name} {argument}>\n{inner}\n</{name}>"


def _listener(
    policy: ExportedPolicy, listener: ExportedListener, files: Files, ids: Iterator[int]
) -> Iterator[str]:
    address = address_text(listener.address)
    without_sni = [each for each in listener.publications if each.name == listener.without_sni]
    if not without_sni:
        yield _block("VirtualHost", address, _default(listener.publications[0], files))
    others = [each for each in listener.publications if each.name != listener.without_sni]
    # Clients without SNI, and those with an unknown name, get the first virtual host.
    for publication in (*without_sni, *others):
        lines = _host(policy, listener, publication, files, ids)
        yield _block("VirtualHost", address, lines)


def _default(publication: ExportedPublication, files: Files) -> Iterator[str]:
    yield comment("[DNS-INTERNET-FQDN] Other names: every request is refused.")
    yield "ServerName unknown.invalid"
    if publication.tls is not None:
        yield from _server_certificate(publication.tls)
    yield '<Location "/">\n    Require all denied\n</Location>'


def _server_certificate(tls: ExportedTls) -> Iterator[str]:
    yield "SSLEngine on"
    yield f"SSLCertificateFile {safe_path(tls.server.chain)}"
    yield f"SSLCertificateKeyFile {safe_path(tls.server.key)}"
    yield f"SSLProtocol -all {_versions(tls.settings)}"
    yield f"SSLCipherSuite {_ciphers(tls.settings)}"
    yield "SSLHonorCipherOrder on"


def _versions(settings: TlsSettings) -> str:
    return " ".join(f"+TLSv{version}" for version in settings.versions)


def _ciphers(settings: TlsSettings) -> str:
    return ":".join(suite.openssl for suite in SUITES[settings.suites])


def _host(
    policy: ExportedPolicy,
    listener: ExportedListener,
    publication: ExportedPublication,
    files: Files,
    ids: Iterator[int],
) -> Iterator[str]:
    yield comment(f"{publication.name}, for clients port {publication.public_port}")
    yield f"ServerName {publication.name}"
    if publication.tls is not None:
        yield comment("[BRIDGE-TERMINATE] The client leg.")
        yield from _server_certificate(publication.tls)
        without_sni = listener.without_sni == publication.name
        yield from _client_certificate(publication, publication.tls, without_sni, files)
        yield from _leg(publication.tls, _leg_settings(publication), files)
    yield from _rules(policy, publication, ids)
    yield comment("[BRIDGE-INSPECT] Fields about the site system.")
    for field in _RESPONSE_FIELDS:
        yield f"Header unset {field}"
        yield f"Header always unset {field}"
    yield comment("[BRIDGE-HTTPS-ONLY] [BRIDGE-IDENTITY] Each request has its own connection.")
    scheme = "http" if publication.tls is None else "https"
    for role in publication.roles:
        site_system = role.site_system
        if not role.directories:
            continue
        host = f"{host_text(site_system.verify_name)}:{site_system.address[1]}"
        seconds = _seconds(policy.limits.connect_seconds)
        directories = "|".join(map(raw_literal, role.directories))
        # nocanon: the target as sent, with its query.
        pattern = f"(?i)^/((?:{directories})(?:[/?].*)?)$"
        yield (
            f'ProxyPassMatch "{pattern}" "{scheme}://{host}/$1" nocanon disablereuse=on '
            f"connectiontimeout={seconds}"
        )
        for name in sorted(site_system.names):
            yield f"ProxyPassReverse / {scheme}://{name}/"


def _client_certificate(
    publication: ExportedPublication, tls: ExportedTls, without_sni: bool, files: Files
) -> Iterator[str]:
    yield comment("[DNS-INTERNET-FQDN] The name of the connection.")
    name = publication.name.replace(".", "[.]")
    conditions = [f"%{{SSL_TLS_SNI}} =~ /^(?:{name}){'?' if without_sni else ''}$/i"]
    trust = tls.client_trust
    if trust is None:
        yield "SSLVerifyClient none"
    else:
        yield comment("[BRIDGE-AUTH-COMPUTER] Client certificates.")
        required = tls.certificates is not CertificatePolicy.OPTIONAL
        yield f"SSLVerifyClient {'require' if required else 'optional'}"
        yield "SSLVerifyDepth 8"
        yield f"SSLCACertificateFile {files.authorities(trust)}"
        yield f"SSLCADNRequestFile {files.anchors(trust)}"
        if (crls := files.crls(trust)) is not None:
            yield f"SSLCARevocationFile {crls}"
            yield "SSLCARevocationCheck chain"
        yield comment("[PKI-BOTH-ENDS] [BRIDGE-AUTH-USER] Purpose and kind of the certificate.")
        conditions.append(_kind(tls.certificates))
    yield "SSLOptions +StdEnvVars"
    requirements = "\n".join(f'        Require expr "{text}"' for text in conditions)
    yield (f'<Location "/">\n    <RequireAll>\n{requirements}\n    </RequireAll>\n</Location>')


def _kind(certificates: CertificatePolicy) -> str:
    name = "%{SSL_CLIENT_SAN_OTHER_msUPN_0}"
    purpose = "'TLS Web Client Authentication' in PeerExtList('extendedKeyUsage')"
    if certificates is CertificatePolicy.COMPUTER:
        return f"{purpose} && (-z {name} || {name} =~ /[$]@/)"
    if certificates is CertificatePolicy.USER:
        return f"{purpose} && -n {name} && {name} !~ /[$]@/"
    if certificates is CertificatePolicy.OPTIONAL:
        # Without a certificate there is no serial number. A subject can be empty.
        return f"-z %{{SSL_CLIENT_M_SERIAL}} || {purpose}"
    return purpose


def _leg(tls: ExportedTls, settings: TlsSettings, files: Files) -> Iterator[str]:
    yield comment("[BRIDGE-TERMINATE] The site-system leg.")
    yield "SSLProxyEngine on"
    yield f"SSLProxyProtocol -all {_versions(settings)}"
    yield f"SSLProxyCipherSuite {_ciphers(settings)}"
    yield f"SSLProxyMachineCertificateFile {files.pair(tls.client, tls.client_leaf_pem)}"
    if tls.client_issuers_pem:
        path = files.chain(tls.client, tls.client_issuers_pem)
        yield f"SSLProxyMachineCertificateChainFile {path}"
    yield "SSLProxyVerify require"
    yield "SSLProxyVerifyDepth 8"
    yield "SSLProxyCheckPeerName on"
    yield "SSLProxyCheckPeerExpire on"
    yield f"SSLProxyCACertificateFile {files.authorities(tls.site_system_trust)}"
    if (crls := files.crls(tls.site_system_trust)) is not None:
        yield f"SSLProxyCARevocationFile {crls}"
        yield "SSLProxyCARevocationCheck chain"


def _leg_settings(publication: ExportedPublication) -> TlsSettings:
    found = {role.site_system.tls for role in publication.roles}
    if len(found) > 1:
        raise ExportError(
            f"{publication.name}: Apache has one TLS setting for all site systems of a name; "
            "publish roles with other tls or highest_tls under another name"
        )
    return found.pop()


# Rules of ModSecurity


def _rules(
    policy: ExportedPolicy,
    publication: ExportedPublication,
    ids: Iterator[int],
) -> Iterator[str]:
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
            f"SecRule TX:target {_quoted(f'@rx {line.cased}')} "
            f'"id:{next(ids)},phase:1,nolog,pass,t:none,{decided}"'
        )
    yield f"SecMarker {after}"
    yield from _not_evaluated(ids)
    names = one_pattern_for(role.name for role in publication.roles)
    yield _deny(ids, '&TX:role "@eq 0"', 403)
    yield _deny(ids, f'TX:role "!@rx ^{names}$"', 403)
    yield comment("[HEADER-MP] [HEADER-DP] Fields that servers obey are refused.")
    never = "|".join(re.escape(name) for name in policy.never_fields if name not in _OWN_FIELDS)
    yield _deny(ids, f"REQUEST_HEADERS_NAMES {_quoted(f'@rx (?i)^(?:{never})$')}", 400)
    yield _deny(
        ids, f"REQUEST_HEADERS_NAMES {_quoted(f'@rx (?i){policy.never_field_pattern}')}", 400
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
    yield _deny(ids, f"TX:body {_quoted(f'!@rx {allowed}')}", 415)
    for verb, rule in role.verbs.items():
        chained = _deny(ids, f'REQUEST_METHOD "@streq {verb}"', 413, chain=True)
        yield f'{chained}\n    SecRule REQUEST_HEADERS:Content-Length "@gt {rule.limit}" "t:none"'
    yield comment(f"[{role.fields_requirement}] [HTTP-1.1] Header fields.")
    fields = one_pattern_for(role.fields)
    listed = f"@rx (?i)(?:^|[, ]){fields}(?:[, ]|$)"
    yield _deny(ids, f"REQUEST_HEADERS:Connection {_quoted(listed)}", 400)
    if publication.refuses_unlisted:
        all_fields = one_pattern_for((*_OWN_FIELDS, *role.fields))
        pattern = _quoted(f"!@rx (?i)^{all_fields}$")
        yield _deny(ids, f"REQUEST_HEADERS_NAMES {pattern}", 400)
    yield f"SecMarker {after}"
    for field, verbs in role.dropped.items():
        if field in role.fields:
            some = ", ".join(f"'{verb}'" for verb in verbs)
            yield f'RequestHeader unset {field} "expr=%{{REQUEST_METHOD}} in {{{some}}}"'


def _deny(ids: Iterator[int], condition: str, status: int, *, chain: bool = False) -> str:
    more = ",chain" if chain else ""
    return f'SecRule {condition} "id:{next(ids)},phase:1,t:none,log,deny,status:{status}{more}"'


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
