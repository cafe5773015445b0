"""Targets: readers of the parts of ConfigMgr's messages."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator

from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.lab.protocol import ccm, documents
from ibcm_bridge.lab.protocol.reply_documents import ASSIGNMENTS
from ibcm_bridge.messages.document import parsed_document, plain_document
from ibcm_bridge.messages.limits import MAX_HOOKS, MAX_PARTS, MAX_SLICES
from ibcm_bridge.messages.msg_header import read_header
from ibcm_bridge.messages.multipart import read_multipart
from ibcm_bridge.messages.xml import decode_xml, read_xml
from tests.messages.agreement import agree_on_document, agree_on_header
from tests.messages.both_parsers import is_plain, same_header
from tests.messages.making import GUID_PLACES
from tests.messages.second_readers import READERS

from .target import Target, bounded

GUID = "GUID:5E2B7C1A-94D0-4B6E-8F3A-0C1D2E3F4A5B"
TYPE = ccm.CONTENT_TYPE.encode()
HEADER = ccm.message_header("MP_PolicyManager", 0, "", GUID)
"""Of a message that is built here, see `_built`."""
REQUESTS = (
    documents.policy_request(GUID),
    documents.location_request(),
    documents.inventory_report(GUID, rows=1),
    documents.state_report(GUID),
    documents.upload_request(),
)
XML_WORDS = (
    *("<![CDATA[", "]]>", "<!--", "-->", "<?x ", "?>", "<!DOCTYPE a>", "&#x41;", "&amp;", "&lt;"),
    *(' xmlns:x="u"', "x:", '="', "/>", "</", "<?xml version='1.0' encoding='utf-16'?>"),
)
HEADER_WORDS = (
    *("<Hook2 Name='clientauth'>", "</Hook2>", "<Hook3 Name='zlib-compress'/>", "Name='encrypt'"),
    *("<Property Name='Token'>", "</Property>", "<Attachment Offset='0' Length='2'/>", " Type='"),
    *("<Payload Type='inline'/>", "<TargetEndpoint>", "</TargetEndpoint>", "<SourceID>", " name='"),
    *("</SourceID>", "<ReplyTo>", "</ReplyTo>", "<Body ", "<Hooks>", "</Hooks>", "BODY", "hook"),
)
DOCUMENT_WORDS = (
    *("<Machine>", "</Machine>", "<ClientID>", "</ClientID>", " SMSID='", "<Data ", "</Data>"),
    *("<Certificates>", "</Certificates>", "<Signing>", "</Signing>", "<Resource ResourceType='"),
    *("<Signature>", "</Signature>", "<SignatureValue>", "</SignatureValue>", "<AgentInformation "),
    *(" AgentType='", "SIGNING", "clientid", "DATA", "<ClientRegistrationRequest>"),
    *("<User>", "</User>", "<USER/>"),
)


def as_text(data: bytes) -> str:
    return data.decode("utf-8", "ignore")


def multipart(data: bytes) -> None:
    """Agrees with the standard library's reader of mail."""
    content_type, _, body = data.partition(b"\0")
    parts = read_multipart(content_type, body)
    if isinstance(parts, Deny):
        bounded(parts)
        return
    assert 0 < len(parts) <= MAX_PARTS
    for part in parts:
        assert body[part.offset : part.offset + len(part.body)] == part.body
    if any(part.media_type.startswith((b"multipart", b"message")) for part in parts):
        return
    head = b"MIME-Version: 1.0\r\nContent-Type: " + content_type + b"\r\n\r\n"
    mail = email.message_from_bytes(head + body, policy=email.policy.compat32)
    read = mail.get_payload()
    assert isinstance(read, list)
    # Mail is text: a line that ends in CR alone, or in the part's head, is not kept as it was.
    assert len(read) == len(parts)


def _multiparts() -> Iterator[bytes]:
    for body in (
        ccm.raw_message(HEADER, b"x"),
        ccm.NO_REPLY,
        b"--b\r\ncontent-type:a\r\n\r\n--b--",
    ):
        yield TYPE + b"\0" + body
    yield b"multipart/mixed;boundary=b\0--b\r\nContent-Type: a/b\r\n\r\nx\r\n--b--\r\n"


def header(data: bytes) -> None:
    """Both of our parsers agree, and agree with laxer readers of XML."""
    raw = data if data.startswith(b"\xff\xfe") else b"\xff\xfe" + as_text(data).encode("utf-16-le")
    same_header(raw[2:].decode("utf-16-le", "ignore").rstrip("\0\r\n"))
    read = read_header(raw)
    if isinstance(read, Deny):
        bounded(read)
        return
    assert len(read.slices) <= MAX_SLICES
    assert len(read.hooks) <= MAX_HOOKS
    for reader in READERS:
        elements = reader(read.text.rstrip("\0\r\n"))
        if elements:
            agree_on_header(read, elements)


def _headers() -> Iterator[bytes]:
    signed = '<Hook2 Name="clientauth"><Property Name="Token">0</Property></Hook2>'
    for hooks in ("", ccm.ZLIB_HOOK, signed, signed + ccm.ZLIB_HOOK, '<Hook2 Name="encrypt"/>'):
        text = ccm.message_header("MP_HinvEndpoint", 20, hooks, GUID)
        yield text.replace("<Msg ", "<Msg xmlns:x='u' ").encode()


def document(data: bytes) -> None:
    """Both of our parsers agree, and agree with laxer readers of XML."""
    text = as_text(data)
    split = plain_document(text, lambda _root: GUID_PLACES)
    read = parsed_document(text, "here", lambda _root: GUID_PLACES)
    assert split is None or split == read
    if isinstance(read, Deny):
        bounded(read)
        return
    for reader in READERS:
        elements = reader(read.text)
        if elements:
            agree_on_document(read, elements)


def plain(data: bytes) -> None:
    """What is split at its tags, expat reads in the same way."""
    is_plain(as_text(data))


def _documents() -> Iterator[bytes]:
    for text in (*REQUESTS, ASSIGNMENTS):
        yield text.encode()
    yield b"<x:a xmlns:x='u'><x:Machine><CLIENTID>&#65;<![CDATA[b]]></CLIENTID></x:Machine></x:a>"


def xml(data: bytes) -> None:
    """XML as Windows writes it."""
    text = decode_xml(data)
    read = read_xml(text, "here") if text is not None else ""
    if isinstance(read, Deny):
        bounded(read)


def _xml() -> Iterator[bytes]:
    for text in ("<a x='&amp;'>b<c/></a>", "<?xml version='1.0' encoding='UTF-16'?><a/>"):
        for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le"):
            yield text.encode(encoding)


PARTS = {
    "multipart": Target(multipart, _multiparts, ("\r\n--b", "--", "\r\n\r\n", "content-type:")),
    "header": Target(header, _headers, (*HEADER_WORDS, *XML_WORDS), is_xml=True),
    "document": Target(document, _documents, (*DOCUMENT_WORDS, *XML_WORDS), is_xml=True),
    "plain": Target(plain, _documents, (*DOCUMENT_WORDS, *XML_WORDS), is_xml=True),
    "xml": Target(xml, _xml, XML_WORDS, is_xml=True),
}
