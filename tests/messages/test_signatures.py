"""Signatures of clients: a signature verifies only with its key and its data."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.lab.protocol import signing
from ibcm_bridge.messages import signatures
from ibcm_bridge.messages.signatures import (
    MAX_KEY_BITS,
    MIN_KEY_BITS,
    REMEMBERED,
    read_public_key_blob,
    rsa_key,
    terminated,
    verifies,
    verifies_again,
)

DATA = terminated("GUID:5E2B7C1A-94D0-4B6E-8F3A-0C1D2E3F4A5B")
IDENTIFIERS = {
    "sha256": "3031300d060960864801650304020105000420",
    "sha384": "3041300d060960864801650304020205000430",
    "sha512": "3051300d060960864801650304020305000440",
    "sha224": "302d300d06096086480165030402040500041c",
    "sha1": "3021300906052b0e03021a05000414",
    "md5": "3020300c06082a864886f70d020505000410",
}
"""RFC 8017 §9.2, note 1."""
STRONG = ("sha256", "sha384", "sha512")


@pytest.fixture(scope="module")
def key() -> RSAPrivateKey:
    return rsa.generate_private_key(65_537, MIN_KEY_BITS)


@pytest.fixture(scope="module")
def other_key() -> RSAPrivateKey:
    return rsa.generate_private_key(65_537, MIN_KEY_BITS)


def signed(key: RSAPrivateKey, signed_text: bytes, filling: int = 0xFF) -> str:
    """Sign with PKCS#1 v1.5 (RFC 8017 §9.2), with any content instead of the hash."""
    numbers = key.private_numbers()
    modulus, size = numbers.public_numbers.n, key.key_size // 8
    padding = bytes([filling]) * (size - 3 - len(signed_text))
    encoded = int.from_bytes(b"\0\1" + padding + b"\0" + signed_text)
    return pow(encoded, numbers.d, modulus).to_bytes(size, "little").hex().upper()


def hashed(name: str, data: bytes, *, identified: bool) -> bytes:
    identifier = bytes.fromhex(IDENTIFIERS[name]) if identified else b""
    return identifier + hashlib.new(name, data).digest()


# Valid signatures


@pytest.mark.parametrize("identified", [True, False])
@pytest.mark.parametrize("name", STRONG)
def test_a_signature_verifies_with_and_without_the_hashs_identifier(
    key: RSAPrivateKey, other_key: RSAPrivateKey, name: str, identified: bool
) -> None:
    signature = signed(key, hashed(name, DATA, identified=identified))
    assert verifies(key.public_key(), signature, DATA)
    assert verifies(key.public_key(), signature.lower(), DATA)
    assert not verifies(other_key.public_key(), signature, DATA)
    assert not verifies(key.public_key(), signature, DATA[:-2])
    assert not verifies(key.public_key(), signature, b"")


@given(st.binary(max_size=200))
def test_the_signatures_of_the_lab_verify(key: RSAPrivateKey, data: bytes) -> None:
    signature = signing.sign(key, data)
    assert verifies(key.public_key(), signature, data)
    assert not verifies(key.public_key(), signature, data + b"\0")
    backwards = bytes.fromhex(signature)[::-1].hex()
    assert not verifies(key.public_key(), backwards, data), "not in CryptoAPI's order"


# Remembered signatures


def verified_signatures(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The signatures that are verified from now on, instead of remembered."""
    verified: list[bytes] = []
    original = signatures._verifies

    def verify(key: rsa.RSAPublicKey, sent: bytes, data: bytes) -> bool:
        verified.append(sent)
        return original(key, sent, data)

    monkeypatch.setattr(signatures, "_verifies", verify)
    signatures._verified.cache_clear()
    return verified


def test_a_repeated_signature_is_verified_once(
    key: RSAPrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified = verified_signatures(monkeypatch)
    whole = signing.sign(key, DATA)
    for written in (whole, whole.lower(), " ".join(whole[at : at + 2] for at in range(0, 512, 2))):
        assert verifies_again(spki(key.public_key()), written, DATA)
    assert len(verified) == 1


def test_a_remembered_signature_verifies_only_with_its_key_and_its_data(
    key: RSAPrivateKey, other_key: RSAPrivateKey
) -> None:
    whole = signing.sign(key, DATA)
    own, other = (spki(each.public_key()) for each in (key, other_key))
    for _ in range(2):
        assert verifies_again(own, whole, DATA)
        assert not verifies_again(other, whole, DATA)
        assert not verifies_again(own, whole, DATA + b"\0")
        assert not verifies_again(own, signing.sign(other_key, DATA), DATA)
        for at in range(0, len(whole), 2):
            flipped = f"{whole[:at]}{int(whole[at : at + 2], 16) ^ 1:02X}{whole[at + 2 :]}"
            assert not verifies_again(own, flipped, DATA)


def test_a_signature_that_does_not_verify_is_not_remembered(
    key: RSAPrivateKey, other_key: RSAPrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified = verified_signatures(monkeypatch)
    for _ in range(2):
        assert not verifies_again(spki(key.public_key()), signing.sign(other_key, DATA), DATA)
    assert len(verified) == 2
    assert signatures._verified.cache_info().currsize == 0


def test_only_so_many_signatures_are_remembered(
    key: RSAPrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signatures, "_verifies", lambda *_: True)
    public = spki(key.public_key())
    for number in range(REMEMBERED + 10):
        assert verifies_again(public, number.to_bytes(4).hex(), DATA)
    assert signatures._verified.cache_info().currsize == REMEMBERED
    signatures._verified.cache_clear()


@given(st.text(max_size=40) | st.text("0123456789abcdefABCDEF \n", max_size=600))
def test_no_other_text_verifies_again(key: RSAPrivateKey, text: str) -> None:
    public = spki(key.public_key())
    assert not verifies_again(public, text, DATA)
    assert not verifies_again(public[1:], text, DATA)


# Invalid signatures


@pytest.mark.parametrize("identified", [True, False])
@pytest.mark.parametrize("name", sorted(IDENTIFIERS.keys() - set(STRONG)))
def test_a_signature_with_a_weak_hash_does_not_verify(
    key: RSAPrivateKey, name: str, identified: bool
) -> None:
    signature = signed(key, hashed(name, DATA, identified=identified))
    assert not verifies(key.public_key(), signature, DATA)


def test_a_hash_with_the_identifier_of_another_does_not_verify(key: RSAPrivateKey) -> None:
    for name in STRONG:
        digest = hashlib.new(name, DATA).digest()
        for identifier in IDENTIFIERS.values():
            if identifier != IDENTIFIERS[name]:
                signature = signed(key, bytes.fromhex(identifier) + digest)
                assert not verifies(key.public_key(), signature, DATA)


@pytest.mark.parametrize("filling", [0x00, 0x01, 0xFE])
def test_wrong_padding_does_not_verify(key: RSAPrivateKey, filling: int) -> None:
    content = hashed("sha256", DATA, identified=True)
    assert verifies(key.public_key(), signed(key, content), DATA)
    assert not verifies(key.public_key(), signed(key, content, filling), DATA)


def test_bytes_after_the_hash_do_not_verify(key: RSAPrivateKey) -> None:
    # Bleichenbacher's forgery of 2006 relies on parsers that ignore them (CVE-2006-4339).
    for identified in (True, False):
        content = hashed("sha256", DATA, identified=identified)
        for more in (b"\0", b"\0" * 20, b"\xff" * 150, content):
            assert not verifies(key.public_key(), signed(key, content + more), DATA)


def test_a_signature_with_a_flipped_bit_does_not_verify(key: RSAPrivateKey) -> None:
    whole = bytes.fromhex(signing.sign(key, DATA))
    public = key.public_key()
    for at in range(len(whole)):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[at] ^= 1 << bit
            assert not verifies(public, flipped.hex(), DATA)
    for at in range(len(DATA)):
        for bit in range(8):
            changed = bytearray(DATA)
            changed[at] ^= 1 << bit
            assert not verifies(public, whole.hex(), bytes(changed))


def test_a_signature_of_another_length_does_not_verify(key: RSAPrivateKey) -> None:
    whole = signing.sign(key, DATA)
    public = key.public_key()
    for length in range(0, len(whole), 2):
        assert not verifies(public, whole[:length], DATA)
    for more in ("00", "00" * 256, whole):
        assert not verifies(public, whole + more, DATA)
        assert not verifies(public, more + whole, DATA)
    # The same number modulo the key's modulus, but not the signed bytes.
    modulus = public.public_numbers().n
    number = int.from_bytes(bytes.fromhex(whole), "little") + modulus
    assert not verifies(public, number.to_bytes(257, "little").hex(), DATA)


def test_a_signature_without_its_leading_zero_does_not_verify(key: RSAPrivateKey) -> None:
    # One signature of 256 starts with a zero (RFC 8017 §8.2.2, step 1: its length is the key's).
    data, whole = next(
        (data, whole)
        for data in (number.to_bytes(4) for number in range(1 << 32))
        if (whole := signing.sign(key, data)).endswith("00")
    )
    assert verifies(key.public_key(), whole, data)
    assert not verifies(key.public_key(), whole.removesuffix("00"), data)


@given(st.text(max_size=40) | st.text("0123456789abcdefABCDEF \n", max_size=600))
def test_no_other_text_verifies_or_raises_an_exception(key: RSAPrivateKey, text: str) -> None:
    assert not verifies(key.public_key(), text, DATA)


# Keys


def spki(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def of_bits(bits: int) -> rsa.RSAPublicKey:
    """A public key of this size, without a private key."""
    return rsa.RSAPublicNumbers(65_537, (1 << bits) - 1).public_key()


def test_only_rsa_keys_of_an_allowed_size_are_accepted() -> None:
    for bits in (MIN_KEY_BITS, 3_072, 4_096, MAX_KEY_BITS):
        taken = rsa_key(spki(of_bits(bits)))
        assert taken is not None
        assert taken.key_size == bits
    for bits in (1_024, MIN_KEY_BITS - 8, MIN_KEY_BITS - 1, MAX_KEY_BITS + 1, 16_384):
        assert rsa_key(spki(of_bits(bits))) is None
    assert rsa_key(spki(ec.generate_private_key(ec.SECP256R1()).public_key())) is None


TAKEN = [3, 17, 65_537, (1 << 256) - 1]
NOT_TAKEN = [0, 1, 2, 4, 65_536, (1 << 256) + 1, (1 << 2_047) + 1]


@pytest.mark.parametrize("exponent", [*TAKEN, *NOT_TAKEN])
def test_an_insecure_or_slow_exponent_is_not_accepted(exponent: int) -> None:
    # OpenSSL parses all of them; `RSAPublicNumbers` would refuse to make them.
    pair = integer(of_bits(MIN_KEY_BITS).public_numbers().n) + integer(exponent)
    algorithm = bytes.fromhex("300d06092a864886f70d0101010500")
    key = rsa_key(der(0x30, algorithm + der(0x03, b"\0" + der(0x30, pair))))
    assert (key is not None) == (exponent in TAKEN)


def integer(number: int) -> bytes:
    return der(0x02, number.to_bytes(number.bit_length() // 8 + 1))


def der(tag: int, content: bytes) -> bytes:
    length = len(content)
    size = bytes([length]) if length < 128 else b"\x82" + length.to_bytes(2)
    return bytes([tag]) + size + content


def test_a_truncated_key_is_not_accepted(key: RSAPrivateKey) -> None:
    whole = spki(key.public_key())
    for length in range(len(whole)):
        assert rsa_key(whole[:length]) is None
    assert rsa_key(whole + b"\0") is None


@given(st.data())
def test_a_changed_key_is_another_key_or_none(key: RSAPrivateKey, data: st.DataObject) -> None:
    whole = bytearray(spki(key.public_key()))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    changed = rsa_key(bytes(whole))
    assert changed is None or not verifies(changed, signing.sign(key, DATA), DATA)


# PUBLICKEYBLOB


def blob(key: RSAPrivateKey) -> bytes:
    return signing.public_key_blob(key.public_key())


def test_a_blob_is_parsed_to_its_key(key: RSAPrivateKey) -> None:
    text = blob(key).hex()
    assert read_public_key_blob(text.upper()) == spki(key.public_key())
    assert read_public_key_blob(text) == spki(key.public_key())
    for_signing = text.replace("00a40000", "00240000", 1)
    assert read_public_key_blob(for_signing) == spki(key.public_key())


@pytest.mark.parametrize("bits", [512, 1_024, 3_072, MAX_KEY_BITS])
def test_a_blob_may_have_any_size_up_to_the_limit(bits: int) -> None:
    key = of_bits(bits)
    assert read_public_key_blob(signing.public_key_blob(key).hex()) == spki(key)


def test_a_larger_blob_is_not_parsed() -> None:
    for bits in (MAX_KEY_BITS + 8, 16_384):
        assert read_public_key_blob(signing.public_key_blob(of_bits(bits)).hex()) is None


def test_a_truncated_blob_is_not_accepted(key: RSAPrivateKey) -> None:
    whole = blob(key)
    for length in range(len(whole)):
        assert read_public_key_blob(whole[:length].hex()) is None
    for more in (b"\0", b"\0" * 8, whole):
        assert read_public_key_blob((whole + more).hex()) is None


@pytest.mark.parametrize(
    ("at", "instead"),
    [
        (0, "07"),  # PRIVATEKEYBLOB
        (1, "01"),
        (4, "01a40000"),
        (8, "52534132"),  # RSA2
        (12, "00000000"),
        (12, "ffffffff"),
        (12, "00080001"),
        (12, "01080000"),  # 2,049 bits
        (275, "00"),  # 2,040 of 2,048
        (16, "00000000"),
        (16, "01000000"),  # with which everything would be a signature of itself
        (16, "02000000"),
        (16, "ffffffff"),
        (20, "00" * 256),
        (20, "01" + "00" * 255),
    ],
)
def test_a_malformed_blob_is_not_a_key_that_verifies(
    key: RSAPrivateKey, at: int, instead: str
) -> None:
    raw = bytes.fromhex(instead)
    whole = blob(key)
    hostile = whole[:at] + raw + whole[at + len(raw) :]
    der = read_public_key_blob(hostile.hex())
    public = rsa_key(der) if der is not None else None
    content = hashed("sha256", DATA, identified=True)
    unsigned = (b"\0\1" + b"\xff" * (253 - len(content)) + b"\0" + content)[::-1].hex()
    for signature in (unsigned, signing.sign(key, DATA), "", "00" * 256):
        assert public is None or not verifies(public, signature, DATA)


@given(st.data())
def test_one_changed_byte_of_a_blob_raises_no_exception(
    key: RSAPrivateKey, data: st.DataObject
) -> None:
    whole = bytearray(blob(key))
    whole[data.draw(st.integers(0, 24) | st.integers(0, len(whole) - 1))] ^= data.draw(
        st.integers(1, 255)
    )
    der = read_public_key_blob(whole.hex())
    public = rsa_key(der) if der is not None else None
    for_signing = bytes(whole[4:8]) == bytes.fromhex("00240000")
    assert public is None or for_signing or not verifies(public, signing.sign(key, DATA), DATA)


@given(st.text(max_size=60) | st.binary(max_size=60).map(bytes.hex))
def test_any_text_is_parsed_without_an_exception(text: str) -> None:
    assert read_public_key_blob(text) is None
