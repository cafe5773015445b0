"""Bodies that are not ConfigMgr messages: forms, SCEP, status reports, and empty ones."""

from __future__ import annotations

import base64
from importlib.resources import files
from urllib.parse import quote

import pytest

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.inspection.engines import YaraEngine
from ibcm_bridge.inspection.forms import MAX_PIECES
from ibcm_bridge.inspection.scan import read_and_scan
from ibcm_bridge.inspection.subject import CleanBody, Subject
from ibcm_bridge.lab.cases.requests import eicar
from ibcm_bridge.lab.protocol.ccm import CONTENT_TYPE as CCM_CONTENT_TYPE
from ibcm_bridge.policy.roles import RoleTable

XML, SOAP = b"text/xml", b"application/soap+xml; charset=utf-8"
URLENCODED, JSON = b"application/x-www-form-urlencoded", b"application/json"
DTD = b'<!DOCTYPE r [<!ENTITY x SYSTEM "file:///c:/windows/win.ini">]><r>&x;</r>'


@pytest.fixture(scope="module")
def yara() -> YaraEngine:
    source = files("ibcm_bridge.config.rules").joinpath("default.yar").read_text("utf-8")
    return YaraEngine([("default.yar", source)])


def escaped(text: str) -> bytes:
    return "".join(f"\\u{ord(character):04x}" for character in text).encode()


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (XML, b"<r>hello</r>"),
        (XML, b'<?xml version="1.0" encoding="utf-8"?><r/>'),
        (SOAP, b"<r>hello</r>"),
        (URLENCODED, b"a=1&b=two+words"),
        (JSON, b'{"a": ["b", 1, null, {"c": "d"}]}'),
        (b"", b""),
    ],
)
def test_a_valid_form_is_allowed(
    table: RoleTable, yara: YaraEngine, content_type: bytes, body: bytes
) -> None:
    assert isinstance(
        read_and_scan(Subject(table.bodies["form"], content_type, body), [yara]), CleanBody
    )


@pytest.mark.parametrize(
    ("content_type", "body", "more", "rule"),
    [
        (URLENCODED, b"%41" * MAX_PIECES, b"%41", "bodies.form.escapes"),
        (URLENCODED, b"a=100%25", b"%", "bodies.form.escapes"),
        (URLENCODED, b"a=100%25", b"%4", "bodies.form.escapes"),
        (URLENCODED, b"a=100%25", b"%u0041", "bodies.form.escapes"),
        (JSON, b'["1"' + b",1" * (MAX_PIECES - 1) + b"]", b",1]", "bodies.form.json"),
        (JSON, b"[{}" + b",{}" * (MAX_PIECES // 2 - 1) + b"]", b",{}]", "bodies.form.json"),
    ],
)
def test_the_pieces_of_a_form_are_limited(
    table: RoleTable, yara: YaraEngine, content_type: bytes, body: bytes, more: bytes, rule: str
) -> None:
    row = table.bodies["form"]
    assert isinstance(read_and_scan(Subject(row, content_type, body), [yara]), CleanBody)
    denial = read_and_scan(Subject(row, content_type, body.removesuffix(b"]") + more), [yara])
    assert isinstance(denial, Deny)
    assert (denial.reason, denial.rule) == (Reason.ENCODING, rule)


@pytest.mark.parametrize(
    ("content_type", "body", "reason"),
    [
        (XML, DTD, Reason.XML_DTD),
        (XML, b'<?xml version="1.0" encoding="utf-16"?><r/>', Reason.ENCODING),
        (SOAP, DTD, Reason.XML_DTD),
        (XML, f"<r>{eicar()}</r>".encode("utf-16"), Reason.ENCODING),
        (b"text/xml; charset=utf-16", b"<r/>", Reason.MEDIA_TYPE),
        (URLENCODED, b"a=" + quote(eicar(), safe="").encode(), Reason.MALICIOUS_CONTENT),
        (JSON, b'{"a": "' + escaped(eicar()) + b'"}', Reason.MALICIOUS_CONTENT),
        (JSON, b'{"' + escaped(eicar()) + b'": 1}', Reason.MALICIOUS_CONTENT),
        (JSON, b'{"a": "' + escaped(eicar()) + b'", "a": "b"}', Reason.MALICIOUS_CONTENT),
        (JSON, b"{", Reason.ENCODING),
        (JSON, b"[" * 100_000, Reason.ENCODING),
        (JSON, b"\xff", Reason.ENCODING),
    ],
)
def test_a_form_with_hidden_malware_is_refused(
    table: RoleTable, yara: YaraEngine, content_type: bytes, body: bytes, reason: Reason
) -> None:
    denial = read_and_scan(Subject(table.bodies["form"], content_type, body), [yara])
    assert isinstance(denial, Deny), denial
    assert denial.reason is reason


def scep(message: bytes) -> bytes:
    return b"operation=PKIOperation&message=" + message


@pytest.mark.parametrize("escape", [True, False])
def test_the_message_of_a_scep_get_is_scanned(
    table: RoleTable, yara: YaraEngine, escape: bool
) -> None:
    rule = table.bodies["scep-query"]
    for content, passes in ((b"\xfb\xef\xbe a message", True), (eicar().encode(), False)):
        encoded = base64.b64encode(content)
        query = scep(quote(encoded, safe="").encode() if escape else encoded)
        result = read_and_scan(Subject(rule, b"", b"", query), [yara])
        if passes:
            assert result == CleanBody((f"message:{len(content)}",), None, (yara.identity,))
        else:
            assert isinstance(result, Deny)
            assert result.reason is Reason.MALICIOUS_CONTENT


def test_other_operations_have_no_message_to_scan(table: RoleTable, yara: YaraEngine) -> None:
    subject = Subject(table.bodies["scep-query"], b"", b"", b"operation=GetCACaps&message=lab")
    assert read_and_scan(subject, [yara]) == CleanBody((), None, (yara.identity,))


@pytest.mark.parametrize("line_end", [b"%0D%0A", b"%0A", b"%0d%0a"])
@pytest.mark.parametrize("width", [64, 76])
def test_a_scep_message_in_several_lines_is_scanned_completely(
    table: RoleTable, yara: YaraEngine, line_end: bytes, width: int
) -> None:
    rule = table.bodies["scep-query"]
    for content, passes in ((bytes(range(250)), True), (b"x" * 44 + eicar().encode(), False)):
        encoded = base64.b64encode(content)
        lines = [encoded[at : at + width] for at in range(0, len(encoded), width)]
        for query in (line_end.join(lines), line_end.join([*lines, b""])):
            result = read_and_scan(Subject(rule, b"", b"", scep(query)), [yara])
            assert isinstance(result, CleanBody if passes else Deny), query
            if passes:
                assert result == CleanBody((f"message:{len(content)}",), None, (yara.identity,))


@pytest.mark.parametrize(
    "query",
    [
        # Compared like the row of `roles.yaml`: decoded, and ignoring case.
        b"OPERATION=pkioperation&Message=",
        b"operat%69on=PKI%4fperation&message=",
        b"operation=PKIOperation%26message=",
        b"operation%3dPKIOperation&message%3d",
    ],
)
def test_a_scep_message_is_scanned_whatever_the_spelling_of_its_query(
    table: RoleTable, yara: YaraEngine, query: bytes
) -> None:
    message = base64.b64encode(eicar().encode())
    denial = read_and_scan(Subject(table.bodies["scep-query"], b"", b"", query + message), [yara])
    assert isinstance(denial, Deny)
    assert denial.reason is Reason.MALICIOUS_CONTENT


@pytest.mark.parametrize(
    ("message", "detail"),
    [
        (b"MII", "the message is not base64"),
        (b"MIIBa", "the message is not base64"),
        (b"MIIB%20abcd", "the message is not base64"),
        (b"MIIB%09abcd", "the message is not base64"),
        (b"MII=abcd", "the message is not base64"),
        (b"MII=%0Aabcd", "the message is not base64"),
        (b"MIIB====", "the message is not base64"),
        (b"MI-_", "the message is not base64"),
        (b"MI-/", "the message is not base64"),
        # Trailing bits: some decoders refuse them, others ignore them.
        (b"MIJ=", "ambiguous base64"),
        (b"MH==", "ambiguous base64"),
        # A decoder that decodes each line separately would return other bytes.
        (b"MI%0AIB", "ambiguous base64"),
        (b"MIIBab%0D%0Acd", "ambiguous base64"),
        (b"MIIB%0A%0Aabcd", "ambiguous base64"),
        (b"%0AMIIB", "ambiguous base64"),
        (b"MIIB%0D", "the message is not base64"),
    ],
)
def test_an_ambiguous_scep_message_is_refused(
    table: RoleTable, yara: YaraEngine, message: bytes, detail: str
) -> None:
    denial = read_and_scan(Subject(table.bodies["scep-query"], b"", b"", scep(message)), [yara])
    assert isinstance(denial, Deny)
    assert (denial.reason, denial.rule) == (Reason.ENCODING, "bodies.scep-query")
    assert denial.detail == detail


def test_different_queries_have_different_subjects(table: RoleTable) -> None:
    rule = table.bodies["scep-query"]
    assert Subject(rule, b"", b"", b"a").digest() != Subject(rule, b"", b"", b"b").digest()


def test_an_empty_message_is_allowed_only_with_windows_authentication(
    table: RoleTable, yara: YaraEngine
) -> None:
    # USER-WINDOWS-AUTH: a request whose response is a 401 has no body.
    rule, kind = table.bodies["ccm-message"], CCM_CONTENT_TYPE.encode()
    assert read_and_scan(Subject(rule, kind, b"", user=True), [yara]) == CleanBody(
        (), None, (yara.identity,)
    )
    for subject in (Subject(rule, kind, b""), Subject(rule, kind, b"\r\n", user=True)):
        denial = read_and_scan(subject, [yara])
        assert isinstance(denial, Deny)
        assert denial.reason is Reason.MULTIPART
