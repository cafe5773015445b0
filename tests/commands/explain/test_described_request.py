"""URLs of `ibcm-bridge explain`."""

import pytest

from ibcm_bridge.commands.explain.described_request import Url, read_url


# URLs
@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://user@bridge.internet.example/", "a user name is never sent"),
        ("https://@bridge.internet.example/", "a user name is never sent"),
        ("https://bridge.internet.example/#part", "a fragment is never sent"),
        ("https://bridge.internet.example/#", "a fragment is never sent"),
        ("https://br\xfccke.example/", "write the host name as it is sent"),
        ("https://bridge.internet.example/\xfc", "write the path as it is sent"),
        ("https://bridge.internet.example/a b", "write the path as it is sent"),
        ("https://bridge.internet.example/a\r\nHost: x", "write the path as it is sent"),
        ("/SMS_MP/.sms_aut?MPLIST", "is not an https:// or http:// URL"),
        ("//bridge.internet.example/", "is not an https:// or http:// URL"),
        ("bridge.internet.example/SMS_MP/", "is not an https:// or http:// URL"),
        ("ftp://bridge.internet.example/", "is not an https:// or http:// URL"),
        ("https:///SMS_MP/", "has no valid host name"),
        ("https://", "has no valid host name"),
        ("https://:443/", "has no valid host name"),
        ("https://bridge.internet.example:0/", "port 0"),
        ("https://a\\b/", "has no valid host name"),
        ("https://bridge.internet.example:99999/", "Port out of range"),
        ("https://bridge.internet.example:x/", "Port could not be cast"),
        ("https://[::1/", "Invalid IPv6 URL"),
    ],
)
def test_a_url_that_no_client_can_send_is_a_usage_error(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_url(url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://A.example", Url("https", "a.example", None, "/")),
        ("https://a.example?x", Url("https", "a.example", None, "/?x")),
        ("https://a.example/x?", Url("https", "a.example", None, "/x?")),
        ("https://a.example/{1}%41", Url("https", "a.example", None, "/{1}%41")),
        ("HTTP://a.example:8080//x", Url("http", "a.example", 8080, "//x")),
        ("https://xn--brcke-lva.example/", Url("https", "xn--brcke-lva.example", None, "/")),
        ("https://[::1]:443/x", Url("https", "::1", 443, "/x")),
    ],
)
def test_a_url_is_parsed_byte_for_byte(url: str, expected: Url) -> None:
    assert read_url(url) == expected
