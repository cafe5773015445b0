"""Targets are parsed as IIS parses them, or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.request.target import RequestTarget, read_request_target

PACKAGE = b"/SMS_DP_SMSPKG$/Content_11111111-2222-3333-4444-555555555555.1"


def accepted(raw: bytes) -> RequestTarget:
    result = read_request_target(raw)
    assert isinstance(result, RequestTarget), result
    return result


def reason(raw: bytes) -> Reason:
    result = read_request_target(raw)
    assert isinstance(result, Deny), result
    return result.reason


@pytest.mark.parametrize(
    ("raw", "segments", "query"),
    [
        (b"/", (), None),
        (b"/?", (), b""),
        (b"/SMS_MP/?", ("SMS_MP",), b""),
        (b"/ccm_system/request", ("ccm_system", "request"), None),
        (b"/ccm_system/request/", ("ccm_system", "request"), None),
        (b"/CCM_System/Request", ("CCM_System", "Request"), None),
        (b"/SMS%5FMP/.sms_aut?MPLIST1&LAB", ("SMS_MP", ".sms_aut"), b"MPLIST1&LAB"),
        (b"/SMS_MP/.sms_pol?{LAB1}.1_00", ("SMS_MP", ".sms_pol"), b"{LAB1}.1_00"),
        (b"/SMS_MP/.sms_pol?%7BLAB1%7D.1_00", ("SMS_MP", ".sms_pol"), b"%7BLAB1%7D.1_00"),
        (
            b"/SMS_MP/.sms_dcm?Id&DocumentId=ScopeId_1/RequiredApplication_2/10/MANIFEST&Hash=a",
            ("SMS_MP", ".sms_dcm"),
            b"Id&DocumentId=ScopeId_1/RequiredApplication_2/10/MANIFEST&Hash=a",
        ),
        (
            PACKAGE + b"/sccm?/a%20b/setup.exe",
            ("SMS_DP_SMSPKG$", "Content_11111111-2222-3333-4444-555555555555.1", "sccm"),
            b"/a%20b/setup.exe",
        ),
        (b"/SMS_DP_SMSPKG%24/x", ("SMS_DP_SMSPKG$", "x"), None),
        (b"/a?b?c", ("a",), b"b?c"),
        (b"/a..b/c.d/..e", ("a..b", "c.d", "..e"), None),
        (b"/a~b/~x", ("a~b", "~x"), None),
        # Not an 8.3 name: too long, or only a part of a segment.
        (b"/x~31bf3856ad364e35~amd64~~.cab", ("x~31bf3856ad364e35~amd64~~.cab",), None),
        (b"/PROGRA~1x/PROGRAMS~1/a~1.json", ("PROGRA~1x", "PROGRAMS~1", "a~1.json"), None),
    ],
)
def test_a_target_is_decoded_once_and_its_query_kept(
    raw: bytes, segments: tuple[str, ...], query: bytes | None
) -> None:
    ends_in_a_slash = raw.partition(b"?")[0].endswith(b"/")
    assert accepted(raw) == RequestTarget(segments, query, ends_in_a_slash)


@pytest.mark.parametrize(
    ("raw", "below"),
    [
        (b"/", ""),
        (b"/SMS_MP", ""),
        (b"/SMS_MP/", ""),
        (b"/SMS_MP?x/", ""),
        (b"/SMS_MP/?x", ""),
        (b"/SMS_MP/.sms_aut", ".sms_aut"),
        (b"/SMS_MP/.sms_aut/", ".sms_aut/"),
        (b"/SMS_MP/%2esms%5faut?MPLIST", ".sms_aut"),
        (b"/SMS_MP/.sms_aut/?MPLIST", ".sms_aut/"),
        (b"/SMS_MP/.sms_aut?MPLIST/", ".sms_aut"),
        (b"/ccm_system/Request/x/y/", "Request/x/y/"),
    ],
)
def test_the_path_below_the_directory_keeps_its_trailing_slash(raw: bytes, below: str) -> None:
    # For an ISAPI handler, a slash after its name is path info, which is another request.
    assert accepted(raw).below == below


@pytest.mark.parametrize("spelling", [b"/SMS_MP/x", b"/sms_mp/x", b"/Sms_Mp", b"/%53ms%5fmP/"])
def test_the_directory_is_in_lower_case(spelling: bytes) -> None:
    assert accepted(spelling).directory == "sms_mp"


@pytest.mark.parametrize(
    ("raw", "directory"),
    [
        (b"/", ""),
        (b"/ccm_system_altauth/request", "ccm_system_altauth"),
        (b"/ccm_systemx", "ccm_systemx"),
        (b"/ccm", "ccm"),
    ],
)
def test_a_directory_is_a_whole_segment(raw: bytes, directory: str) -> None:
    assert accepted(raw).directory == directory


@pytest.mark.parametrize(
    "raw",
    [
        b"https://bridge.internet.example/SMS_MP/.sms_aut",
        b"http://other.example/",
        b"bridge.internet.example:443",
        b"*",
        b"",
        b"SMS_MP/.sms_aut",
        b"?MPLIST",
        b"\\SMS_MP",
        b"%2fSMS_MP",
        b".",
    ],
)
def test_a_target_that_is_not_in_origin_form_is_refused(raw: bytes) -> None:
    assert reason(raw) is Reason.TARGET_FORM


UNSAFE_IN_NAMES = [
    # dot segments: plain, escaped, escaped twice, and with characters that Windows drops
    b"/x/../y",
    b"/x/..",
    b"/./x",
    b"/x/./y",
    b"/x/.",
    b"/x/%2e%2e/y",
    b"/x/.%2E/y",
    b"/x/%2e/y",
    b"/x/%252e%252e/y",
    b"/x/.../y",
    b"/x/..%20/y",
    b"/x/.. ./y",
    # escaped separators
    b"/x%2fy",
    b"/x%2Fy",
    b"/x%5cy",
    b"/x%5Cy",
    b"/x\\y",
    b"/x\\..\\y",
    b"/x%252fy",
    b"/x%255cy",
    b"//x/y",
    b"/x//y",
    b"/x/y//",
    # other names for the same file
    b"/x./y",
    b"/x%20/y",
    b"/x/y.",
    b"/x/y%20",
    b"/x/y. .",
    b"/x/..+/y",
    b"/x/+/y",
    b"/x/.+",
    b"/x/%2e%2b%2e/y",
    b"/x/%20/y",
    b"/SMS_DP~1/x",
    b"/x/LONGNA~1.EXE",
    b"/x/y::$DATA",
    b"/x:y",
    b"/C:/x",
    b"/x%3ay",
    b"/x*y",
    b"/x%3Fy",
    b"/x%3Cy",
    b"/x%7Cy",
    b"/x%22y",
    # malformed escapes, including those that some decoders accept
    b"/x%u002e%u002e/y",
    b"/x%u002fy",
    b"/x%",
    b"/x%2",
    b"/x%zz",
    b"/x%%32e",
    b"/x%c0%ae%c0%ae/y",  # overlong UTF-8
    b"/x%ef%bc%8fy",  # FULLWIDTH SOLIDUS
    # bytes
    b"/x%00y",
    b"/x\x00y",
    b"/x%0d%0ay",
    b"/x%09y",
    b"/x%7fy",
    b"/x%80y",
    b"/x\xe4y",
]
UNSAFE_IN_PATHS = [b"/x;y=z/w", b"/x%3By", b"/x%23y", b"/x%25y", b"/x%c3%a4y"]


@pytest.mark.parametrize("name", UNSAFE_IN_NAMES + UNSAFE_IN_PATHS)
def test_an_ambiguous_path_is_refused(name: bytes) -> None:
    assert reason(name) is Reason.TARGET_UNSAFE
    assert reason(name + b"?query") is Reason.TARGET_UNSAFE


@pytest.mark.parametrize("name", UNSAFE_IN_NAMES)
def test_the_rules_of_a_path_apply_to_a_file_name_in_a_query(name: bytes) -> None:
    assert reason(PACKAGE + b"/sccm?" + name) is Reason.TARGET_UNSAFE


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"/x;y=z/w", "/x;y=z/w"),
        (b"/x%3By", "/x;y"),
        (b"/x%23y", "/x#y"),
        (b"/x%25y", "/x%y"),
        (b"/x%c3%a4y", "/x\u00e4y"),
    ],
)
def test_a_file_name_may_have_characters_that_no_path_has(name: bytes, text: str) -> None:
    # `test_file_names` has more.
    target = accepted(PACKAGE + b"/sccm?" + name)
    assert (target.query, target.query_text) == (name, text)


@pytest.mark.parametrize("name", UNSAFE_IN_PATHS[3:])
def test_a_query_other_than_a_file_name_may_not(name: bytes) -> None:
    assert reason(b"/SMS_MP/.sms_pol?x=" + name) is Reason.TARGET_UNSAFE


@pytest.mark.parametrize(
    "query",
    [
        b"..",
        b".",
        b"../../web.config",
        b"..%2f..%2fweb.config",
        b"dir/../file",
        b"dir/..",
        b"dir/.%2e/file",
        b"file=../x",
        b"a=1&../x",
        b"a=..&b",
        b"dir/..%20/file",
        b"dir/.../file",
        b"C:/windows/win.ini",
        b"c%3a/windows",
        b"file=C:/x",
        b"%2fdir/file",  # an escaped slash, hidden from a proxy that does not decode
        b"%2f..%2ffile",
        b"dir\\file",
        b"dir%5cfile",
        b"%252e%252e/x",
        b"%u002e",
        b"100%",
        b"a%00b",
        b"a%0ab",
        b"a\x7fb",
        b"a%ffb",
        b"a%25b",
        # characters that Windows drops, and those that some parsers treat as such
        b"a../b",
        b"dir./file",
        b"dir%20/file",
        b"file.",
        b"file=x.&a=b",
        b"file%20",
        b"..+/file",
        b"dir/.+./file",
        # a host, a share, a device
        b"//host/share/file",
        b"file=//host/share",
        b"file=%2f%2fhost/share",
        b"\\\\host\\share",
        b"%5c%5chost%5cshare",
        b"DocumentId=C:/x",
        b"DocumentId=../x",
        b"DocumentId=x/../y",
        b"DocumentId=//host/x",
        b"DocumentId=x\\y",
        b"DocumentId=PROGRA~1/x",
        b"PROGRA~1/file",
        b"x/PROGRA~1.EXE",
        b"PROGRA~1=x",
        b"PROGRA~1+",
    ],
)
def test_a_query_that_could_name_another_file_is_refused(query: bytes) -> None:
    assert reason(PACKAGE + b"/sccm?" + query) is Reason.TARGET_UNSAFE


@pytest.mark.parametrize(
    "query",
    [
        *(b"a.b", b"a=.b", b"..a/b", b"a..b/c", b"v=1.00", b"x/.y", b"a+b"),
        *(b"a~b", b"x=PROGRA~1x", b"x=PROGRAMS~1/y", b"v=1~0.5.6"),
    ],
)
def test_dots_inside_a_name_pass(query: bytes) -> None:
    assert accepted(b"/x?" + query).query == query


LINES = b"/certsrv/mscep/mscep.dll?operation=PKIOperation&message="


@pytest.mark.parametrize(
    ("message", "has_line_ends"),
    [
        (b"MIIB", False),
        (b"MIIB%0D%0Aabc%3D", True),
        (b"MIIB%0d%0aabc=%0d%0a", True),
        (b"MI+B%0Aa/%2b%0A", True),
        (b"MIIB%0A", True),
    ],
)
def test_a_message_in_base64_may_have_line_ends(message: bytes, has_line_ends: bool) -> None:
    # RFC 8894 §4.1; RFC 2045 §6.8 defines the lines.
    for spelling in (LINES, LINES.lower()):
        target = accepted(spelling + message)
        assert (target.has_line_ends, target.query) == (has_line_ends, target.query)
        assert target.query == (spelling + message).partition(b"?")[2]


@pytest.mark.parametrize(
    "query",
    [
        b"operation=PKIOperation&message=MIIB%0Dabcd",  # a CR alone
        b"operation=PKIOperation&message=MIIB%0A%0Aabcd",  # an empty line
        b"operation=PKIOperation&message=MIIB%0A%0D%0A",
        b"operation=PKIOperation&message=%0AMIIB",
        b"operation=PKIOperation&message=%0A",
        b"operation=PKIOperation&message=MIIB%0A abcd",
        b"operation=PKIOperation&message=MIIB%0A%20abcd",  # as a header field is folded
        b"operation=PKIOperation&message=MIIB%0A%09abcd",
        b"operation=PKIOperation&message=MIIB%0Aab-_",
        b"operation=PKIOperation&message=MII=%0Aabcd",  # padding that is not the end
        b"operation=PKIOperation&message=MII=%0A=",
        b"operation=PKIOperation&message=MIIB%0A&x=y",
        b"operation=PKIOperation&message=MIIB%0AHost:x",
        b"operation=PKIOperation&message=MIIB%00",
        b"operation=PKIOperation%0A&message=MIIB",
        b"operation=GetCACert&message=MIIB%0Aabcd",
        b"operation=GetCACert&message=Contoso%0ACA",
        b"x=y&operation=PKIOperation&message=MIIB%0A",
        b"MIIB%0Aabcd",
        b"a=MIIB%0Aabcd",
        b"/operation=PKIOperation&message=MIIB%0A",
    ],
)
def test_line_ends_are_refused_in_anything_else(query: bytes) -> None:
    refusal = read_request_target(b"/certsrv/mscep/mscep.dll?" + query)
    assert isinstance(refusal, Deny)
    assert refusal.reason is Reason.TARGET_UNSAFE
    assert refusal.rule == "target.query"


@pytest.mark.parametrize("raw", [b"/x#y", b"/#", b"/x?y#z"])
def test_a_fragment_is_refused(raw: bytes) -> None:
    assert reason(raw) is Reason.TARGET_UNSAFE


NAMES = st.text("abcXYZ019_-$.{} ()", min_size=1, max_size=10).filter(
    lambda name: name.rstrip(". ") == name
)


@given(st.lists(NAMES, min_size=1, max_size=5), st.data())
def test_the_escapes_of_a_plain_path_do_not_change_it(
    names: list[str], data: st.DataObject
) -> None:
    # Every letter may be escaped, with hex digits in any case; slashes may not.
    escaped = [
        "".join(
            data.draw(st.sampled_from((f"%{ord(c):02x}", f"%{ord(c):02X}", c.replace(" ", "%20"))))
            for c in name
        )
        for name in names
    ]
    assert accepted(("/" + "/".join(escaped)).encode()).segments == tuple(names)


@given(st.binary(max_size=60))
def test_any_bytes_are_accepted_or_refused(raw: bytes) -> None:
    for whole in (raw, b"/" + raw, b"/x?" + raw, b"/x?/" + raw):
        result = read_request_target(whole)
        if isinstance(result, RequestTarget):
            for segment in result.segments:
                assert segment not in ("", ".", "..")
                assert segment.isascii()
                assert not set(segment) & set("/\\%:;\0")
            assert result.query_text is None or result.query is not None
        else:
            assert result.reason in (Reason.TARGET_FORM, Reason.TARGET_UNSAFE)


@pytest.mark.parametrize("text", [b".", b"+", b" .", b"a.", b".+", b"=.", b"a%0A", b"operation="])
def test_a_long_query_takes_linear_time(text: bytes) -> None:
    """A backtracking pattern would take days for half a megabyte."""
    query = (text * 500_000)[:500_000].replace(b" ", b"%20")
    assert read_request_target(LINES + query.rstrip(b"%0") + b"-") is not None
    assert read_request_target(b"/x?" + query + b"x") is not None


@pytest.mark.parametrize("raw", [b"/x?/dir\xcc\x9e b.msi", b"/x?/Espa\xc3\xb1ol.txt", b"/\xc3\xb1"])
def test_a_byte_beyond_ascii_must_be_an_escape(raw: bytes) -> None:
    raw = raw.replace(b" ", b"%20")
    denial = read_request_target(raw)
    assert isinstance(denial, Deny)
    assert (denial.reason, denial.rule) == (Reason.TARGET_UNSAFE, "target.encoding")


def test_an_escaped_byte_in_a_file_name_passes() -> None:
    assert accepted(b"/x?/Espa%C3%B1ol.txt").query == b"/Espa%C3%B1ol.txt"
