"""How Envoy enforces each rule, or why not. Source: envoyproxy.io/docs/envoy/v1.40.0."""

from __future__ import annotations

from ibcm_bridge.export.rules import ExportRule, Statements, no, part, statements, yes

_NO_BODIES = "the configuration does not parse or scan bodies"
_ROUTES = "routes by verb and target (403)"
_FIELDS = "the Lua filter removes every other field"

_ROWS: Statements = {
    ExportRule.SERVER_NAME: part(
        "filter_chain_match.server_names; a publication with without_sni also gets unknown names"
    ),
    ExportRule.HOST: yes("each filter chain has only its own domain (404)"),
    ExportRule.HTTPS_ONLY: yes("transport_socket of both legs, or of none"),
    ExportRule.TLS: yes("tls_params"),
    ExportRule.RESUMPTION: yes("disable_stateless_session_resumption and the stateful one"),
    ExportRule.LEG: yes("UpstreamTlsContext; connection_pool_per_downstream_connection"),
    ExportRule.SLOW_LEG: yes("idle_timeout of a route (504)"),
    ExportRule.LEG_NAME: yes("match_typed_subject_alt_names, sni and crl"),
    ExportRule.FAILOVER: part(
        "retry_on connect-failure, priorities and outlier_detection; but a body of more than 1 MiB "
        "is not kept for another site system (503)"
    ),
    ExportRule.SPREAD: part(
        "RING_HASH, by the fingerprint of the certificate: a renewed certificate can select "
        "another site system"
    ),
    ExportRule.STAY: no(
        "an upload changes to another site system with the other requests, and BITS begins it again"
    ),
    ExportRule.CERTIFICATE: yes("require_client_certificate and trusted_ca"),
    ExportRule.REVOCATION: yes("crl, with a list of every authority of the path"),
    ExportRule.RENEWAL: no(
        "Envoy reads crl only at start, and refuses all clients when a list expires: export again "
        "and restart before that (SDS files can change while Envoy runs, but are not exported)"
    ),
    ExportRule.KIND: part(
        "a user's principal name is required where users are authenticated, but it is not refused "
        "elsewhere"
    ),
    ExportRule.PURPOSE: part(
        "BoringSSL refuses a certificate for other purposes, but accepts one without extended key "
        "usage"
    ),
    ExportRule.HTTP_VERSION: part("HTTP/1.0 is refused (426), other versions are not"),
    ExportRule.FRAMING: part(
        "Envoy refuses most such heads, but accepts and corrects some spellings"
    ),
    ExportRule.HEAD_SIZE: yes("max_request_headers_kb, and max_headers_count (431)"),
    ExportRule.SLOW_CLIENT: part(
        "request_headers_timeout and idle_timeout; an idle connection is closed 5 s later, and a "
        "body that arrives byte by byte does not end; the site system gets the body while it "
        "arrives"
    ),
    ExportRule.CODING: yes("the Lua filter refuses Transfer-Encoding (411)"),
    ExportRule.CONNECTION: no(
        "Envoy removes Connection before its filters, and forwards a field that it names"
    ),
    ExportRule.MEDIA_TYPE: yes("the Lua filter compares verb and media type (415)"),
    ExportRule.MULTIPART: no(_NO_BODIES),
    ExportRule.VERBS_MP: yes(_ROUTES),
    ExportRule.VERBS_DP: yes(_ROUTES),
    ExportRule.VERBS_FSP: yes(_ROUTES),
    ExportRule.VERBS_CATALOG: yes(_ROUTES),
    ExportRule.FIELDS_MP: yes(_FIELDS),
    ExportRule.FIELDS_DP: yes(_FIELDS),
    ExportRule.UNLISTED: yes("the Lua filter refuses them (400)"),
    ExportRule.REPEATED: yes("the Lua filter counts the fields (400)"),
    ExportRule.RANGES: part("numbers of 16 digits are refused (416), overlapping ranges are not"),
    ExportRule.DIRECTORIES: part(
        "routes; repetitions of more than 255 have no limit but that of the head"
    ),
    ExportRule.SPELLING: part(
        "patterns; characters beyond ASCII are not normalized, and 32 dots, spaces or plus signs "
        "in a row are refused"
    ),
    ExportRule.BODY_SIZE: yes("the Lua filter compares Content-Length for each verb (413)"),
    ExportRule.RESPONSES: no("replies are not parsed: intranet names reach the client"),
    ExportRule.RESPONSE_FIELDS: part(
        "response_headers_to_remove of known fields; there is no allowlist, and Envoy sends Server"
    ),
    ExportRule.SOURCES: no("limits of one source are not exported"),
    ExportRule.IDENTITY: no(f"{_NO_BODIES}; any client can use the client GUID of another one"),
    ExportRule.PAYLOAD: yes("the body is forwarded unchanged, while it arrives"),
    ExportRule.SUP_PATHS: yes(_ROUTES),
    ExportRule.SIGN_IN: yes(
        "connection_pool_per_downstream_connection: a connection belongs to one client"
    ),
    ExportRule.ENROLLED: yes("only a tunnel is exported for it"),
    ExportRule.TUNNEL: yes("a filter chain with tcp_proxy"),
    ExportRule.TUNNEL_CERTIFICATE: yes("a tunnel has no certificate"),
    ExportRule.TUNNEL_ENROLLED: yes("a tunnel is exported"),
    ExportRule.TUNNEL_BLIND: yes("a comment at each tunnel"),
}

ENVOY = statements(_NO_BODIES, _ROWS)
