"""The offer of a client, from its ClientHello."""

from __future__ import annotations

import pytest

from ibcm_bridge.addons.tls.client_offer import SUITE_NAMES, client_offer, names_of


def records(suites: str, extensions: str) -> bytes:
    listed, more = bytes.fromhex(suites), bytes.fromhex(extensions)
    body = b"\x03\x03" + bytes(32) + b"\0" + len(listed).to_bytes(2) + listed + b"\x01\0"
    body += len(more).to_bytes(2) + more
    message = b"\x01" + len(body).to_bytes(3) + body
    return b"\x16\x03\x01" + len(message).to_bytes(2) + message


def test_an_offer_has_neither_grease_nor_signals() -> None:
    offer = client_offer(
        records("3a3a1301c02f00ff56003a3b", "002b0005041a1a0304" + "000d0006000408040a0a")
    )
    assert offer is not None
    assert offer.versions == (0x0304,)
    assert offer.suites == (0x1301, 0xC02F, 0x3A3B)
    assert offer.signatures == (0x0804,)


def test_without_extensions_the_version_is_that_of_the_hello() -> None:
    offer = client_offer(records("002f", ""))
    assert offer is not None
    assert (offer.versions, offer.signatures) == ((0x0303,), ())


@pytest.mark.parametrize("data", [b"", b"\x16\x03\x01\x00\x04\x01\x00\x00\x00"])
def test_there_is_no_offer_in_other_data(data: bytes) -> None:
    assert client_offer(data) is None


def test_a_long_list_of_names_ends_with_a_count() -> None:
    assert names_of([], SUITE_NAMES) == "none"
    assert names_of([0x1301, 0x9999], SUITE_NAMES) == "TLS_AES_128_GCM_SHA256, 0x9999"
    assert names_of(range(8), {}).endswith("0x0005, 2 more")
