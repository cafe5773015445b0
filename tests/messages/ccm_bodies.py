"""Bodies of CCM_POST that the tests change, and helpers that parse them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.lab.protocol import ccm
from ibcm_bridge.messages.ccm import CcmRequest, read_ccm_request

GUID = "0a1b2c3d-0000-4000-8000-00000000000f"
TYPE = ccm.CONTENT_TYPE.encode()
LIMIT = 1_000_000
PLAIN = b"text/plain; charset=UTF-16"


def read(body: bytes, limit: int = LIMIT) -> CcmRequest | Deny:
    return read_ccm_request(TYPE, body, limit)


def accepted(body: bytes) -> CcmRequest:
    result = read(body)
    assert isinstance(result, CcmRequest), result
    return result


def texts(message: CcmRequest) -> tuple[str, ...]:
    return tuple(document.text for document in message.documents)


def refused(body: bytes, limit: int = LIMIT) -> Deny:
    result = read(body, limit)
    assert isinstance(result, Deny), result
    assert len(result.detail) < 200
    return result


def reason(body: bytes, limit: int = LIMIT) -> Reason:
    return refused(body, limit).reason


def utf16(text: str) -> bytes:
    return text.encode("utf-16-le")


def report(xml: str = "<Report/>", *, trailing_crlf: bool = True) -> bytes:
    return ccm.ccm_post_body(
        endpoint="MP_HinvEndpoint", body_xml=xml, client_guid=GUID, trailing_crlf=trailing_crlf
    )


Slices = Iterable[tuple[int, int]]


def header(slices: Slices = ((0, 20),), hooks: str = ccm.ZLIB_HOOK, more: str = "") -> str:
    """A Msg header with one Body and any Attachments; 20 bytes is `<Report/>` and its NUL."""
    body, *attachments = [f'Offset="{offset}" Length="{length}"' for offset, length in slices]
    return (
        f'<Msg SchemaVersion="1.1"><Body Type="ByteRange" {body}/>'
        + "".join(f"<Attachment {attachment}/>" for attachment in attachments)
        + f"<Hooks>{hooks}</Hooks><TargetEndpoint>MP_DdrEndpoint</TargetEndpoint>{more}</Msg>"
    )


def sliced(plain: bytes, slices: Slices) -> bytes:
    return ccm.raw_message(header(slices), zlib.compress(plain))


ONE = utf16("<Report/>\0")


HEADER = header()
