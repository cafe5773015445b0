"""File names: unambiguous ones are accepted, and ambiguous ones are refused."""

# ruff: noqa: RUF001
# These tests are about confusable characters.

from __future__ import annotations

import ntpath
import re
import unicodedata
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.request.file_names import LONGEST, find_name_ambiguity, is_short_name
from ibcm_bridge.request.target import RequestTarget, read_request_target

PACKAGE = "/SMS_DP_SMSPKG$/XYZ0004A/sccm?"
BUILT = "microsoft-windows-netfx3-ondemand-package~31bf3856ad364e35~amd64~~.cab"

# File names of packages, as in the file system
ALLOWED = [
    "/setup.exe",
    "/dir/",
    "/sources/sxs/" + BUILT,
    "/amd64_microsoft-windows-x_31bf3856ad364e35~10.0/setup.ini",
    "/backup/report~2024.xlsx",
    "/templates/~$normal.dotm",
    "/PROGRA~1.TXT.BAK",
    "/PROGRA~1x/a.exe",
    "/PROGRAMS~1/a.exe",
    "/a~b/~",
    "/report~1.xlsx",
    "/.~lock.report.odt#",
    "/themes/100%.theme",
    "/100% sure.txt",
    "/%",
    "/%u00e",
    "/50%-off/%g1%1g.txt",
    "/C#/readme.txt",
    "/#1.txt",
    "/a;b.txt",
    "/;",
    "/v1.0;x/..a;b",
    "/R&D/readme (1) [final] a=b,c'd!@^{x}.txt",
    "/Visual C++ 2022/vc_redist.x64.exe",
    "/Español.txt",
    "/Espan\u0303ol.txt",
    "/日本語/テスト.txt",
    "/Ελληνικά/кириллица/עברית/हिन्दी.txt",
    "/می\u200cخواهم.txt",
    "/\U0001f469\u200d\U0001f4bb\ufe0f.png",
    "/Ａ.txt",
    "/３½ №™ ①.txt",
    "/100％.txt",
    "/console.exe",
    "/con1/connect.txt",
    "/com/lpt/com10/lpt-1.txt",
    "/nullable/auxiliary.ini/prn_.log",
    "/x.con/setup.aux",
    "/$CON/CON$",
    "/CONIN/clock$x",
    "/Con\u0301/x",
    "/man\u0303ana1.txt",
    "/\u1820\u180b\u1821.txt",
    "/\u062a\u0642\u0631\u064a\u0631\u0661.txt",
    "/com\u0661\u0662/\u221e.txt",
]

# File name -> part of the rule
REFUSED = [
    # dot segments
    ("/..", "segment"),
    ("/a/../b", "segment"),
    ("/./b", "segment"),
    ("//b", "segment"),
    ("/a//b", "segment"),
    ("/... /b", "segment"),
    ("/.+./b", "segment"),
    ("/+/b", "segment"),
    ("/\u00a0/b", "segment"),
    ("/.\u3000./b", "segment"),
    ("/.\u200b./b", "segment"),
    ("/\ufeff/b", "segment"),
    ("/.\ufe0f/b", "segment"),
    *(
        (f"/..{character}/b", "segment")
        for character in "\u180b\u180f\u2065\ufff0\U000e0000\U000e0fff"
    ),
    ("/..;/b", "segment"),
    ("/..;a=b/c", "segment"),
    ("/..#/b", "segment"),
    ("/. ;x", "segment"),
    # trailing dots and spaces, which Windows drops
    ("/a./b", "segment"),
    ("/a.", "segment"),
    ("/a /b", "segment"),
    ("/a.txt\u00a0", "segment"),
    ("/a.txt\u3000", "segment"),
    ("/a.txt.\u200d", "segment"),
    ("/a\u1680/b", "segment"),
    # decoded twice
    ("/%2e%2e/x", "query"),
    ("/a%2fb", "query"),
    ("/a%5Cb", "query"),
    ("/50%de.txt", "query"),
    ("/%u002e%u002e/x", "query"),
    ("/a%U2215b", "query"),
    ("/％2e％2e/x", "query"),
    ("/%２ｅ/x", "query"),
    ("/%\u200b2e/x", "query"),
    ("/\u066a2e/x", "query"),
    # separators, streams, wildcards, controls
    ("/a\\b", "separator"),
    ("/a:b", "query"),
    ("/C:/x", "query"),
    ("/a::$DATA", "query"),
    ("/a?b", "query"),
    ("/a*", "query"),
    ("/a<b>c", "query"),
    ('/a"b', "query"),
    ("/a|b", "query"),
    ("/a\x00b", "query"),
    ("/a\r\nb", "query"),
    ("/a\x7fb", "query"),
    ("/a\x85b", "query"),
    # lookalikes
    *(
        (f"/a{character}b.txt", "query")
        for character in "\u2044\u2215\u29f8\u00a5\u20a9\u2236\u0589"
    ),
    *((f"/a{character}b.txt", "query") for character in "\u2216\u29f5\u29f9"),
    *(
        (f"/a{character}b.txt", "query")
        for character in "／＼．：\ufe68\ufe55\ufe52\ufe13\u2024\u2025\u2026"
    ),
    *((f"/a{character}b.txt", "query") for character in "℀℁℅℆⒈⒛\U0001f100"),
    # 8.3 names, as whole segments
    ("/PROGRA~1/setup.exe", "short-name"),
    ("/SETUP~2.EXE", "short-name"),
    ("/a/b~1.c/d", "short-name"),
    ("/~1", "short-name"),
    ("/LONGNA~1.X", "short-name"),
    ("/LO12AB~9", "short-name"),
    ("/ABCDE~12.TXT", "short-name"),
    ("/progra~1 .exe", "short-name"),
    ("/progra~1+.exe", "short-name"),
    ("/ＰＲＯＧＲＡ～１", "short-name"),
    ("/PROGRA\u223c1", "short-name"),
    ("/PROGRA\u02dc1", "short-name"),
    ("/PRO\u200bGRA~1", "short-name"),
    ("/PROGR\u03031", "short-name"),
    ("/PROGR~\u0661.txt", "short-name"),
    ("/PROGR~\u221e", "short-name"),
    # devices
    *(
        (f"/{name}", "device")
        for name in ("con", "PRN", "Aux", "nul", "CONIN$", "conout$", "CLOCK$")
    ),
    *((f"/com{digit}", "device") for digit in "0123456789¹²³"),
    *((f"/LPT{digit}.txt", "device") for digit in "0123456789¹²³"),
    ("/aux.txt", "device"),
    ("/con.tar.gz", "device"),
    ("/a/nul/b", "device"),
    ("/CON .txt", "device"),
    ("/CON+.txt", "device"),
    ("/CON\u00a0.txt", "device"),
    ("/ＣＯＮ", "device"),
    ("/ｎｕｌ.txt", "device"),
    ("/C\u200bON", "device"),
    ("/COM\ufe0f1", "device"),
    ("/CO\u180bN", "device"),
    ("/COM\u0661.txt", "device"),
    ("/LPT\u221e", "device"),
    ("/con\u0131n$", "device"),
    ("/CLOC\u212a$", "device"),
    ("/ⓝⓤⓛ", "device"),
]


def read(name: str) -> RequestTarget | Deny:
    return read_request_target((PACKAGE + quote(name, safe="/")).encode("ascii"))


@pytest.mark.parametrize("name", ALLOWED)
def test_an_unambiguous_name_passes(name: str) -> None:
    result = read(name)
    assert isinstance(result, RequestTarget), result
    assert result.query_text == name


@pytest.mark.parametrize(("name", "part"), REFUSED)
def test_an_ambiguous_name_is_refused(name: str, part: str) -> None:
    result = read(name)
    assert isinstance(result, Deny)
    assert (result.reason, result.rule) == (Reason.TARGET_UNSAFE, f"target.{part}")


@pytest.mark.parametrize(
    ("raw", "part"),
    [
        (b"/a%C0%AF..%C0%AFb", "encoding"),  # overlong
        (b"/%C0%AE%C0%AE/b", "encoding"),
        (b"/a%E0%80%AFb", "encoding"),
        (b"/a%F0%80%80%AFb", "encoding"),
        (b"/%ED%A0%80", "encoding"),  # a surrogate
        (b"/%F4%90%80%80", "encoding"),  # past U+10FFFF
        (b"/Espa%F1ol.txt", "encoding"),  # ISO 8859-1
        (b"/%C3", "encoding"),
        (b"/%C3/%B1", "encoding"),
        (b"/%FF%FEa", "encoding"),
        (b"/a%2fb", "separator"),
        (b"/a%5Cb", "separator"),
        (b"%2fa", "separator"),
        (b"/%u002e", "escape"),
        (b"/100%.theme", "escape"),
    ],
)
def test_utf_8_that_is_not_in_its_shortest_form_is_refused(raw: bytes, part: str) -> None:
    result = read_request_target(PACKAGE.encode() + raw)
    assert isinstance(result, Deny)
    assert (result.reason, result.rule) == (Reason.TARGET_UNSAFE, f"target.{part}")


@pytest.mark.parametrize(
    ("target", "detail"),
    [
        (f"{PACKAGE}/a:b", 'the query has ":", which Windows does not allow in file names'),
        (f"{PACKAGE}/a%07b", "the query has U+0007, which Windows does not allow in file names"),
        (
            f"{PACKAGE}/a%EF%BC%8Fb",
            'the query has U+FF0F FULLWIDTH SOLIDUS, which some parsers read as "/"',
        ),
        (f"{PACKAGE}/a%C2%A5b", 'the query has U+00A5 YEN SIGN, which some parsers read as "\\"'),
        (f"{PACKAGE}/%E2%84%80", 'the query has U+2100 ACCOUNT OF, which some parsers read as "/"'),
        (f"{PACKAGE}/%252e/x", 'the query has "%2e", an escape after decoding'),
        (f"{PACKAGE}/a%C0%AFb", "byte 0xC0 in the query is not UTF-8"),
        (f"{PACKAGE}/PROGRA~1/x", "the query has 'PROGRA~1', an 8.3 name"),
        (f"{PACKAGE}/COM%C2%B9", r"the query has 'COM\xb9', a device name"),
        (f"{PACKAGE}/a./x", "the query has 'a.', which ends with a dot or a space"),
        (f"{PACKAGE}/../x", "the query has a segment that is empty or has only dots and spaces"),
        (f"{PACKAGE}/..;/x", "the query has '..;', a dot segment for some parsers"),
        ("/selfupdate/wuident;x.cab", '";" in the path is ambiguous'),
        ("/selfupdate/wuid%C3%B1nt.cab", "byte 0xC3 in the path is ambiguous"),
        ("/SMS_MP/x%25y", '"%" in the path is ambiguous'),
        ("/SMS_MP/x%09y", "U+0009 in the path is ambiguous"),
        ("/SMS_MP/.sms_aut?a%5Cb", '"\\" in the query is ambiguous'),
        ("/SMS_MP/.sms_aut?x=PROGRA~1", "the query has 'PROGRA~1', an 8.3 name"),
        ("/SMS_MP/.sms_aut?x=c:/y", "the query has a drive letter"),
        ("/SMS_MP/.sms_aut?x=//y", "the query has a host or share"),
        ("/SMS_MP/.sms_aut?x=../y", "the query has a dot segment"),
    ],
)
def test_the_detail_has_the_ambiguity(target: str, detail: str) -> None:
    result = read_request_target(target.encode())
    assert isinstance(result, Deny)
    assert result.detail == detail


def test_a_long_name_takes_little_time() -> None:
    # Normalization of so many marks would take a second.
    result = read("/a" + "\u0301\u0327" * LONGEST)
    assert isinstance(result, Deny)
    assert str(LONGEST) in result.detail
    assert isinstance(read("/" + "\u00e4" * (LONGEST - 1)), RequestTarget)
    assert isinstance(read("/" + "a" * LONGEST), RequestTarget)


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("PROGRA~1", True),
        ("A~1.B", True),
        ("~1", True),
        ("PROGRA~1.", True),
        ("PROGRA~1.EXE", True),
        ("PROGRA~1.JSON", False),
        ("PROGRA~1.A.B", False),
        ("PROGRAM~1", False),
        ("PROGRA~", False),
        ("PROGRA~1A", False),
        ("PROGRA1", False),
        ("A.B~1", False),
        ("PROGRA~\u0661", True),
    ],
)
def test_only_a_complete_8_3_name_is_a_short_name(name: str, short: bool) -> None:
    assert is_short_name(name) is short


# Properties

DEVICES = re.compile(
    r"(con|prn|aux|nul|com[0-9]|lpt[0-9]|conin\$|conout\$|clock\$) *(\..*)?", re.I | re.S
)
PIECES = st.sampled_from(
    [
        *("/", "//", "..", ".", " ", "+", "%", "2e", "2f", "%25", "u002e", ";", "#", "~1", "~"),
        *("a", "con", "com", "1", "¹", "nul", "PROGRA", ".txt", "½", "℀", "⒈", "…", "ﬁ"),
        *("／", "．", "＼", "：", "％", "２", "～", "Ｃ", "\u2215", "\u2044"),
        *("\u200b", "\ufe0f", "\u00a0", "\u3000"),
    ]
)
NAMES = st.one_of(
    st.lists(PIECES, max_size=8).map("".join), st.text(st.characters(exclude_categories=["Cs"]))
).map(lambda text: f"/{text}")


@given(NAMES)
def test_no_accepted_name_is_another_name_after_normalization(name: str) -> None:
    if find_name_ambiguity(name) is not None:
        return
    for form in ("NFC", "NFKC", "NFKD"):
        normal = unicodedata.normalize(form, name)
        for character in "/\\.:":
            assert normal.count(character) == name.count(character)
        assert not any(unicodedata.category(character) == "Cc" for character in normal)
        assert not re.search("%[0-9A-Fa-f]{2}|%u[0-9A-Fa-f]{4}", normal)
        assert unquote(normal) == normal
        segments = normal[1:].removesuffix("/").split("/") if normal != "/" else []
        for segment in segments:
            assert segment.strip(". +")
            assert segment == segment.rstrip(". ")
            assert not DEVICES.fullmatch(segment)
            assert not is_short_name(segment)
        # As Windows parses it.
        windows = ntpath.normpath(normal).replace("\\", "/")
        assert windows.rstrip("/") == normal.rstrip("/")
        assert ntpath.splitdrive(normal)[0] == ""


@given(NAMES)
def test_the_escapes_of_a_name_do_not_change_the_verdict(name: str) -> None:
    part = find_name_ambiguity(name)
    result = read(name)
    if part is None:
        assert isinstance(result, RequestTarget)
        assert result.query_text == name
    else:
        assert isinstance(result, Deny)
        assert len(result.detail) < 200
        assert result.detail.isprintable()


LETTERS = st.text(
    st.characters(categories=["L", "Nd"]).filter(
        lambda letter: (
            unicodedata.normalize("NFKC", letter).isalnum()
            and "FILLER" not in unicodedata.name(letter, "")
        )
    ),
    min_size=1,
    max_size=12,
)


@given(st.lists(LETTERS, min_size=1, max_size=4), LETTERS)
def test_letters_and_digits_of_any_script_are_accepted(folders: list[str], extension: str) -> None:
    name = "/" + "/".join(folders) + "." + extension
    plain = unicodedata.normalize("NFKC", name)
    is_device = any(DEVICES.fullmatch(segment) for segment in plain[1:].split("/"))
    ambiguity = find_name_ambiguity(name)
    assert (ambiguity is not None) is is_device
