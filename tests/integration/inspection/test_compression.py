"""Compressed payloads (BRIDGE-INSPECT)."""

from __future__ import annotations

import zlib

import pytest

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.protocol import ccm
from tests.integration.inspection.samples import around, compressed, post, report
from tests.integration.lab import Lab
from tests.integration.memory import peak_memory, reset_peak


def test_a_bomb_of_200_mb_in_200_kb_is_refused(lab: Lab) -> None:
    body = around(zlib.compress(bytes(200_000_000), 9), 200_000_000)
    assert len(body) < 250_000
    before = reset_peak(lab.bridge.pid)
    reply = post(lab, body)
    lab.check_refused(reply, Reason.INFLATED_TOO_LARGE, "ccm.inflated_limit", "BRIDGE-INSPECT")
    # The limit is 16 MiB; 200 MB would exceed this.
    assert before is None or peak_memory(lab.bridge.pid) - before < 80 * 1024 * 1024


@pytest.mark.parametrize("case", ["no-zlib", "cut-short", "with-a-tail", "two-streams", "gzip"])
def test_a_compressed_part_that_is_not_exactly_one_zlib_stream_is_refused(
    lab: Lab, case: str
) -> None:
    payload, length = compressed(report("x" * 1000))
    gzip = zlib.compressobj(wbits=31)
    broken = {
        "no-zlib": report("x").encode("utf-16-le"),
        "cut-short": payload[:-10],
        "with-a-tail": payload + b"tail",
        "two-streams": payload + payload,
        "gzip": gzip.compress(report("x").encode("utf-16-le")) + gzip.flush(),
    }[case]
    reply = post(lab, around(broken, length))
    lab.check_refused(reply, Reason.COMPRESSION, "ccm.zlib", "BRIDGE-INSPECT")


def test_hooks_and_type_of_the_payload_must_agree(lab: Lab) -> None:
    payload, length = compressed(report("x"))
    reply = post(lab, around(payload, length, hooks=""))
    lab.check_refused(reply, Reason.COMPRESSION, "ccm.hooks")


@pytest.mark.parametrize(
    "hooks",
    [
        f'<Hook2 Name="encrypt"/>{ccm.ZLIB_HOOK}',
        f'{ccm.ZLIB_HOOK}<Hook3 Name="encrypt"><Property Name="x">y</Property></Hook3>',
        f'<Hook Name="compress"/>{ccm.ZLIB_HOOK}',
        f"<Hook2/>{ccm.ZLIB_HOOK}",
        f'<Hook4 Name="something-new"/>{ccm.ZLIB_HOOK}',
    ],
)
def test_a_message_with_an_unknown_hook_is_refused(lab: Lab, hooks: str) -> None:
    payload, length = compressed(report("x"))
    reply = post(lab, around(payload, length, hooks))
    rule = "messages.encrypted" if '"encrypt"' in hooks else "ccm.hooks"
    lab.check_refused(reply, Reason.BODY_NOT_INSPECTABLE, rule, "BRIDGE-INSPECT")
