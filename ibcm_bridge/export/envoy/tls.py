"""The transport sockets of Envoy: the TLS settings of both legs."""

from __future__ import annotations

from ibcm_bridge.export.envoy.yaml_text import Commented, Value
from ibcm_bridge.export.model import ExportedTls
from ibcm_bridge.export.writing import Files, safe_path
from ibcm_bridge.policy.roles import CertificatePolicy
from ibcm_bridge.policy.site_systems import SiteSystem
from ibcm_bridge.policy.tls_settings import SUITES, TlsSettings
from ibcm_bridge.policy.trust import CredentialFiles, Trust

_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
_PRINCIPAL_NAME = "1.3.6.1.4.1.311.20.2.3"
"""The OID of a user principal name ([MS-WCCE] 2.2.2.7.7.4)."""

_BORINGSSL_LACKS = frozenset(
    (
        *("ECDHE-ECDSA-AES256-SHA384", "ECDHE-RSA-AES256-SHA384", "ECDHE-ECDSA-AES128-SHA256"),
        *("AES256-SHA256", "AES128-SHA256"),
    )
)


def client_leg(tls: ExportedTls, files: Files) -> Value:
    """Return the transport socket of the client leg."""
    common: dict[str, Value] = {
        "alpn_protocols": ["http/1.1"],
        "tls_params": _parameters(tls.settings),
        "tls_certificates": _certificates(tls.server),
    }
    if tls.client_trust is not None:
        validation = _validation(tls.client_trust, files)
        if tls.certificates is CertificatePolicy.USER:
            matcher: Value = {
                "san_type": "OTHER_NAME",
                "oid": _PRINCIPAL_NAME,
                "matcher": {"safe_regex": {"regex": "[^$@]+@.+"}},
            }
            validation["match_typed_subject_alt_names"] = [matcher]
        common["validation_context"] = Commented(
            "[BRIDGE-AUTH-COMPUTER] [BRIDGE-AUTH-USER] [PKI-BOTH-ENDS] Client certificates.",
            validation,
        )
    required = tls.client_trust is not None and tls.certificates is not CertificatePolicy.OPTIONAL
    context: Value = {
        "@type": f"{_TLS}.DownstreamTlsContext",
        "require_client_certificate": required,
        "disable_stateless_session_resumption": not tls.clients_resume,
        "disable_stateful_session_resumption": not tls.clients_resume,
        "common_tls_context": common,
    }
    text = "[BRIDGE-TERMINATE] [BRIDGE-HTTPS-ONLY] The client leg."
    return Commented(text, {"name": "envoy.transport_sockets.tls", "typed_config": context})


def site_system_leg(tls: ExportedTls, site_system: SiteSystem, files: Files) -> Value:
    """Return the transport socket of the leg to a site system."""
    validation = _validation(tls.site_system_trust, files)
    validation["match_typed_subject_alt_names"] = [
        {"san_type": "DNS", "matcher": {"exact": site_system.verify_name}}
    ]
    context = {
        "@type": f"{_TLS}.UpstreamTlsContext",
        "sni": site_system.name,
        "max_session_keys": 1 if tls.legs_resume else 0,
        "common_tls_context": {
            "tls_params": _parameters(site_system.tls),
            "tls_certificates": _certificates(tls.client),
            "validation_context": validation,
        },
    }
    text = "[BRIDGE-TERMINATE] [BRIDGE-HTTPS-ONLY] The site-system leg."
    return Commented(text, {"name": "envoy.transport_sockets.tls", "typed_config": context})


def _certificates(files: CredentialFiles) -> Value:
    chain, key = safe_path(files.chain), safe_path(files.key)
    return [{"certificate_chain": {"filename": chain}, "private_key": {"filename": key}}]


def _parameters(settings: TlsSettings) -> Value:
    names = {"1.2": "TLSv1_2", "1.3": "TLSv1_3"}
    suites = [suite.openssl for suite in SUITES[settings.suites]]
    return {
        "tls_minimum_protocol_version": names[settings.versions[0]],
        "tls_maximum_protocol_version": names[settings.versions[-1]],
        "cipher_suites": [suite for suite in suites if suite not in _BORINGSSL_LACKS],
    }


def _validation(trust: Trust, files: Files) -> dict[str, Value]:
    crls = files.crls(trust)
    return {
        "trusted_ca": {"filename": files.authorities(trust)},
        **({"crl": {"filename": crls}} if crls else {}),
    }
