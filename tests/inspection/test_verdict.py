"""Inspection of bodies: each view, every engine, and no body without inspection."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from importlib.resources import files

import pytest

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.rules import Rule
from ibcm_bridge.inspection.engines import ContentEngine, EngineError, YaraEngine
from ibcm_bridge.inspection.verdict import Inspected, inspect
from ibcm_bridge.lab.protocol import ccm, documents
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.request.head import RequestHead

GUID = "0a1b2c3d-0000-4000-8000-00000000000f"
PACKAGE = "/SMS_DP_SMSPKG$/Content_11111111-2222-3333-4444-555555555555.1"
EICAR = "".join(("X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-", "ANTIVIRUS-TEST-FILE!$H+H*"))

Allow = Callable[..., Authorized]


@pytest.fixture(scope="module")
def allow(
    decide: Callable[[RequestHead], Authorized | Deny], request_head: Callable[..., RequestHead]
) -> Allow:
    """An authorized head with a Content-Length of `length`."""

    def make(method: str, target: str, content_type: str | None, length: int) -> Authorized:
        lines = [f"Content-Length: {length}"]
        if content_type is not None:
            lines.append(f"Content-Type: {content_type}")
        authorized = decide(request_head(method, target, *lines))
        assert isinstance(authorized, Authorized), authorized
        return authorized

    return make


@pytest.fixture(scope="module")
def inspect_body(allow: Allow) -> Callable[..., Inspected | Deny]:
    """Inspect the body of a CCM_POST."""

    def run(body: bytes, *engines: ContentEngine) -> Inspected | Deny:
        authorized = allow("CCM_POST", "/ccm_system/request", ccm.CONTENT_TYPE, len(body))
        return inspect(authorized, body, engines)

    return run


@pytest.fixture(scope="module")
def yara() -> YaraEngine:
    source = files("ibcm_bridge.config.rules").joinpath("default.yar").read_text("utf-8")
    return YaraEngine([("default.yar", source)])


InspectBody = Callable[..., Inspected | Deny]


class Recorder:
    """An engine that finds nothing and records the views."""

    name = identity = "recorder"
    in_place = True

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def scan(self, data: bytes, *, opened: bool = False) -> str | None:
        self.seen.append(data)
        return None


class Finds:
    """An engine that has a match in everything."""

    name = identity = "finds"
    in_place = True

    def scan(self, data: bytes, *, opened: bool = False) -> str | None:
        return "something"


class Fails:
    """An engine that fails."""

    name = identity = "fails"
    in_place = True

    def scan(self, data: bytes, *, opened: bool = False) -> str | None:
        raise EngineError("timed out")


def report(xml: str = "<Report/>") -> bytes:
    return ccm.ccm_post_body(endpoint="MP_HinvEndpoint", body_xml=xml, client_guid=GUID)


def denied(result: Inspected | Deny) -> Deny:
    assert isinstance(result, Deny), result
    return result


# Approval


def test_a_clean_message_is_approved(inspect_body: InspectBody, yara: YaraEngine) -> None:
    body = report(documents.inventory_report(GUID))
    approved = inspect_body(body, yara)
    assert isinstance(approved, Inspected)
    assert approved.body == body
    names = [view.partition(":")[0] for view in approved.views]
    assert names == ["sent", "header", "inflated", "text", "parsed-text"]
    assert approved.views[0] == f"sent:{len(body)}"


def test_every_engine_scans_every_view(inspect_body: InspectBody) -> None:
    one, two = Recorder(), Recorder()
    body = report("<Report>ä</Report>")
    assert isinstance(inspect_body(body, one, two), Inspected)
    message = ccm.read_message(body)
    assert message.payload is not None
    assert one.seen == two.seen
    assert one.seen[:4] == [
        body,
        message.header_xml.encode(),
        zlib.decompress(message.payload),
        "<Report>ä</Report>".encode(),
    ]
    (parsed_text,) = one.seen[4:]
    assert parsed_text.endswith(b"\n\nMP_HinvEndpoint\n\nmp01.corp.example\n\n60000\n\n\n\xc3\xa4")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_request_without_a_body_is_approved(allow: Allow, method: str) -> None:
    recorder = Recorder()
    approved = inspect(allow(method, "/SMS_MP/.sms_aut?MPLIST", None, 0), b"", [recorder])
    assert isinstance(approved, Inspected)
    assert (approved.body, approved.views, recorder.seen) == (b"", (), [])


# Malware

STORED = zlib.compress(
    ("<Report>").encode("utf-16-le") + EICAR.encode() + "</Report>\0".encode("utf-16-le"), level=0
)
PACKED = zlib.compress(zlib.decompress(STORED), level=9)
LENGTH = len(zlib.decompress(STORED))
HEADER = ccm.message_header("MP_HinvEndpoint", LENGTH, client_guid=GUID)


@pytest.mark.parametrize(
    ("view", "body"),
    [
        # Stored, not compressed: the bytes are visible in the body as sent.
        ("sent", ccm.raw_message(HEADER, STORED)),
        ("header", report().replace("PC1".encode("utf-16-le"), EICAR.encode("utf-16-le"))),
        # ASCII in the inflated bytes, which becomes another script when decoded.
        ("inflated", ccm.raw_message(HEADER, PACKED)),
        # UTF-16 in the inflated bytes, which becomes ASCII when decoded.
        ("text", report(f"<Report>{EICAR}</Report>")),
        ("text", report(f"<Report><!-- {EICAR} --></Report>")),
        ("text", report(f"<Report><![CDATA[{EICAR}]]></Report>")),
        ("text", report(f'<Report Name="{EICAR}"/>')),
    ],
)
def test_malware_is_found_in_each_view(
    inspect_body: InspectBody, yara: YaraEngine, view: str, body: bytes
) -> None:
    assert isinstance(inspect_body(body), Inspected)  # nothing else is wrong with it
    denial = denied(inspect_body(body, yara))
    assert denial == Deny(
        Reason.MALICIOUS_CONTENT, Rule("engines.yara-x"), f"eicar_test_file in {view}"
    )


def test_malware_is_found_in_an_attachment(inspect_body: InspectBody, yara: YaraEngine) -> None:
    first, second = "<Report/>\0", f"<Report>{EICAR}</Report>\0"
    header = ccm.message_header("MP_DdrEndpoint", len(first) * 2, client_guid=GUID).replace(
        "<CorrelationID>",
        f'<Attachment Offset="{len(first) * 2}" Length="{len(second) * 2}"/><CorrelationID>',
    )
    payload = zlib.compress((first + second).encode("utf-16-le"))
    denial = denied(inspect_body(ccm.raw_message(header, payload), yara))
    assert (denial.reason, denial.detail) == (
        Reason.MALICIOUS_CONTENT,
        "eicar_test_file in text",
    )


def test_malware_is_found_in_an_uncompressed_message(
    inspect_body: InspectBody, yara: YaraEngine
) -> None:
    plain = f"<Report>{EICAR}</Report>\0".encode("utf-16-le")
    header = ccm.message_header("MP_HinvEndpoint", len(plain), hooks="", client_guid=GUID)
    body = ccm.raw_message(header, plain, inner_type=b"text/plain; charset=UTF-16")
    assert denied(inspect_body(body, yara)).reason is Reason.MALICIOUS_CONTENT


def test_malware_is_found_in_a_listing(allow: Allow, yara: YaraEngine) -> None:
    for xml, expected in ((EICAR, Deny), (EICAR[:-1], Inspected)):
        body = f"<propfind xmlns='DAV:'><prop>{xml}</prop></propfind>".encode()
        authorized = allow("PROPFIND", "/SMS_MP/", "text/xml", len(body))
        result = inspect(authorized, body, [yara])
        assert type(result) is expected
        if isinstance(result, Deny):
            assert result.reason is Reason.MALICIOUS_CONTENT


@pytest.mark.parametrize(
    "hidden",
    [
        "<Report>&#88;{rest}</Report>",
        "<Report>&#x58;{rest}</Report>",
        "<Report Name='&#88;{rest}'/>",
        "<Report>X<!-- between -->{rest}</Report>",
        "<Report>X<?between?>{rest}</Report>",
        "<Report>X<![CDATA[{rest}]]></Report>",
        "<Report><a>X</a><b><![CDATA[{rest}]]></b></Report>",
        "<Report>X<b/>{rest}</Report>",
        "<Report><a>X</a><b>{rest}</b></Report>",
    ],
)
def test_malware_that_is_only_in_the_parsed_text_is_found(
    inspect_body: InspectBody, yara: YaraEngine, hidden: str
) -> None:
    def denial(text: str) -> Inspected | Deny:
        xml = hidden.format(rest=text)
        body = ccm.ccm_post_body(endpoint="MP_HinvEndpoint", body_xml=xml, client_guid=GUID)
        return inspect_body(body, yara)

    found = denial(EICAR[1:])
    assert isinstance(found, Deny)
    assert (found.reason, found.detail) == (
        Reason.MALICIOUS_CONTENT,
        "eicar_test_file in parsed-text",
    )
    assert isinstance(denial("harmless"), Inspected)


def test_an_approval_has_the_endpoint(inspect_body: InspectBody) -> None:
    body = ccm.ccm_post_body(endpoint="MP_DdrEndpoint", body_xml="<Report/>", client_guid=GUID)
    approved = inspect_body(body)
    assert isinstance(approved, Inspected)
    assert approved.message is not None
    assert approved.message.endpoint == "MP_DdrEndpoint"


def test_a_part_of_a_malware_signature_does_not_match(
    inspect_body: InspectBody, yara: YaraEngine
) -> None:
    assert isinstance(inspect_body(report(f"<Report>{EICAR[:-1]}</Report>"), yara), Inspected)


@pytest.mark.parametrize("position", range(3))
def test_a_match_of_one_engine_is_enough(inspect_body: InspectBody, position: int) -> None:
    engines: list[ContentEngine] = [Recorder(), Recorder()]
    engines.insert(position, Finds())
    denial = denied(inspect_body(report(), *engines))
    assert (denial.reason, denial.rule) == (Reason.MALICIOUS_CONTENT, "engines.finds")


@pytest.mark.parametrize("position", range(3))
def test_the_failure_of_an_engine_is_a_refusal(inspect_body: InspectBody, position: int) -> None:
    engines: list[ContentEngine] = [Recorder(), Recorder()]
    engines.insert(position, Fails())
    denial = denied(inspect_body(report(), *engines))
    assert denial == Deny(Reason.ENGINE_UNAVAILABLE, Rule("engines.fails"), "timed out")


def test_another_exception_of_an_engine_is_raised(
    inspect_body: InspectBody,
) -> None:
    class Breaks(Recorder):
        def scan(self, data: bytes, *, opened: bool = False) -> str | None:
            raise ZeroDivisionError

    # The guard around every hook refuses the request.
    with pytest.raises(ZeroDivisionError):
        inspect_body(report(), Breaks())


# Bodies that cannot be inspected


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (report()[:-4], Reason.MULTIPART),
        (report("<Report>"), Reason.XML),
        (report("<!DOCTYPE a><a/>"), Reason.XML_DTD),
        (ccm.raw_message(HEADER, b"not zlib"), Reason.COMPRESSION),
        (ccm.raw_message(HEADER, zlib.compress(bytes(33_554_433))), Reason.INFLATED_TOO_LARGE),
        (b"", Reason.MULTIPART),
        (b"\0" * 100, Reason.MULTIPART),
    ],
)
def test_an_unreadable_message_is_refused_before_the_scan(
    inspect_body: InspectBody, body: bytes, reason: Reason
) -> None:
    recorder = Recorder()
    assert denied(inspect_body(body, recorder)).reason is reason
    assert recorder.seen == []


@pytest.mark.parametrize("difference", [-1, 1, 100])
@pytest.mark.parametrize(
    ("method", "target", "content_type", "body"),
    [
        ("CCM_POST", "/ccm_system/request", ccm.CONTENT_TYPE, report()),
        ("PROPFIND", "/SMS_MP/", "text/xml", b"<a/>"),
    ],
)
def test_a_body_with_another_length_than_announced_is_refused(
    allow: Allow, method: str, target: str, content_type: str, body: bytes, difference: int
) -> None:
    authorized = allow(method, target, content_type, len(body) + difference)
    assert denied(inspect(authorized, body, [])).reason is Reason.BODY_INCOMPLETE


def test_an_unannounced_body_is_refused(allow: Allow) -> None:
    authorized = allow("GET", "/SMS_MP/.sms_aut?MPLIST", None, 0)
    assert denied(inspect(authorized, b"x", [])).reason is Reason.BODY_INCOMPLETE


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<a>\xff</a>", Reason.ENCODING),
        ("<a/>".encode("utf-16"), Reason.ENCODING),
        ("<a/>".encode("utf-16-le"), Reason.XML),
        (b'<?xml version="1.0" encoding="utf-7"?><a/>', Reason.ENCODING),
        (b"<propfind xmlns='DAV:'>", Reason.XML),
        (b"<propfind xmlns='DAV:'/>", Reason.PROPFIND),
        (b"Depth: 1", Reason.XML),
        (b"<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///c:/x'>]><a>&x;</a>", Reason.XML_DTD),
    ],
)
def test_an_unreadable_listing_is_refused(allow: Allow, body: bytes, reason: Reason) -> None:
    authorized = allow("PROPFIND", "/SMS_MP/", "text/xml", len(body))
    assert denied(inspect(authorized, body, [])).reason is reason


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><allprop/></propfind>',
        b"\xef\xbb\xbf<propfind xmlns='DAV:'><propname/></propfind>",
    ],
)
def test_a_readable_listing_is_approved(allow: Allow, body: bytes) -> None:
    authorized = allow("PROPFIND", PACKAGE, "text/xml", len(body))
    approved = inspect(authorized, body, [])
    assert isinstance(approved, Inspected)
    assert approved.body == body


def test_malware_after_very_many_partial_matches_is_found(yara: YaraEngine) -> None:
    # An engine limits the matches per pattern; a rule must not need all of them.
    half = EICAR[:28].encode()
    assert yara.scan(half * 1_100_000 + EICAR.encode()) == "eicar_test_file"
    assert yara.scan(half * 1_100_000) is None
