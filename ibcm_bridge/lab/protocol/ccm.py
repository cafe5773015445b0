"""Writes and reads ConfigMgr messages, as clients and management points do.

How it works (section numbers are those of protocol.md):

1. The body XML is encoded in UTF-16LE without BOM, with one NUL character at the end (1.3).
2. Clients append CR LF and compress it; `Body@Length` includes the NUL, not the CR LF.
3. A client that signs adds a `clientauth` hook to the header. The payload signature covers the
   compressed bytes, so they are created before the header (1.5, 1.6).
4. Header and payload become the two parts of a multipart message with a constant boundary (1.3).

The output is deterministic, for benchmarks and byte-for-byte tests. This module does not handle
hostile input safely. `raw_message` builds messages that the bridge must refuse.
"""

from __future__ import annotations

import contextlib
import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ibcm_bridge.lab.protocol.signing import client_authentication_hook, smsid
from ibcm_bridge.lab.protocol.xml_style import SDK, XmlStyle

BOUNDARY = b"aAbBcCdDv1234567890VxXyYzZ"
"""The messaging SDK's RequestMimeBoundary; clients use it for every message (1.2)."""

CONTENT_TYPE = f'multipart/mixed; boundary="{BOUNDARY.decode()}"'

ZLIB_HOOK = '<Hook3 Name="zlib-compress" />'
SENT_TIME = "2026-01-01T00:00:00Z"

NO_REPLY = (
    b"--%b\r\ncontent-type: text/plain; charset=UTF-16\r\n\r\n" % BOUNDARY
    + "\ufeffNoReply".encode("utf-16-le")
    + b"\r\n--%b--" % BOUNDARY
)
"""The reply to an asynchronous message: one MIME part (1.7)."""

MAX_INFLATED = 8 * 1024 * 1024
"""More than any message of the lab. A zip bomb is quick also on a busy machine: some proxies wait
only 5 s for the response, and then the check has another outcome."""


@dataclass(frozen=True)
class Message:
    """A parsed message. `payload` is part 2 as sent; None in a reply with one part (1.7)."""

    header_xml: str
    payload: bytes | None

    def body_text(self) -> str | None:
        """Return the body without its final NUL; None if it is encrypted or missing."""
        if self.payload is None:
            return None
        header = ET.fromstring(self.header_xml)
        hooks = {hook.get("Name") for hook in header.iterfind("Hooks/*")}
        if "encrypt" in hooks:
            return None
        data = self.payload
        if "zlib-compress" in hooks:
            data = zlib.decompressobj().decompress(data, MAX_INFLATED)
        body = header.find("Body")
        if body is None:
            raise ValueError("the message header has no Body")
        offset, length = int(body.get("Offset", "0")), int(body.get("Length", "0"))
        return data[offset : offset + length].decode("utf-16-le").removesuffix("\0")

    def hook_properties(self) -> dict[str, str]:
        """Return the properties of the `clientauth` hook (1.5); empty if it is not signed."""
        found = ET.fromstring(self.header_xml).iterfind("Hooks/*[@Name='clientauth']/Property")
        return {element.get("Name", ""): element.text or "" for element in found}


def ccm_post_body(
    *,
    endpoint: str,
    body_xml: str,
    client_guid: str,
    target_host: str = "mp01.corp.example",
    key: RSAPrivateKey | None = None,
    trailing_crlf: bool = True,
    xml_style: XmlStyle = SDK,
    boundary: bytes = BOUNDARY,
    inner_type: bytes = b"application/octet-stream",
    reply_mode: str = "Sync",
    attached: str = "",
    **header: str,
) -> bytes:
    """Return the body of a CCM_POST: compressed, and signed if there is a key.

    An `attached` document precedes the body, and then both are attachments, as in a heartbeat
    (1.3). `xml_style` applies to the header; documents are sent unchanged. `header` is passed to
    `message_header`.
    """
    before = attached.encode("utf-16-le") + b"\0\0\r\n" if attached else b""
    text = body_xml.encode("utf-16-le") + b"\0\0"
    end = b"\r\n" if trailing_crlf else b""
    payload = zlib.compress(before + text + end)
    hooks = ZLIB_HOOK
    if key:
        hooks = client_authentication_hook(client_guid, payload, key) + hooks
    slices = [(0, len(before) - 4), (len(before), len(text) - 2)] if before else []
    header_xml = message_header(
        endpoint,
        len(text),
        hooks,
        client_guid,
        target_host=target_host,
        reply_mode=reply_mode,
        offset=len(before),
        attachments=slices,
        **header,
    )
    header_xml = xml_style.element(header_xml)
    return raw_message(header_xml, payload, boundary=boundary, inner_type=inner_type)


def message_header(
    endpoint: str,
    length: int,
    hooks: str = ZLIB_HOOK,
    client_guid: str = "",
    *,
    target_host: str = "mp01.corp.example",
    reply_mode: str = "Sync",
    reply_to: str = "direct:PC1:SccmMessaging",
    sent: str = SENT_TIME,
    file_type: str = "",
    offset: int = 0,
    attachments: Sequence[tuple[int, int]] = (),
) -> str:
    """Return the Msg element, with its children in the order of 1.4; senders differ in it.

    `file_type` is the inbox of a relayed report (2.1). `attachments` are pairs of offset and length
    in bytes.
    """
    slices = "".join(
        f'<Attachment Name="{{{UUID(int=number)}}}" Offset="{first}" Length="{size}" />'
        for number, (first, size) in enumerate(attachments, 2)
    )
    inbox = f'<Property Name="FileType" Value="{file_type}" />' if file_type else ""
    return (
        '<Msg ReplyCompression="zlib" SchemaVersion="1.1">'
        f'<Body Type="ByteRange" Length="{length}" Offset="{offset}" />{slices}'
        f"<CorrelationID>{{{UUID(int=0)}}}</CorrelationID><Hooks>{hooks}</Hooks>"
        f'<ID>{{{UUID(int=1)}}}</ID><Payload Type="inline" /><Priority>0</Priority>{inbox}'
        "<Protocol>http</Protocol><ReplyCapabilities><AllowRegistrationReset>"
        "direct:PC1:ClientRegistration</AllowRegistrationReset></ReplyCapabilities>"
        f"{_child('ReplyMode', reply_mode)}{_child('ReplyTo', reply_to)}{_child('SentTime', sent)}"
        f"<SourceHost>PC1</SourceHost>{_child('SourceID', smsid(client_guid))}"
        f"{_child('TargetAddress', f'mp:{endpoint}')}{_child('TargetEndpoint', endpoint)}"
        f"{_child('TargetHost', target_host)}<Timeout>60000</Timeout></Msg>"
    )


def _child(name: str, text: str) -> str:
    return f"<{name}>{escape(text)}</{name}>" if text else f"<{name} />"


def raw_message(
    header_xml: str,
    part2: bytes,
    *,
    boundary: bytes = BOUNDARY,
    inner_type: bytes = b"application/octet-stream",
) -> bytes:
    """Frame a header and a payload (1.3), which can be malicious."""
    return (
        b"--%b\r\ncontent-type: text/plain; charset=UTF-16\r\n\r\n" % boundary
        + b"\xff\xfe"
        + header_xml.encode("utf-16-le")
        + b"\r\n--%b\r\ncontent-type: %b\r\n\r\n" % (boundary, inner_type)
        + part2
        + b"\r\n--%b--" % boundary
    )


def read_message(data: bytes) -> Message:
    """Parse a request or a reply. ValueError if it is not framed as in 1.3."""
    opening, closing = b"--%b\r\n" % BOUNDARY, b"\r\n--%b--" % BOUNDARY
    if not (data.startswith(opening) and data.endswith(closing)):
        raise ValueError("not the two-part frame of a ConfigMgr message")
    # Compressed bytes can contain the separator: split at its first occurrence.
    parts = data[len(opening) : -len(closing)].split(b"\r\n" + opening, 1)
    contents = [part.partition(b"\r\n\r\n")[2] for part in parts]
    header_xml = contents[0].decode("utf-16")
    return Message(header_xml, contents[1] if len(contents) == 2 else None)


def root(document: str | bytes) -> str:
    """Return the name of the root element; empty if there is none."""
    source = io.StringIO(document) if isinstance(document, str) else io.BytesIO(document)
    with contextlib.suppress(ET.ParseError):
        for _event, element in ET.iterparse(source, ["start"]):
            return str(element.tag)
    return ""


def parse_reply(data: bytes) -> tuple[str, str | None]:
    """Return header and body of a reply; None as the body of `NoReply`. ValueError if empty."""
    message = read_message(data)
    return message.header_xml, message.body_text()
