"""Challenges: Negotiate and NTLM are for the client, other schemes are removed."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.site_system_leg.challenge import challenge_for_client

CHALLENGES = {
    # as IIS sends them
    b"Negotiate": b"Negotiate",
    b"NTLM": b"NTLM",
    b"NTLM TlRMTVNTUAACAAAA//8=": b"NTLM TlRMTVNTUAACAAAA//8=",
    b"Negotiate oYG1MIGyoAMKAQCh": b"Negotiate oYG1MIGyoAMKAQCh",
    b"negotiate, ntlm": b"negotiate, ntlm",
    b"Negotiate,NTLM": b"Negotiate,NTLM",
    b'Basic realm="mp01.corp.example"': b"",
    b"Basic": b"",
    b"Bearer": b"",
    b'Digest qop="auth", algorithm=MD5-sess, nonce="+Up", charset=utf-8, realm="Digest"': b"",
    # several in one field
    b'Basic realm="x", Negotiate': b"Negotiate",
    b'Negotiate, Basic realm="x", NTLM': b"Negotiate, NTLM",
    b'NTLM, Digest realm="a, NTLM", nonce="\\", Negotiate"': b"NTLM",
    b"Digest realm=x , opaque = y, NTLM": b"NTLM",
    # a parameter or a word is not a scheme
    b"X NTLM": b"",
    b"NTLM=x": b"",
    b"NTLM realm=x": b"",
    b"Negotiate a b": b"",
    b"NTLM2": b"",
    # lists with empty items, and quoted strings without end
    b", NTLM,": b"NTLM",
    b"": b"",
    b'Negotiate, Basic realm="x': b"Negotiate",
    b'Basic realm="x, NTLM': b"",
    b'Basic realm="x\\", NTLM': b"",
}


@pytest.mark.parametrize(("value", "kept"), CHALLENGES.items())
def test_only_windows_authentication_is_offered(value: bytes, kept: bytes) -> None:
    assert challenge_for_client(value) == kept


PIECES = [b"NTLM", b"Negotiate", b"Basic", b" ", b",", b'"', b"\\", b"=", b"a"]


@given(st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join))
def test_the_offer_has_no_other_scheme(value: bytes) -> None:
    offered = challenge_for_client(value)
    for item in offered.split(b",") if offered else ():
        assert re.fullmatch(rb" *(NTLM|Negotiate)( +\w+=*)? *", item)
    assert challenge_for_client(offered) == offered
