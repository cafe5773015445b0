"""How HAProxy enforces each rule, or why not. Source: HAProxy 2.6 configuration manual."""

from __future__ import annotations

from ibcm_bridge.export.rules import ExportRule, Statements, no, part, statements, yes

_NO_BODIES = "HAProxy does not parse or scan bodies"
_MAP = "a map of verb and target (403)"
_FIELDS = "http-request del-header of every other field"

_ROWS: Statements = {
    ExportRule.SERVER_NAME: yes("crt-list with strict-sni"),
    ExportRule.HOST: yes("Host is compared with ssl_fc_sni (421)"),
    ExportRule.HTTPS_ONLY: yes("ssl on both legs, or on none"),
    ExportRule.TLS: yes("ssl-min-ver, ssl-max-ver and ciphers in the crt-list"),
    ExportRule.RESUMPTION: part(
        "no-tls-tickets and tune.ssl.cachesize 0, for all publications together"
    ),
    ExportRule.LEG: yes("crt of the server; http-reuse never"),
    ExportRule.SLOW_LEG: yes("timeout server (504)"),
    ExportRule.LEG_NAME: yes("verify required, verifyhost, sni and crl-file"),
    ExportRule.FAILOVER: part(
        "retry-on conn-failure, observe layer4, and a TLS handshake every 10 s as a health check; "
        "but while the TLS handshake fails, up to 3 requests are lost (503), and the third site "
        "system of a list is tried only after one of the others is down"
    ),
    ExportRule.SPREAD: part(
        "balance hash, of the certificate, with hash-type consistent; a renewed certificate can "
        "select another site system"
    ),
    ExportRule.STAY: part(
        "a stick-table of BITS-Session-Id; if that site system cannot be connected, another one "
        "gets the packet, and BITS begins the upload again"
    ),
    ExportRule.CERTIFICATE: yes("verify required"),
    ExportRule.REVOCATION: yes("crl-file, with a list of every authority of the path"),
    ExportRule.RENEWAL: no(
        "HAProxy reads crl-file only at start and reload (or by `set ssl crl-file` on its socket), "
        "and refuses all clients when a list expires: export again and reload before that"
    ),
    ExportRule.KIND: part(
        "the certificate is searched for the OID of a user principal name, and for $@ as in that "
        "of a computer account; its value is not parsed, and a few percent of all certificates "
        "have $@ by chance, so a user who has such a certificate passes as a computer"
    ),
    ExportRule.PURPOSE: yes("the certificate must have the OID of client authentication (403)"),
    ExportRule.HTTP_VERSION: yes("req.ver is compared (505)"),
    ExportRule.FRAMING: part(
        "HAProxy refuses most such heads, but accepts and corrects some spellings"
    ),
    ExportRule.HEAD_SIZE: yes(
        "tune.bufsize limits the size, tune.http.maxhdr the number of fields (400)"
    ),
    ExportRule.SLOW_CLIENT: part(
        "timeout http-request and http-keep-alive; timeout client is for the time between two "
        "reads, so a body that arrives byte by byte does not end; the site system gets the body "
        "while it arrives"
    ),
    ExportRule.CODING: yes("Transfer-Encoding is refused (411)"),
    ExportRule.CONNECTION: yes("Connection is compared with the fields of the role (400)"),
    ExportRule.MEDIA_TYPE: yes("a map of verb, length and media type (415)"),
    ExportRule.MULTIPART: no(_NO_BODIES),
    ExportRule.VERBS_MP: yes(_MAP),
    ExportRule.VERBS_DP: yes(_MAP),
    ExportRule.VERBS_FSP: yes(_MAP),
    ExportRule.VERBS_CATALOG: yes(_MAP),
    ExportRule.FIELDS_MP: yes(_FIELDS),
    ExportRule.FIELDS_DP: yes(_FIELDS),
    ExportRule.UNLISTED: no("not exported: unlisted fields are always dropped"),
    ExportRule.REPEATED: yes("req.fhdr_cnt of each field that is not a list (400)"),
    ExportRule.RANGES: part("numbers of 16 digits are refused (416), overlapping ranges are not"),
    ExportRule.DIRECTORIES: part(
        "a map of verb and target; repetitions of more than 255 have no limit but that of the "
        "head, and targets with 768 escapes or more are refused, because PCRE2 has a small stack"
    ),
    ExportRule.SPELLING: part(
        "patterns; characters beyond ASCII are not normalized, and 32 dots, spaces or plus signs "
        "in a row are refused"
    ),
    ExportRule.BODY_SIZE: yes("req.hdr_val(content-length) for each verb (413)"),
    ExportRule.RESPONSES: no("HAProxy does not parse replies: intranet names reach the client"),
    ExportRule.RESPONSE_FIELDS: part(
        "http-response del-header of known fields; there is no allowlist"
    ),
    ExportRule.SOURCES: part("a stick-table; IPv6 sources are single addresses, not networks"),
    ExportRule.IDENTITY: no(f"{_NO_BODIES}, so any client can use the client GUID of another one"),
    ExportRule.PAYLOAD: yes("the body is forwarded unchanged, while it arrives"),
    ExportRule.SUP_PATHS: yes(_MAP),
    ExportRule.SIGN_IN: yes("http-reuse never: a server connection belongs to one client"),
    ExportRule.ENROLLED: yes("only a tunnel is exported for it"),
    ExportRule.TUNNEL: yes("mode tcp with req.ssl_sni"),
    ExportRule.TUNNEL_CERTIFICATE: yes("a tunnel has no certificate"),
    ExportRule.TUNNEL_ENROLLED: yes("a tunnel is exported"),
    ExportRule.TUNNEL_BLIND: yes("a comment at each tunnel"),
}

HAPROXY = statements(_NO_BODIES, _ROWS)
