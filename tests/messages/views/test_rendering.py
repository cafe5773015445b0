"""The text of views."""

from __future__ import annotations

import zlib

import pytest

from ibcm_bridge.lab.protocol import ccm, documents
from ibcm_bridge.messages.views import Message, recognize, render

TYPE = ccm.CONTENT_TYPE.encode()
GUID = "01234567-89ab-cdef-0123-456789abcdef"
HOW = "ask for them"
OPENING = b"--%b\r\n" % ccm.BOUNDARY
CLOSING = b"\r\n--%b--" % ccm.BOUNDARY
HEADER = "<Msg><TargetEndpoint>LS</TargetEndpoint><Hooks/></Msg>"


def request(body: bytes) -> str:
    return render(Message.REQUEST, TYPE, body, how_to_see=HOW)


def reply(body: bytes, content_type: bytes = TYPE) -> str:
    return render(Message.REPLY, content_type, body, how_to_see=HOW)


def document(body: bytes) -> str:
    return render(Message.DOCUMENT, b"text/xml", body, how_to_see=HOW)


def parts(*bodies: bytes) -> bytes:
    framed = [b"content-type: application/octet-stream\r\n\r\n" + body for body in bodies]
    return OPENING + (b"\r\n" + OPENING).join(framed) + CLOSING


def utf16(text: str) -> bytes:
    return text.encode("utf-16-le")


# CCM_POST


def test_a_message_shows_its_header_in_a_stable_order_and_then_its_documents() -> None:
    body = ccm.ccm_post_body(
        endpoint="MP_PolicyManager", body_xml=documents.policy_request(GUID), client_guid=GUID
    )
    assert request(body) == (
        """\
CCM_POST for MP_PolicyManager

  TargetEndpoint      MP_PolicyManager
  TargetAddress       mp:MP_PolicyManager
  TargetHost          mp01.corp.example
  SourceID            GUID:01234567-89AB-CDEF-0123-456789ABCDEF
  SourceHost          PC1
  ReplyTo             direct:PC1:SccmMessaging
  ReplyMode           Sync
  ID                  {00000000-0000-0000-0000-000000000001}
  CorrelationID       {00000000-0000-0000-0000-000000000000}
  SentTime            2026-01-01T00:00:00Z
  Timeout             60000
  Priority            0
  Protocol            http
  SchemaVersion       1.1
  ReplyCompression    zlib
  Payload             inline
  Body                794 bytes at offset 0
  Hook zlib-compress
  <ReplyCapabilities>
    <AllowRegistrationReset>direct:PC1:ClientRegistration</AllowRegistrationReset>
  </ReplyCapabilities>

Document 1 of 1, 396 characters

<RequestAssignments SchemaVersion="1.00" ACK="false" RequestType="Always" ValidationRequested="CRC">
  <Identification>
    <Machine>
      <ClientID>GUID:01234567-89AB-CDEF-0123-456789ABCDEF</ClientID>
      <FQDN>pc1.corp.example</FQDN>
      <NetBIOSName>PC1</NetBIOSName>
      <SID/>
    </Machine>
    <User/>
  </Identification>
  <PolicySource>SMS:LAB</PolicySource>
  <Resource ResourceType="Machine"/>
  <ServerCookie/>
</RequestAssignments>"""
    )


def test_the_order_of_a_header_is_fixed() -> None:
    fields = [
        '<Body Type="ByteRange" Offset="0" Length="8"/>',
        '<Attachment Name="{A}" Offset="0" Length="8"/>',
        "<TargetEndpoint>X</TargetEndpoint>",
        '<Property Name="FileType" Value="SMX"/>',
        "<Unknown>1</Unknown>",
        "<ReplyCapabilities><AllowRegistrationReset>true</AllowRegistrationReset>"
        "</ReplyCapabilities>",
    ]
    texts = set()
    for ordered in (fields, fields[::-1]):
        header = f"<Msg>{''.join(ordered)}</Msg>"
        body = ccm.raw_message(header, utf16("<A/>"), inner_type=b"text/plain; charset=UTF-16")
        texts.add(request(body))
    (text,) = texts
    assert text.startswith(
        """\
CCM_POST for X

  TargetEndpoint  X
  Body            8 bytes at offset 0
  Attachment      8 bytes at offset 0, {A}
  Property        FileType = SMX
  Unknown         1
  <ReplyCapabilities>
    <AllowRegistrationReset>true</AllowRegistrationReset>
  </ReplyCapabilities>
"""
    )


def test_the_view_of_an_encrypted_message_says_so() -> None:
    header = ccm.message_header("MP_HinvEndpoint", 10, '<Hook2 Name="encrypt"/>')
    lines = request(ccm.raw_message(header, b"12345")).splitlines()
    assert lines[0] == "CCM_POST for MP_HinvEndpoint"
    assert lines[-1] == (
        "The payload is encrypted (hook `encrypt`), 5 bytes. Only the site can decrypt it."
    )


def test_the_view_of_an_unreadable_message_has_the_reason_and_the_header() -> None:
    lines = request(ccm.raw_message(ccm.message_header("X", 4), b"12345")).splitlines()
    assert lines[0] == "Unreadable CCM_POST: not a zlib stream (compression, ccm.zlib)"
    assert "  TargetEndpoint      X" in lines
    assert lines[-1] == "The parts after the header are not shown; bytes: 5"


@pytest.mark.parametrize("body", [b"", b"--", b"<html/>", parts(b"x", b"y"), parts(b"\xff\xfe<")])
def test_other_bytes_are_shown_as_unreadable(body: bytes) -> None:
    assert request(body).startswith("Unreadable CCM_POST: ")


# Replies

ASSIGNMENTS = (
    '<ReplyAssignments ReplyType="Full"><PolicyAssignment PolicyAssignmentID="{A}"><Policy '
    'PolicyID="{A}" PolicyVersion="1.00" PolicyType="Machine" PolicyFlags="1030"><PolicyLocation>'
    "<![CDATA[http://<mp>/SMS_MP/.sms_pol?{A}.1_00]]></PolicyLocation></Policy></PolicyAssignment>"
    "</ReplyAssignments>"
)


def test_a_reply_with_policy_has_a_table() -> None:
    assert reply(ccm.raw_message(HEADER, utf16(ASSIGNMENTS))) == (
        """\
Reply to CCM_POST: ReplyAssignments

  TargetEndpoint  LS

Document 1 of 1, 290 characters

  PolicyID  Version  Type     Location                              Flags
  {A}       1.00     Machine  http://<mp>/SMS_MP/.sms_pol?{A}.1_00  """
        """1030: RequiresAuth, Secret, 1024 (unknown)

<ReplyAssignments ReplyType="Full">
  <PolicyAssignment PolicyAssignmentID="{A}">
    <Policy PolicyID="{A}" PolicyVersion="1.00" PolicyType="Machine" PolicyFlags="1030">
      <PolicyLocation><![CDATA[http://<mp>/SMS_MP/.sms_pol?{A}.1_00]]></PolicyLocation>
    </Policy>
  </PolicyAssignment>
</ReplyAssignments>"""
    )


def test_the_number_of_unreadable_parts_is_shown() -> None:
    text = reply(parts(utf16(HEADER), utf16("<A/>"), b"\x00\xd8"))
    assert text.startswith("Reply to CCM_POST: A; unreadable parts: 1\n")
    assert text.endswith("Document 1 of 1, 4 characters\n\n<A/>")


def test_no_reply_and_an_empty_reply_are_explained() -> None:
    assert reply(ccm.NO_REPLY) == "NoReply: the message was accepted, without a reply document"
    assert reply(b"").startswith("Empty reply to CCM_POST: the client is unknown, ")


def test_the_view_of_an_unreadable_reply_has_the_reason() -> None:
    hidden = HEADER.replace("<Hooks/>", '<Hooks><Hook2 Name="encrypt"/></Hooks>')
    lines = reply(ccm.raw_message(hidden, b"12345")).splitlines()
    assert lines[0] == (
        "Unreadable reply to CCM_POST: hook 'encrypt' (body-not-inspectable, ccm_reply.hooks)"
    )
    assert lines[-1] == "The parts after the header are not shown; bytes: 5"


# Responses to GET

POLICY = '<Policy PolicyID="{A}"><a>x</a></Policy>'
SHOWN = '<Policy PolicyID="{A}">\n  <a>x</a>\n</Policy>'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("prolog", ["", '<?xml version="1.0" encoding="utf-16"?>\r\n'])
def test_a_policy_is_parsed_in_each_encoding(encoding: str, prolog: str) -> None:
    assert document((prolog + POLICY).encode(encoding)) == f"Policy\n\n{SHOWN}"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le"])
def test_a_compressed_policy_is_inflated(encoding: str) -> None:
    inner = POLICY.encode(encoding)
    text = document(
        b'<PolicyXML Compression="zlib">%b</PolicyXML>' % zlib.compress(inner).hex().encode()
    )
    indented = SHOWN.replace("\n", "\n  ")
    assert text == (
        f'Policy\n\n<PolicyXML Compression="zlib">  (inflated: {len(inner)} bytes)\n  {indented}\n'
        "</PolicyXML>"
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("zz", "marked as compressed, but not hexadecimal"),
        ("00ff", "cannot be inflated: not a zlib stream"),
        (zlib.compress(b"a" * 9_000_000).hex(), "cannot be inflated: more than 8388608 bytes"),
        (
            zlib.compress(b"\xff\xfe\x00\xd8").hex(),
            "the inflated bytes are neither UTF-8 nor UTF-16LE",
        ),
        (zlib.compress(b"<a>").hex(), "not XML: no element found at line 1, column 4"),
    ],
)
def test_the_view_of_a_policy_that_cannot_be_inflated_has_the_reason(
    content: str, problem: str
) -> None:
    text = document(b'<PolicyXML Compression="zlib">%b</PolicyXML>' % content.encode())
    assert f"({problem})</PolicyXML>" in text


def test_management_points_have_a_table() -> None:
    xml = (
        b'<MPList><MP Name="MP01" FQDN="mp.internet.example" SiteCode="LAB"><Version>9128</Version>'
        b'<Capabilities><Property Name="SSLState" Value="31"/></Capabilities></MP></MPList>'
    )
    assert document(xml).splitlines()[:5] == [
        "Management points",
        "",
        "  Name  FQDN                 Site  Version  SSLState",
        "  MP01  mp.internet.example  LAB   9128     "
        "31: Enabled, Required, ClientAuthEnabled, ClientAuthRequired, 128Bit",
        "",
    ]


def test_encrypted_empty_and_unreadable_documents_are_explained() -> None:
    enveloped = bytes.fromhex("3082010006092a864886f70d010703a082") + bytes(239)
    assert document(enveloped) == (
        "Encrypted (CMS EnvelopedData), 256 bytes; only its client can decrypt it"
    )
    assert document(b"\xff").startswith("Not readable, 1 bytes: neither UTF-8")
    cut_off = "Not readable, 3 bytes\n\nNot XML: no element found at line 1, column 4"
    assert document(b"<a>") == cut_off
    assert document(b"") == "Empty response of a management point"
    page = document(b"<html><title>ERROR</title></html>")
    assert page.startswith("Web page instead of a document")
    assert "ERROR" in page


def test_text_cannot_control_a_terminal() -> None:
    text = document("<a b='\u009b31m&#10;\"'>\u202e\r\nx</a>".encode())
    assert text.splitlines()[2:] == ['<a b="\\x9b31m&#10;&quot;">', "  \\u202e", "  x", "</a>"]


def test_text_cannot_look_like_an_element() -> None:
    assert document(b"<a>x&lt;b/></a>").endswith("<a><![CDATA[x<b/>]]></a>")
    assert document(b"<a>x&lt;b/>]]&gt;&amp;</a>").endswith("<a>x&lt;b/>]]>&amp;</a>")
    within = document(b"<a>&lt;b/></a>")
    assert within.endswith("<a>  (text parsed as XML)\n  <b/>\n</a>")


# Recognition

FRAMED = ccm.raw_message(HEADER, b"")


@pytest.mark.parametrize(
    ("method", "target", "content_type", "body", "status", "kind"),
    [
        ("CCM_POST", "/ccm_system/request", TYPE, FRAMED, None, Message.REQUEST),
        ("CCM_POST", "/ccm_system/request", b"", b"", None, Message.REQUEST),
        ("CCM_POST", "/ccm_system/request", TYPE, FRAMED, 200, Message.REPLY),
        ("CCM_POST", "/ccm_system/request", b"", b"", 200, Message.REPLY),
        ("CCM_POST", "/ccm_system/request", b"Multipart/Mixed", b"x", 200, Message.REPLY),
        ("CCM_POST", "/ccm_system/request", b"text/plain", b"denied", 403, None),
        ("CCM_POST", "/ccm_system/request", b"", b"", 401, None),
        ("", "", b"", FRAMED, None, Message.REQUEST),
        ("POST", "/", b"", FRAMED, 200, Message.REPLY),
        ("GET", "/SMS_MP/.sms_pol?{A}.1_00", b"", b"<a/>", 200, Message.DOCUMENT),
        ("GET", "/sms_mp_windowsauth/.SMS_POL?A", b"", b"", 206, Message.DOCUMENT),
        ("GET", "/SMS_MP/.sms_aut?MPLIST", b"", b"<a/>", 200, Message.DOCUMENT),
        ("GET", "/SMS_MP/.sms_aut?MPLIST", b"", b"denied", 403, None),
        ("HEAD", "/SMS_MP/.sms_aut?MPLIST", b"", b"", 200, None),
        ("GET", "/SMS_MP/.sms_aut?MPLIST", b"", b"", None, None),
        ("GET", "/other/.sms_aut", b"", b"<a/>", 200, None),
        ("GET", "/", b"text/xml", b"<a/>", 200, None),
    ],
)
def test_a_message_is_recognized_by_its_request(
    method: str, target: str, content_type: bytes, body: bytes, status: int | None, kind: Message
) -> None:
    assert recognize(method, target, content_type, body, status=status) is kind
