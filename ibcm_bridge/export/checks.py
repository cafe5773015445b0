"""The rule that each check of the conformance suite is about.

A proxy may fail a check only if its statement to one of these rules is `part` or `no`.
"""

from __future__ import annotations

from collections.abc import Mapping

from ibcm_bridge.export.rules import ExportRule as Rule

_TOPICS: Mapping[str, tuple[Rule, ...]] = {
    "bits": (Rule.UPLOADS,),
    "certificates": (Rule.CERTIFICATE,),
    "content_types": (Rule.MEDIA_TYPE,),
    "downloads": (Rule.DIRECTORIES,),
    "enrollment": (Rule.DIRECTORIES,),
    "headers": (Rule.FIELDS_MP,),
    "identity": (Rule.IDENTITY,),
    "leaks": (Rule.RESPONSES,),
    "limits": (Rule.SLOW_CLIENT,),
    "names": (Rule.HOST,),
    "paths": (Rule.DIRECTORIES,),
    "payloads": (Rule.CONTENT,),
    "revocation": (Rule.RENEWAL, Rule.REVOCATION),
    "smuggling": (Rule.FRAMING,),
    "tunnel": (Rule.TUNNEL,),
    "updates": (Rule.SUP_PATHS,),
    "users": (Rule.SIGN_IN,),
    "verbs": (Rule.VERBS_MP,),
    "versions": (Rule.HTTP_VERSION,),
}

_CHECKS: Mapping[str, tuple[Rule, ...]] = {
    "certificates::no_purpose": (Rule.PURPOSE,),
    "certificates::own_certificate_of_the_proxy": (Rule.LEG,),
    "certificates::revoked": (Rule.REVOCATION,),
    "certificates::server_purpose": (Rule.PURPOSE,),
    "certificates::user_on_a_computer_publication": (Rule.KIND,),
    "certificates::user_on_a_user_publication": (Rule.KIND,),
    "content_types::body_of_a_get": (Rule.BODY_SIZE,),
    "content_types::html_part": (Rule.MULTIPART,),
    "content_types::unclosed_multipart": (Rule.MULTIPART,),
    "headers::a_thousand_fields": (Rule.HEAD_SIZE,),
    "headers::connection_option": (Rule.CONNECTION,),
    "headers::credentials": (Rule.SIGN_IN, Rule.FIELDS_MP),
    "headers::field_of_200_kilobytes": (Rule.HEAD_SIZE,),
    "headers::method_override": (Rule.FIELDS_DP,),
    "headers::overlapping_ranges": (Rule.RANGES,),
    "headers::range_with_overflow": (Rule.RANGES,),
    "headers::two_client_guids": (Rule.REPEATED,),
    "identity::injection_in_the_guid": (Rule.CONTENT,),
    "leaks::server_software": (Rule.RESPONSE_FIELDS,),
    "limits::body_of_a_terabyte": (Rule.BODY_SIZE,),
    "limits::silent_site_system": (Rule.SLOW_LEG,),
    "limits::slow_body": (Rule.UPLOADS,),
    "limits::slow_head": (Rule.DIRECTORIES,),
    "limits::slow_response": (Rule.DIRECTORIES,),
    "limits::stalled_response": (Rule.SLOW_LEG,),
    "names::plaintext_on_the_tls_port": (Rule.HTTPS_ONLY,),
    "names::server_name_in_upper_case": (Rule.SERVER_NAME,),
    "names::two_hosts": (Rule.HOST, Rule.FRAMING),
    "names::unknown_server_name": (Rule.SERVER_NAME,),
    "paths::alternate_stream": (Rule.SPELLING,),
    "paths::backslash": (Rule.SPELLING,),
    "paths::boot_media": (Rule.OSD,),
    "paths::client_setup": (Rule.SETUP,),
    "paths::dot_after_a_directory": (Rule.SPELLING,),
    "paths::dot_segment_at_the_start": (Rule.SPELLING,),
    "paths::dot_segments": (Rule.SPELLING,),
    "paths::double_escape": (Rule.SPELLING,),
    "paths::escape_with_u": (Rule.SPELLING,),
    "paths::escaped_letter": (Rule.SPELLING,),
    "paths::escaped_slash": (Rule.SPELLING,),
    "paths::file_outside_the_package": (Rule.SPELLING,),
    "paths::incomplete_escape": (Rule.SPELLING,),
    "paths::null": (Rule.SPELLING,),
    "paths::overlong_utf_8": (Rule.SPELLING,),
    "paths::parameter_of_a_segment": (Rule.SPELLING,),
    "paths::two_slashes": (Rule.SPELLING,),
    "payloads::boot_media_registration": (Rule.OSD,),
    "payloads::client_package": (Rule.SETUP,),
    "payloads::heartbeat": (Rule.PAYLOAD,),
    "payloads::inventory": (Rule.PAYLOAD,),
    "payloads::out_of_band": (Rule.WAKE,),
    "payloads::site_assignment": (Rule.ASSIGNMENT,),
    "payloads::task_sequence": (Rule.PAYLOAD,),
    "payloads::user_policy": (Rule.USER_POLICY,),
    "smuggling::chunked_twice": (Rule.CODING, Rule.FRAMING),
    "smuggling::coding_after_chunked": (Rule.CODING, Rule.FRAMING),
    "smuggling::coding_with_a_vertical_tab": (Rule.CODING, Rule.FRAMING),
    "smuggling::http_2_without_agreement": (Rule.HTTP_VERSION, Rule.FRAMING),
    "smuggling::length_and_chunks": (Rule.CODING, Rule.FRAMING),
    "smuggling::quoted_coding": (Rule.CODING, Rule.FRAMING),
    "smuggling::second_of_two_requests": (Rule.DIRECTORIES,),
    "smuggling::two_codings": (Rule.CODING, Rule.FRAMING),
    "smuggling::unknown_coding": (Rule.CODING, Rule.FRAMING),
    "updates::rollup": (Rule.SOAP,),
    "updates::serialized_object": (Rule.SOAP,),
    "updates::two_operations": (Rule.SOAP,),
    "verbs::bits_post_to_a_distribution_point": (Rule.VERBS_DP,),
    "verbs::copy_of_a_file": (Rule.VERBS_DP,),
    "verbs::delete_of_a_file": (Rule.VERBS_DP,),
    "verbs::get_of_a_fallback_status_point": (Rule.VERBS_FSP,),
    "verbs::head_of_a_file": (Rule.VERBS_DP,),
    "verbs::lock_of_a_file": (Rule.VERBS_DP,),
    "verbs::mkcol_of_a_file": (Rule.VERBS_DP,),
    "verbs::move_of_a_file": (Rule.VERBS_DP,),
    "verbs::post_to_a_fallback_status_point": (Rule.VERBS_FSP,),
    "verbs::propfind_of_a_package": (Rule.VERBS_DP,),
    "verbs::proppatch_of_a_file": (Rule.VERBS_DP,),
    "verbs::put_of_a_file": (Rule.VERBS_DP,),
    "verbs::put_of_an_application_catalog": (Rule.VERBS_CATALOG,),
    "versions::refusal_after_a_valid_request": (Rule.DIRECTORIES,),
    "versions::resumed_session": (Rule.TLS,),
    "versions::session_of_another_publication": (Rule.CERTIFICATE, Rule.RESUMPTION),
    "versions::tls_1_2": (Rule.TLS,),
}


def rules_of(check: str) -> tuple[Rule, ...]:
    """Return the rules that a check is about."""
    return _CHECKS.get(check) or _TOPICS[check.partition("::")[0]]


def mapped_checks() -> frozenset[str]:
    """Return the checks with other rules than those of their topic."""
    return frozenset(_CHECKS)
