"""The bridge's own error page, in place of that of a site system."""

from __future__ import annotations

from ibcm_bridge.site_system_leg.response_head import ClientFields, phrase

_DESCRIBE_PAGE = frozenset(
    (
        b"content-digest",
        b"content-disposition",
        b"content-encoding",
        b"content-language",
        b"content-length",
        b"content-md5",
        b"content-type",
        b"digest",
        b"repr-digest",
    )
)
"""Fields of the replaced page. The others stay: challenges, BITS fields, Content-Range."""

NOTE = "the site system's error page was replaced"


def own_error_page(status: int, reference: str) -> bytes:
    """The page. `reference` identifies the audit record."""
    title = b"%d %b" % (status, phrase(status))
    text = "The bridge replaced the page of the site system."
    return title.rstrip() + f"\r\n{text}\r\nReference: {reference}\r\n".encode()


def fields_with_page(fields: ClientFields, page: bytes) -> ClientFields:
    """The fields of a response whose body is replaced by this page."""
    kept = tuple(field for field in fields.fields if field[0].lower() not in _DESCRIBE_PAGE)
    own = (
        (b"Content-Type", b"text/plain; charset=utf-8"),
        (b"Content-Length", b"%d" % len(page)),
    )
    return ClientFields(kept + own, fields.replaced, fields.removed, fields.other_schemes)
