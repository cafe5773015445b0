"""How nginx enforces each rule, or why not. Sources: nginx.org/en/docs, by module."""

from __future__ import annotations

from ibcm_bridge.export.rules import ExportRule, Statements, no, part, statements, yes

_NO_BODIES = "nginx does not parse or scan bodies"

_ROWS: Statements = {
    ExportRule.SERVER_NAME: yes("ssl_reject_handshake in the default server"),
    ExportRule.HOST: yes("a server for each name; $ssl_server_name is compared with Host (421)"),
    ExportRule.HTTPS_ONLY: yes("https:// in proxy_pass of servers with TLS, http:// in others"),
    ExportRule.TLS: yes("ssl_protocols and ssl_ciphers"),
    ExportRule.RESUMPTION: yes("ssl_session_cache and ssl_session_tickets off"),
    ExportRule.LEG: yes("proxy_ssl_certificate; no pool of connections"),
    ExportRule.SLOW_LEG: yes("proxy_read_timeout (504)"),
    ExportRule.LEG_NAME: part(
        "proxy_ssl_verify, proxy_ssl_name and proxy_ssl_crl; the name is also sent as SNI, so "
        "verify_name replaces a different server name"
    ),
    ExportRule.FAILOVER: part(
        "error_page, to a location for each site system, which tests that nothing was sent; but "
        "every request tries the first site system again"
    ),
    ExportRule.SPREAD: part(
        "split_clients, by the fingerprint of the certificate: a renewed certificate, or another "
        "number of site systems, selects another one; clients without a certificate have the same "
        "one on a port with tunnels"
    ),
    ExportRule.STAY: no(
        "an upload changes to another site system with the other requests, and BITS begins it again"
    ),
    ExportRule.CERTIFICATE: yes("ssl_verify_client"),
    ExportRule.REVOCATION: yes("ssl_crl, with a list of every authority of the path"),
    ExportRule.RENEWAL: no(
        "nginx reads ssl_crl only at start and reload, and refuses all clients when a list "
        "expires: export again and reload before that"
    ),
    ExportRule.KIND: no("nginx has no variable for the subject alternative names of a certificate"),
    ExportRule.PURPOSE: part(
        "OpenSSL refuses a certificate for other purposes, but accepts one without extended key "
        "usage"
    ),
    ExportRule.HTTP_VERSION: yes("$server_protocol is compared (505)"),
    ExportRule.FRAMING: part(
        "nginx refuses most such heads, but ignores a line without a colon, a name with an "
        "underscore, and carriage returns that are missing"
    ),
    ExportRule.HEAD_SIZE: part(
        "large_client_header_buffers limits the size; the number of fields has no limit"
    ),
    ExportRule.SLOW_CLIENT: part(
        "client_header_timeout and keepalive_timeout; client_body_timeout is for the time between "
        "two reads, so a body that arrives byte by byte does not end"
    ),
    ExportRule.CODING: yes("$http_transfer_encoding is refused (400)"),
    ExportRule.CONNECTION: yes("$http_connection is compared with the fields of the role (400)"),
    ExportRule.MEDIA_TYPE: yes("a map of verb and media type (415)"),
    ExportRule.MULTIPART: no(_NO_BODIES),
    ExportRule.VERBS_MP: yes("a map of verb and target (403)"),
    ExportRule.VERBS_DP: yes("a map of verb and target (403)"),
    ExportRule.VERBS_FSP: yes("a map of verb and target (403)"),
    ExportRule.VERBS_CATALOG: no("an application catalog needs Windows authentication: left out"),
    ExportRule.FIELDS_MP: yes(
        "proxy_pass_request_headers off, and proxy_set_header for each field"
    ),
    ExportRule.FIELDS_DP: yes(
        "proxy_pass_request_headers off, and proxy_set_header for each field"
    ),
    ExportRule.UNLISTED: no("nginx cannot test for unknown fields: they are always dropped"),
    ExportRule.REPEATED: no(
        "nginx 1.22 forwards the first of several fields with one name, newer versions join them"
    ),
    ExportRule.RANGES: part("numbers of 16 digits are refused (416), overlapping ranges are not"),
    ExportRule.DIRECTORIES: part(
        "a map of verb and target; repetitions of more than 255 have no limit but that of the head"
    ),
    ExportRule.SPELLING: part(
        "patterns; characters beyond ASCII are not normalized, and 32 dots, spaces or plus signs "
        "in a row are refused"
    ),
    ExportRule.BODY_SIZE: part(
        "client_max_body_size: the largest limit of the role, for all verbs"
    ),
    ExportRule.RESPONSES: no("nginx does not parse replies: intranet names reach the client"),
    ExportRule.RESPONSE_FIELDS: part("proxy_hide_header for known fields; there is no allowlist"),
    ExportRule.SOURCES: no("limits of one source are not exported; see limit_conn"),
    ExportRule.IDENTITY: no(f"{_NO_BODIES}, so any client can use the client GUID of another one"),
    ExportRule.PAYLOAD: yes("proxy_request_buffering sends the body unchanged"),
    ExportRule.SUP_PATHS: yes("a map of verb and target (403)"),
    ExportRule.SIGN_IN: no(
        "nginx cannot hold a site-system leg for one client, so directories with Windows "
        "authentication are left out"
    ),
    ExportRule.ENROLLED: yes("only a tunnel is exported for it"),
    ExportRule.TUNNEL: yes("ssl_preread in the stream module"),
    ExportRule.TUNNEL_CERTIFICATE: yes("a tunnel has no certificate"),
    ExportRule.TUNNEL_ENROLLED: yes("a tunnel is exported"),
    ExportRule.TUNNEL_BLIND: yes("a comment at each tunnel"),
}

NGINX = statements(_NO_BODIES, _ROWS)
