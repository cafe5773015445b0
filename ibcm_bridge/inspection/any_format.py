"""Bodies of a publication with `observe` whose format the head does not tell.

The verb or the media type is not one of the role's (`decisions.observing`). Whatever a site system
could read as a message or as SOAP must pass all checks of these, so it is found in the body itself.
"""

from __future__ import annotations

import re

from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.inspection.subject import Content, Subject
from ibcm_bridge.inspection.uploaded_object import object_views
from ibcm_bridge.messages.soap import SOAP_1_1, SoapType
from ibcm_bridge.request.head import content_type_parts

_DELIMITER = re.compile(rb"(?:\A|[\r\n])--([^\r\n]*)")
"""A line that a parser could take for a delimiter (RFC 2046 section 5.1.1)."""

_MULTIPART = b"multipart/mixed"


def message_type(subject: Subject) -> bytes | None:
    """The Content-Type for reading the body as a message; None if no parser can read one in it."""
    content_type = subject.content_type
    media_type, parameters = content_type_parts(content_type)
    if not subject.observing or media_type == _MULTIPART:
        return content_type
    if b"boundary" in parameters:
        # Another boundary in the body would be content of a part.
        return _MULTIPART + b";" + content_type.partition(b";")[2]
    found = _DELIMITER.search(subject.body)
    if found is None:
        return None
    return _MULTIPART + b'; boundary="' + found[1].rstrip(b" \t") + b'"'


def unlisted_soap_type(subject: Subject) -> SoapType | None:
    """SOAP 1.1, whose action is in SOAPAction; None if the media type itself is one of SOAP."""
    if content_type_parts(subject.content_type)[0] in (b"text/xml", b"application/soap+xml"):
        return None  # with a parameter that is refused
    return SoapType(SOAP_1_1, None)


def read_any_format(subject: Subject, limit: int) -> Content | Deny:
    """Unpack an object and parse its text; anything else is scanned as sent.

    `limit` in bytes, for everything that is inflated.
    """
    if not subject.body:
        return Content({})
    seen = object_views(subject.body, limit, subject.where)
    if isinstance(seen, Deny):
        return seen
    covered = ("sent", "inflated") if "text" in seen.views else ()
    texts = tuple(name for name in seen.views if name not in covered)
    return Content(seen.views, opened=seen.opened, texts=texts, documents=tuple(seen.documents))
