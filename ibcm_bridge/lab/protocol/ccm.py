"""ConfigMgr messages as bytes, the way clients and management points put them together.

How it works (section numbers are those of protocol.md):

1. The body XML becomes UTF-16LE without BOM, ended by one NUL character (1.3).
2. Clients append CR LF to that and compress it; `Body@Length` counts the NUL, not the CR LF.
3. A client that signs puts a `clientauth` hook into the header. The payload signature covers the
   compressed bytes exactly as sent, so they are made before the header (1.5, 1.6).
4. Header and payload become the two parts of a multipart message with a constant boundary (1.3).

The same call makes the same bytes, as a benchmark and a byte-for-byte test need. Nothing here is
careful with hostile input: `raw_message` is there to build what the bridge must refuse.
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
"""What answers a message that is only taken in: one MIME part (1.7)."""

MAX_INFLATED = 64 * 1024 * 1024
"""More than any message of the lab; a stand-in that is sent a zlib bomb should survive it."""


@dataclass(frozen=True)
class Message:
    """A message taken apart. `payload` is part 2 as sent; None in a reply of one part (1.7)."""

    header_xml: str
    payload: bytes | None

    def body_text(self) -> str | None:
        """The body the header points at, without the NUL that ends it; None where encrypted."""
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
        """The properties of the `clientauth` hook; none when the message is not signed (1.5)."""
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
    """What a client sends with CCM_POST: compressed, and signed when a key is given.

    A document that is `attached` stands before the body, and then both are attachments, as in a
    heartbeat (1.3). `xml_style` is how the header is written; documents are sent as they are given.
    `header` goes to `message_header`.
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
    """The Msg element, its children in the order in which 1.4 has them; senders differ in it.

    `file_type` says which inbox a relayed report is for (2.1), `attachments` where each stands.
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
    """The frame alone (1.3), around whatever a hostile case wants in it."""
    return (
        b"--%b\r\ncontent-type: text/plain; charset=UTF-16\r\n\r\n" % boundary
        + b"\xff\xfe"
        + header_xml.encode("utf-16-le")
        + b"\r\n--%b\r\ncontent-type: %b\r\n\r\n" % (boundary, inner_type)
        + part2
        + b"\r\n--%b--" % boundary
    )


def read_message(data: bytes) -> Message:
    """Take a request or a reply apart; ValueError when it is not framed as in 1.3."""
    opening, closing = b"--%b\r\n" % BOUNDARY, b"\r\n--%b--" % BOUNDARY
    if not (data.startswith(opening) and data.endswith(closing)):
        raise ValueError("not the two-part frame of a ConfigMgr message")
    # Compressed bytes may hold anything, the separator too: only its first occurrence counts.
    parts = data[len(opening) : -len(closing)].split(b"\r\n" + opening, 1)
    contents = [part.partition(b"\r\n\r\n")[2] for part in parts]
    header_xml = contents[0].decode("utf-16")
    return Message(header_xml, contents[1] if len(contents) == 2 else None)


def root(document: str | bytes) -> str:
    """The name of a document's root, whatever stands before it; empty where there is none."""
    source = io.StringIO(document) if isinstance(document, str) else io.BytesIO(document)
    with contextlib.suppress(ET.ParseError):
        for _event, element in ET.iterparse(source, ["start"]):
            return str(element.tag)
    return ""


def parse_reply(data: bytes) -> tuple[str, str | None]:
    """A reply's header and body; of `NoReply` that text and None. Empty replies are ValueError."""
    message = read_message(data)
    return message.header_xml, message.body_text()
