"""The bridge's own error page, and the fields that describe it."""

from __future__ import annotations

import pytest

from ibcm_bridge.site_system_leg.error_page import fields_with_page, own_error_page
from ibcm_bridge.site_system_leg.response_head import ClientFields


@pytest.mark.parametrize(
    ("status", "title"),
    [(404, b"404 Not Found"), (500, b"500 Internal Server Error"), (499, b"499")],
)
def test_the_page_has_the_status_and_the_reference(status: int, title: bytes) -> None:
    page = own_error_page(status, "3fc5f56c2c43")
    assert page.split(b"\r\n") == [
        title,
        b"The bridge replaced the page of the site system.",
        b"Reference: 3fc5f56c2c43",
        b"",
    ]


def test_only_the_fields_of_the_page_are_replaced() -> None:
    kept = (
        (b"WWW-Authenticate", b"Negotiate"),
        (b"Content-Range", b"bytes */5"),
        (b"BITS-Error-Code", b"0x80070005"),
        (b"ETag", b'"x"'),
    )
    described = (
        (b"Content-Type", b"text/html"),
        (b"content-LENGTH", b"1245"),
        (b"Content-Encoding", b"gzip"),
        (b"Content-Language", b"de"),
        (b"Content-MD5", b"x"),
        (b"Content-Disposition", b"attachment; filename=mp01.htm"),
    )
    fields = ClientFields((*described, *kept), ("Location",), ("BITS-Host-Id",), True)
    with_page = fields_with_page(fields, b"page")
    assert with_page.fields == (
        *kept,
        (b"Content-Type", b"text/plain; charset=utf-8"),
        (b"Content-Length", b"4"),
    )
    assert with_page.note == fields.note
