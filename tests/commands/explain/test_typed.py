"""A request as a person types it."""

from __future__ import annotations

import pytest

from ibcm_bridge.commands.explain.typed import read_field, read_typed

TO = ("https", ("bridge.internet.example", 8443))


def test_a_typed_request_is_described() -> None:
    line = "CCM_POST /ccm_system/request?x=%20 HTTP/1.0"
    request, typed = read_typed(line, ["X-Test:  yes ", "Empty:"], TO, (), b"body")
    assert request.describe() == (
        "CCM_POST https://bridge.internet.example:8443/ccm_system/request?x=%20"
    )
    assert request.version == "HTTP/1.0"
    assert typed == (("X-Test", "yes"), ("Empty", ""))
    assert request.headers[-1] == ("Content-Length", "4")


@pytest.mark.parametrize("target", ["*", "https://other.example/SMS_MP/", "name:443"])
def test_another_form_of_target_is_for_the_bridge_to_judge(target: str) -> None:
    request, _ = read_typed(f"GET {target} HTTP/1.1", [], TO, (), None)
    assert request.url.target == target
    assert f"GET {target} HTTP/1.1\r\n".encode() in request.head_bytes()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "is not a request line; use VERB TARGET HTTP/1.1"),
        ("GET", "is not a request line"),
        ("GET /x", "is not a request line"),
        ("GET  /x HTTP/1.1", "is not a request line"),
        ("GET /x y HTTP/1.1", "is not a request line"),
        ("GET /x HTTP/1.1\r\nX: y", "is not a request line"),
        ("GÉT /x HTTP/1.1", "is not a request line"),
        ("GET /ü HTTP/1.1", "write the path as it is sent, percent-encoded"),
        ("GET /x#part HTTP/1.1", "a fragment is never sent; remove it"),
        ("GET ü HTTP/1.1", "write the target as it is sent, percent-encoded"),
    ],
)
def test_a_line_that_no_client_can_send_gets_a_sentence(line: str, why: str) -> None:
    with pytest.raises(ValueError, match=why.replace("'", ".")):
        read_typed(line, [], TO, (), None)


@pytest.mark.parametrize(
    ("text", "why"),
    [("no colon", "has no colon; use 'NAME: VALUE'"), ("X: a\0b", "has a control character")],
)
def test_a_field_that_no_client_can_send_gets_a_sentence(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_field(text)
