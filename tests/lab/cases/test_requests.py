"""The requests of the cases."""

from __future__ import annotations

import zlib

from ibcm_bridge.lab.cases.requests import BOMB, zip_bomb

PIECE = 16_000_000


def test_the_zip_bomb_is_small_and_inflates_to_its_size_with_a_valid_checksum() -> None:
    inflater = zlib.decompressobj()
    left, size = zip_bomb(), 0
    assert len(left) < BOMB // 900
    while left:
        piece = inflater.decompress(left, PIECE)
        size, left = size + len(piece), inflater.unconsumed_tail
    assert inflater.eof
    assert size == BOMB
