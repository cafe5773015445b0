"""Judge the body of an error or a redirect: is it forwarded, or replaced by the bridge's own?

An error page of IIS has host names, paths and stack traces of the internal network, and clients use
only its status. A SOAP fault is different: an update agent acts on its error code ([MS-WUSP]
section 2.2.2.4). So with `host_names: enforce`, every page is replaced, except XML that can be read
and that names no internal host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.inspection.response import has_coding, host_names, read_reply
from ibcm_bridge.policy.bodies import ReplyReading
from ibcm_bridge.policy.message_policy import Enforcement, MessagePolicy

MAX_ERROR_PAGE = 65_536
"""Bytes of a page that are read. A longer page is replaced as well, and its connection closed."""

_XML = frozenset((b"text/xml", b"application/xml", b"application/soap+xml"))


@dataclass(frozen=True, slots=True)
class ErrorPage:
    """The decision on an error page. Made by `judge_error_page` only."""

    replaced: bool
    observed: tuple[str, ...] = ()
    """The findings that the policy does not enforce, limited."""


def judge_error_page(
    content_type: bytes, codings: Sequence[bytes], body: bytes | Deny, terms: MessagePolicy
) -> ErrorPage:
    """Decide on the body of a status of 300 or more. A Deny stands for a body that is too large or
    incomplete."""
    texts = _texts(content_type, codings, body)
    names = host_names(texts or (), terms.internal_domains)
    if terms.host_names is Enforcement.ENFORCE:
        is_clean_xml = texts is not None and _is_xml(content_type) and not names
        return ErrorPage(replaced=not is_clean_xml)
    return ErrorPage(False, tuple(f"{Reason.REPLY_HOST_NAMES.value}: {name}" for name in names))


def _texts(
    content_type: bytes, codings: Sequence[bytes], body: bytes | Deny
) -> tuple[str, ...] | None:
    """The text of a page; None if it cannot be read."""
    if isinstance(body, Deny) or has_coding(codings):
        return None
    if not _is_xml(content_type):
        return (body.decode("latin-1"),)
    reply = read_reply(ReplyReading.XML, content_type, body)
    return None if isinstance(reply, Deny) else reply.texts


def _is_xml(content_type: bytes) -> bool:
    return content_type.partition(b";")[0].strip().lower() in _XML
