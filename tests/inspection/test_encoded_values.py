"""Values in base64 and hexadecimal: decoded once, and PowerShell commands found."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable
from importlib.resources import files

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.inspection import encoded_values
from ibcm_bridge.inspection.encoded_values import (
    COMMAND,
    MAX_VALUES,
    MIN_HEXADECIMAL,
    MIN_VALUE,
    decoded_views,
    runs,
)
from ibcm_bridge.inspection.engines import YaraEngine
from ibcm_bridge.inspection.scan import read_and_scan
from ibcm_bridge.inspection.subject import CleanBody, Subject
from ibcm_bridge.lab.cases.requests import eicar
from ibcm_bridge.lab.protocol import ccm, documents
from ibcm_bridge.messages.long_values import MIN_RUN
from ibcm_bridge.policy_file import shipped_roles

DATA = random.Random(3).randbytes(150)
SCRIPT = "Invoke-Expression (Get-Content x.txt)"
ENCODED = base64.b64encode(SCRIPT.encode("utf-16-le"))
ROLES = shipped_roles()
RULES = [
    (file.name, file.read_text("utf-8"))
    for file in files("ibcm_bridge.config.rules").iterdir()
    if file.name.endswith(".yar")
]


def decoded(text: bytes) -> list[bytes]:
    return list(decoded_views({"text": text}, ["text"]).values())


def lines(encoded: bytes, width: int, end: bytes) -> bytes:
    return end.join(encoded[at : at + width] for at in range(0, len(encoded), width))


@pytest.mark.parametrize("before", [b"", b"<Value>", b"x = '", b"data:;base64,"])
@pytest.mark.parametrize("after", [b"", b"</Value>", b"'", b"\n", b"\r\n</Value>", b"-"])
def test_a_long_value_is_decoded(before: bytes, after: bytes) -> None:
    encoded = base64.b64encode(DATA)
    assert decoded(before + encoded + after) == [DATA]
    large = DATA * 4
    for value in (large.hex(), large.hex().upper()):
        assert decoded(before + value.encode() + after) == [large]
    for end in (b"\n", b"\r\n", b"\r\n    "):
        for width in (64, 76):
            assert decoded(before + lines(encoded, width, end) + after) == [DATA]


@given(st.binary(min_size=100, max_size=700))
def test_any_value_is_decoded(data: bytes) -> None:
    data = b"\xff" + data  # in base64 a slash, so that it cannot be hexadecimal
    assert decoded(base64.b64encode(data).rstrip(b"=")) == [data]
    hexadecimal = data.hex().encode()
    assert decoded(hexadecimal) == ([data] if len(hexadecimal) >= MIN_HEXADECIMAL else [])


@given(st.binary(max_size=600))
def test_any_bytes_are_searched(data: bytes) -> None:
    decoded(data)
    decoded(base64.b64encode(data)[1:])
    decoded(base64.b64encode(data)[:-3])


def test_short_values_are_not_decoded() -> None:
    assert decoded(b"Z" * (MIN_VALUE - 1)) == []
    assert decoded(b"Z" * MIN_VALUE) != []


def test_signatures_and_hashes_are_not_decoded() -> None:
    signature = DATA.hex().encode() * 4
    assert decoded(signature[: MIN_HEXADECIMAL - 1]) == []
    assert decoded(signature[:MIN_HEXADECIMAL]) != []
    assert decoded(b"The quick brown fox jumps over the lazy dog. " * 20) == []


def test_equal_values_are_decoded_once_and_the_longest_ones_first() -> None:
    values = [base64.b64encode(random.Random(n).randbytes(120 + n)) for n in range(MAX_VALUES + 9)]
    found = decoded(b" ".join(values * 2))
    assert [len(data) for data in found] == list(range(MAX_VALUES + 128, 128, -1))[:MAX_VALUES]


def test_a_value_is_decoded_only_once() -> None:
    twice = base64.b64encode(base64.b64encode(DATA))
    assert decoded(twice) == [base64.b64encode(DATA)]


@pytest.mark.parametrize(
    "line",
    [
        *("powershell -e %s", "PowerShell.exe -EncodedCommand %s", "pwsh -enc %s", "pwsh /ec %s"),
        *("powershell -NoP -NonI -W Hidden -Exec Bypass -encod %s", "pwsh.exe\t-En  '%s'"),
        *('"C:\\x\\powershell.exe" -NoProfile -E "%s"', "pwsh \u2013enc %s", "pwsh \u2014e %s"),
        "powershell -c x; powershell -NoExit -EncodedCommand   %s",
    ],
)
def test_the_command_of_powershell_is_found(line: str) -> None:
    text = (line % ENCODED.decode()).encode()
    assert decoded_views({"a": b"", "b": b"x " + text}, ["a", "b"]) == {
        "command": COMMAND + SCRIPT.encode()
    }
    assert len(ENCODED) >= MIN_RUN


@pytest.mark.parametrize(
    "line",
    [
        *("-e %s", "shell -e %s", "powershell %s", "powershell -f %s", "powershell -encoding %s"),
        *("powershell e %s", "powershell -exec %s", "powershell -e: %s", "pwsh -e x %s"),
        *("powershell_ise -e %s", "powershells -e %s", "pwsh" + " " * 200 + "-e %s", "/e %s"),
        "C:\\powershell\\tool.exe -enc %s",
    ],
)
def test_other_command_lines_are_not_commands(line: str) -> None:
    assert "command" not in decoded_views({"a": (line % ENCODED.decode()).encode()}, ["a"])


@pytest.mark.parametrize("length", [MIN_RUN - 1, MIN_RUN])
def test_a_command_has_a_minimum_length(length: int) -> None:
    text = b"pwsh -e " + b"A" * length
    assert ("command" in decoded_views({"a": text}, ["a"])) is (length == MIN_RUN)


def message(value: str) -> Subject:
    xml = f"<Report><ReportBody><Value>{value}</Value></ReportBody></Report>"
    body = ccm.ccm_post_body(endpoint="MP_HinvEndpoint", body_xml=xml, client_guid="")
    return Subject(ROLES.bodies["ccm-message"], ccm.CONTENT_TYPE.encode(), body)


def body(kind: str, content: str) -> Subject:
    content_type = {"form": b"application/json", "webdav": b"text/xml"}.get(kind, b"")
    return Subject(ROLES.bodies[kind], content_type, content.encode(), whole=True)


TEST_FILE = b"x" * 600 + eicar().encode()


def soap(fields: str) -> Subject:
    namespace = "http://www.microsoft.com/SoftwareDistribution/Server/ClientWebService"
    envelope = "http://schemas.xmlsoap.org/soap/envelope/"
    xml = f'<e:Envelope xmlns:e="{envelope}"><e:Body>'
    xml += f'<GetConfig xmlns="{namespace}">{fields}</GetConfig></e:Body></e:Envelope>'
    action = f'"{namespace}/GetConfig"'.encode()
    path = "clientwebservice/client.asmx"
    rule = ROLES.bodies["soap"]
    return Subject(rule, b"text/xml", xml.encode(), path=path, soap_action=(action,))


@pytest.mark.parametrize("encode", [lambda data: base64.b64encode(data).decode(), bytes.hex])
@pytest.mark.parametrize(
    "split",
    [
        str,
        lambda value: f"{value[:400]}<!-- -->{value[400:]}",
        lambda value: f"{value[:400]}<![CDATA[{value[400:]}]]>",
        lambda value: f"{value[:400]}&#{ord(value[400])};{value[401:]}",
        lambda value: f"{value[:400]}<?a?>{value[400:]}",
        lambda value: "<!-- -->".join(value[at : at + 20] for at in range(0, len(value), 20)),
    ],
)
@pytest.mark.parametrize(
    "subject",
    [
        lambda xml: message(f"</Value>{xml}<Value>"),
        soap,
        lambda xml: body("state-message", f"<r>{xml}</r>"),
        lambda xml: body("bits-upload", f"<r>{xml}</r>"),
    ],
)
def test_the_text_of_an_earlier_element_does_not_hide_a_value(
    encode: Callable[[bytes], str],
    subject: Callable[[str], Subject],
    split: Callable[[str], str],
) -> None:
    # Joined with `abc`, the value would begin at another character of four.
    xml = f"<protocolVersion>abc</protocolVersion><b>{split(encode(TEST_FILE))}</b>"
    result = read_and_scan(subject(xml), [YaraEngine(RULES)])
    assert isinstance(result, Deny)
    assert result.reason is Reason.MALICIOUS_CONTENT


@pytest.mark.parametrize("encode", [lambda data: base64.b64encode(data).decode(), bytes.hex])
def test_the_decoded_value_is_scanned_in_every_kind_of_body(encode: object) -> None:
    assert callable(encode)
    engine = YaraEngine(RULES)
    for data in (TEST_FILE, b"?" * len(TEST_FILE)):
        value = encode(data)
        propfind = f'<propfind xmlns="DAV:"><prop><getetag a="{value}"/></prop></propfind>'
        for subject in (
            message(value),
            message(f"<![CDATA[{value[:99]}]]>{value[99:]}"),
            message(f'<a b="{value}"/>'),
            body("bits-upload", value),
            body("bits-upload", f"<r a='{value}'/>"),
            body("form", f'["{value}"]'),
            body("webdav", propfind),
            body("state-message", f"<r>{value}</r>"),
        ):
            result = read_and_scan(subject, [engine])
            if data is TEST_FILE:
                assert isinstance(result, Deny), subject
                assert result.reason is Reason.MALICIOUS_CONTENT
                assert result.detail == "eicar_test_file in value 1"
            else:
                assert isinstance(result, CleanBody), result
                assert f"value 1:{len(data)}" in result.views


def test_the_signatures_of_a_message_are_not_one_value() -> None:
    key = generate_private_key(65_537, 2_048)
    body = ccm.ccm_post_body(
        endpoint="MP_HinvEndpoint", body_xml="<Report>x</Report>", client_guid="", key=key
    )
    subject = Subject(ROLES.bodies["ccm-message"], ccm.CONTENT_TYPE.encode(), body)
    result = read_and_scan(subject, [YaraEngine(RULES)])
    assert isinstance(result, CleanBody), result
    assert [view.partition(":")[0] for view in result.views][-1] == "parsed-text"


def test_the_start_of_a_value_is_the_start_of_a_file() -> None:
    program = bytes.fromhex("CFFAEDFE07000001") + bytes(100)
    result = read_and_scan(message(base64.b64encode(program).decode()), [YaraEngine(RULES)])
    assert isinstance(result, Deny)
    assert result.detail == "mach_o_image in value 1"


def test_an_archive_in_a_value_is_not_malicious() -> None:
    packed = b"PK\x03\x04" + DATA
    result = read_and_scan(message(base64.b64encode(packed).decode()), [YaraEngine(RULES)])
    assert isinstance(result, CleanBody)


def test_the_messages_of_clients_have_no_values() -> None:
    xml = documents.inventory_report("x", rows=100)
    assert decoded(xml.encode()) == []


BEFORE = st.sampled_from(
    (
        b" -e ",
        b" -EncodedCommand '",
        b"/ec\t",
        b"-ec",
        b' \xe2\x80\x93enc "',
        b">",
        b'="',
        b"\n",
        b"",
    )
)
LONG = st.sampled_from((b"A" * MIN_RUN, b"00ff" * 32, b"A" * 70 + b"\r\n" + b"B" * 200, b"/e" * 40))


@given(st.lists(st.tuples(BEFORE, LONG), max_size=4), st.binary(max_size=8))
def test_a_value_after_another_character_follows_no_parameter(
    pieces: list[tuple[bytes, bytes]], end: bytes
) -> None:
    """The text before a value is only split into words if a parameter can end there."""
    text = b"".join(before + value for before, value in pieces) + end
    for begin, _ in runs(text):
        words = text[max(0, begin - 24) : begin].rstrip(b" \t\r\n\"'").split()
        follows = bool(words) and words[-1].lower() in encoded_values._PARAMETERS
        assert encoded_values._has_parameter(text, begin) == follows
