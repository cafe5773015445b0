"""How Apache with ModSecurity enforces each rule, or why not. Sources: see `apache`."""

from __future__ import annotations

from ibcm_bridge.export.rules import ExportRule, Statements, no, part, statements, yes

_NO_BODIES = "ModSecurity has no parser for these bodies, so they are not inspected"
_MAP = "SecRule on verb and target (403)"
_FIELDS = (
    "fields that servers obey are refused, and Authorization is removed, but other unlisted fields "
    "are forwarded: mod_headers has no allowlist"
)

_ROWS: Statements = {
    ExportRule.SERVER_NAME: part(
        "an unknown name gets a virtual host that refuses every request, after the handshake"
    ),
    ExportRule.HOST: yes("Host is compared with SSL_TLS_SNI (421)"),
    ExportRule.HTTPS_ONLY: yes("https:// in ProxyPass of hosts with SSLEngine, http:// in others"),
    ExportRule.TLS: yes("SSLProtocol and SSLCipherSuite"),
    ExportRule.RESUMPTION: yes("SSLSessionCache none and SSLSessionTickets off"),
    ExportRule.LEG: yes("SSLProxyMachineCertificateFile; disablereuse=on"),
    ExportRule.SLOW_LEG: yes("Timeout (502, 504)"),
    ExportRule.LEG_NAME: part(
        "SSLProxyCheckPeerName and SSLProxyCARevocationCheck; the name is that of the URL, so "
        "verify_name replaces a different server name, and it must resolve to the site system"
    ),
    ExportRule.FAILOVER: part(
        "a balancer with lbset and retry; but if the TLS handshake fails, the request is lost "
        "(500), and only later ones go to another site system"
    ),
    ExportRule.SPREAD: no(
        "Apache cannot select by certificate: all clients use the first site system of the list, "
        "and the others for its failure"
    ),
    ExportRule.STAY: no(
        "an upload changes to another site system with the other requests, and BITS begins it again"
    ),
    ExportRule.CERTIFICATE: yes("SSLVerifyClient require"),
    ExportRule.REVOCATION: yes("SSLCARevocationCheck chain, with a list of every authority"),
    ExportRule.RENEWAL: no(
        "Apache reads SSLCARevocationFile only at start and reload, and refuses all clients when a "
        "list expires: export again and reload before that"
    ),
    ExportRule.KIND: part(
        "the principal name SSL_CLIENT_SAN_OTHER_msUPN_0; its form is not checked"
    ),
    ExportRule.PURPOSE: yes("extendedKeyUsage in PeerExtList (403)"),
    ExportRule.HTTP_VERSION: yes("REQUEST_PROTOCOL is compared (505)"),
    ExportRule.FRAMING: part(
        "HttpProtocolOptions Strict refuses most such heads, but Apache joins folded fields, and "
        "several fields with one name"
    ),
    ExportRule.HEAD_SIZE: yes("LimitRequestFieldSize and LimitRequestFields (400)"),
    ExportRule.SLOW_CLIENT: part(
        "RequestReadTimeout (2.4.39 or newer) and KeepAliveTimeout; a connection without a byte "
        "waits in the kernel (AcceptFilter)"
    ),
    ExportRule.CODING: yes("Transfer-Encoding is refused (411)"),
    ExportRule.CONNECTION: yes("Connection is compared with the fields of the role (400)"),
    ExportRule.MEDIA_TYPE: yes("SecRule on verb, length and media type (415)"),
    ExportRule.MULTIPART: no(_NO_BODIES),
    ExportRule.VERBS_MP: yes(_MAP),
    ExportRule.VERBS_DP: yes(_MAP),
    ExportRule.VERBS_FSP: yes(_MAP),
    ExportRule.VERBS_CATALOG: no("an application catalog needs Windows authentication: left out"),
    ExportRule.FIELDS_MP: part(_FIELDS),
    ExportRule.FIELDS_DP: part(_FIELDS),
    ExportRule.UNLISTED: yes("SecRule on REQUEST_HEADERS_NAMES (400)"),
    ExportRule.REPEATED: part("Apache joins several fields with one name before ModSecurity"),
    ExportRule.RANGES: part("numbers of 16 digits are refused (416), overlapping ranges are not"),
    ExportRule.DIRECTORIES: part(
        "SecRule on verb and target; repetitions of more than 255 have no limit but that of the "
        "head"
    ),
    ExportRule.SPELLING: part(
        "patterns; characters beyond ASCII are not normalized, and 32 dots, spaces or plus signs "
        "in a row are refused"
    ),
    ExportRule.BODY_SIZE: yes("SecRule on Content-Length for each verb (413)"),
    ExportRule.RESPONSES: no("replies are not parsed: intranet names reach the client"),
    ExportRule.RESPONSE_FIELDS: part(
        "Header unset for known fields; there is no allowlist, and Apache sends Server: Apache"
    ),
    ExportRule.SOURCES: no("limits of one source are not exported"),
    ExportRule.IDENTITY: no(f"{_NO_BODIES}; any client can use the client GUID of another one"),
    ExportRule.PAYLOAD: yes("the body is forwarded unchanged, while it arrives"),
    ExportRule.SUP_PATHS: yes(_MAP),
    ExportRule.SIGN_IN: no(
        "Apache cannot hold a site-system leg for one client, so directories with Windows "
        "authentication are left out"
    ),
    ExportRule.ENROLLED: yes("it is not exported"),
    ExportRule.TUNNEL: no("Apache cannot forward TLS by server name: tunnels are left out"),
    ExportRule.TUNNEL_CERTIFICATE: no("tunnels are left out"),
    ExportRule.TUNNEL_ENROLLED: no("tunnels are left out"),
    ExportRule.TUNNEL_BLIND: no("tunnels are left out"),
}

APACHE = statements(_NO_BODIES, _ROWS)
