"""`python -m benchmarks.steps`: each step of the decision on one message, in process.

The message is that of the first load of `benchmarks`: a payload of 3 KB that inflates to 28 KB.
`--signed` adds the client's signatures to its header, as a registered client does. Sockets, TLS and
mitmproxy are not involved; they account for the rest of the time that `benchmarks` measures.

Each step is called in batches of about 5 ms. A round has one batch of every step, so that drift
affects all. The output shows the median and the fastest batch, in microseconds per call. For a step
that is private to a module, the benchmark makes the same call of the standard library. Indented
lines are parts of the line above.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import cast

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from benchmarks.comparison import message_request
from ibcm_bridge.authentication.certificate import certificate_facts
from ibcm_bridge.authentication.client import AuthenticatedClient, authenticate
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.identity.approval import Approved, approve
from ibcm_bridge.identity.bindings import Binding, Source
from ibcm_bridge.identity.claims import Claim, Signed, read_claim
from ibcm_bridge.inspection.engines import YaraEngine
from ibcm_bridge.inspection.response import InspectedReply, ReadReply, judge_reply, read_reply
from ibcm_bridge.inspection.verdict import Inspected, inspect
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.files import shipped_policy
from ibcm_bridge.lab.protocol import ccm
from ibcm_bridge.messages.ccm import CcmRequest, read_ccm_request
from ibcm_bridge.messages.document import read_document
from ibcm_bridge.messages.multipart import Part, read_multipart
from ibcm_bridge.messages.signatures import verifies
from ibcm_bridge.messages.xml import check_xml
from ibcm_bridge.policy.bodies import ReplyReading
from ibcm_bridge.policy.message_policy import Enforcement, MessagePolicy
from ibcm_bridge.policy.publications import BridgePublication
from ibcm_bridge.policy.roles import NeverPublished
from ibcm_bridge.policy_file import load_policy
from ibcm_bridge.request.authorization import Authorized, authorize
from ibcm_bridge.request.head import RequestHead, read_request_head
from ibcm_bridge.site_system_leg.gate import gate
from ibcm_bridge.site_system_leg.origination import originate
from ibcm_bridge.site_system_leg.response_head import body_end, fields_for_client, head_for_client
from ibcm_bridge.site_system_leg.response_reader import next_response, response_reader
from ibcm_bridge.storage.binding_registry import Registry

BATCH_SECONDS = 0.005
ROUNDS = 60


@dataclass(frozen=True)
class Step:
    """A function to measure."""

    level: int
    name: str
    call: Callable[[], object]
    microseconds: list[float] = field(default_factory=list)
    """One value per batch."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steps", description=__doc__)
    parser.add_argument("--signed", action="store_true", help="use a signed message")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every value to FILE")
    options = parser.parse_args()
    key = generate_private_key(65537, 2048) if options.signed else None
    steps = make_steps(key)
    measure(steps, options.rounds)
    print(f"{'microseconds per call':46}{'median':>9}{'lowest':>9}")
    for step in steps:
        name = "  " * step.level + step.name
        median = statistics.median(step.microseconds)
        print(f"{name:46}{median:9.1f}{min(step.microseconds):9.1f}")
    if options.json:
        values = {step.name: step.microseconds for step in steps}
        options.json.write_text(json.dumps(values, indent=1) + "\n", "utf-8")


def measure(steps: list[Step], rounds: int) -> None:
    """Call all steps, in alternating batches."""
    calls = {id(step): _calls_per_batch(step) for step in steps}
    for _ in range(rounds):
        for step in steps:
            count, call = calls[id(step)], step.call
            began = time.perf_counter()
            for _ in range(count):
                call()
            step.microseconds.append((time.perf_counter() - began) * 1e6 / count)


def make_steps(key: RSAPrivateKey | None) -> list[Step]:
    """The steps, in the order of the bridge."""
    raw_head, body = _split(message_request(key))
    client, publication, never = _setting()
    head = _the(RequestHead, read_request_head(raw_head))
    authorized = _the(Authorized, authorize(client, publication, never, head))
    engine = YaraEngine(_default_rules())
    inspected = _the(Inspected, inspect(authorized, body, [engine]))
    claim = _the(Claim, read_claim(inspected))
    registry, message_policy, now = _registered(client, key, claim.guid)

    def approve_message() -> Approved | Deny:
        return approve(inspected, client, registry.find, message_policy, now)

    approved = _the(Approved, approve_message())
    assignments = _assignments()
    content_type = head.value(b"content-type") or b""
    limit = authorized.body_rule.inflated_limit
    header_part, payload_part = _parts(content_type, body)
    message = _the(CcmRequest, read_ccm_request(content_type, body, limit))
    header_xml = message.header.text.rstrip("\0").encode()
    payload_xml = "\n".join(document.text for document in message.documents).encode()
    payload_text = payload_xml.decode()
    views = {
        "sent": body,
        "header": message.header.text.encode(),
        "inflated": message.inflated,
        "text": payload_xml,
        "parsed-text": message.parsed_text.encode(),
    }
    response = _response()
    return [
        Step(0, "read_request_head", lambda: read_request_head(raw_head)),
        Step(0, "authorize", lambda: authorize(client, publication, never, head)),
        Step(0, "inspect", lambda: inspect(authorized, body, [engine])),
        Step(1, "read_ccm_request", lambda: read_ccm_request(content_type, body, limit)),
        Step(2, "read_multipart", lambda: read_multipart(content_type, body)),
        Step(
            2,
            f"header: UTF-16, {len(header_part.body):,} B",
            lambda: header_part.body[2:].decode("utf-16-le").encode(),
        ),
        Step(
            2,
            "header: expat, three handlers",
            lambda: check_xml(header_xml, "", _start, _end, _text),
        ),
        Step(
            2,
            f"payload: inflate, {len(payload_part.body):,} B",
            lambda: zlib.decompressobj().decompress(payload_part.body, limit),
        ),
        Step(
            2,
            f"payload: UTF-16, {len(message.inflated):,} B",
            lambda: message.inflated.decode("utf-16-le"),
        ),
        Step(2, f"payload: to UTF-8, {len(payload_xml):,} B", payload_xml.decode().encode),
        Step(2, "payload: expat, one pass for all", lambda: read_document(payload_text, "")),
        *(
            Step(1, f"YARA-X, {name}, {len(data):,} B", partial(engine.scan, data))
            for name, data in views.items()
        ),
        Step(0, "approve", approve_message),
        Step(1, "read_claim", lambda: read_claim(inspected)),
        Step(1, "find the binding of a client GUID", lambda: registry.find(claim.guid)),
        *(
            Step(1, f"verify {signed.name}", partial(_verify, key, signed))
            for signed in claim.signed
            if key
        ),
        Step(0, "gate", lambda: gate(approved, head, body)),
        Step(0, "originate", lambda: originate(publication, authorized.site_systems.first)),
        Step(0, "head to bytes", authorized.head.to_bytes),
        Step(
            0,
            "response head, read and written",
            lambda: _read_response(authorized.head, body, response),
        ),
        Step(1, "response_reader", lambda: response_reader(authorized.head, body)),
        Step(0, "reply: NoReply, read and judged", partial(_judge, ccm.NO_REPLY, message_policy)),
        Step(
            0, "reply: 100 policies, read and judged", partial(_judge, assignments, message_policy)
        ),
    ]


def _registered(
    client: AuthenticatedClient, key: RSAPrivateKey | None, guid: str
) -> tuple[Registry, MessagePolicy, datetime.datetime]:
    """A registry and a message policy: enforced for a signed message, report-only otherwise."""
    registry, now = Registry(None), datetime.datetime.now(datetime.UTC)
    message_policy = MessagePolicy(internal_domains=frozenset(("corp.example",)))
    if key is None:
        return registry, message_policy, now
    signing_key = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    bound_to = client.certificate.key_sha256
    registry.add(Binding(guid, Source.REGISTRATION, now, bound_to, signing_key=signing_key))
    enforce = Enforcement.ENFORCE
    return registry, replace(message_policy, identity=enforce, signatures=enforce), now


def _verify(key: RSAPrivateKey, signed: Signed) -> None:
    if not verifies(key.public_key(), signed.signature, signed.data):
        raise RuntimeError(f"{signed.name} does not verify")


def _judge(body: bytes, message_policy: MessagePolicy) -> None:
    reply = read_reply(ReplyReading.CCM_MESSAGE, ccm.CONTENT_TYPE.encode(), body)
    _the(InspectedReply, judge_reply(_the(ReadReply, reply), message_policy))


def _assignments() -> bytes:
    """The reply to a policy request, with 100 policies."""
    assignment = (
        '<PolicyAssignment PolicyAssignmentID="{LAB00001}"><Policy PolicyID="{LAB00001}" '
        'PolicyVersion="1.00" PolicyFlags="16"><PolicyLocation><![CDATA[http://<mp>/SMS_MP/'
        ".sms_pol?{LAB00001}.1_00]]></PolicyLocation></Policy></PolicyAssignment>"
    )
    text = f"<ReplyAssignments>{assignment * 100}</ReplyAssignments>\0".encode("utf-16-le")
    header = ccm.message_header("SccmMessaging", len(text))
    return ccm.raw_message(header, zlib.compress(text))


def _read_response(head: RequestHead, body: bytes, response: bytes) -> bytes:
    """Read a response and return the head for the client, as the exchange layer does."""
    reader = response_reader(head, body)
    reader.receive_data(response)
    found = next_response(reader)
    if found is None or isinstance(found, Deny):
        raise RuntimeError(f"not a response: {found!r}")
    fields = fields_for_client(found, b"https://bridge.internet.example", ())
    if isinstance(fields, Deny):
        raise RuntimeError(f"refused: {fields!r}")
    return head_for_client(found, fields, body_end(found, head), keep_alive=True)


def _response() -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: multipart/mixed\r\nServer: Microsoft-IIS/10.0\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(ccm.NO_REPLY), ccm.NO_REPLY)
    )


def _setting() -> tuple[AuthenticatedClient, BridgePublication, NeverPublished]:
    """The shipped policy with new certificates, and a client that it accepts."""
    pki = LabPki.make(now=datetime.datetime.now(datetime.UTC))
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        pki.write(directory / "pki")
        policy_file = directory / "bridge.yaml"
        policy_file.write_text(shipped_policy(), "utf-8")
        policy = load_policy(policy_file)
    _, publication = next(policy.bridged())
    facts = certificate_facts(pki.computer("pc1.corp.example").certificate)
    client = _the(AuthenticatedClient, authenticate(publication, facts))
    return client, publication, policy.never


def _default_rules() -> list[tuple[str, str]]:
    folder = files("ibcm_bridge.config.rules")
    rules = [file for file in folder.iterdir() if file.name.endswith(".yar")]
    return [(file.name, file.read_text("utf-8")) for file in rules]


def _parts(content_type: bytes, body: bytes) -> tuple[Part, ...]:
    return cast(tuple[Part, ...], _the(tuple, read_multipart(content_type, body)))


def _split(request: bytes) -> tuple[bytes, bytes]:
    end = request.index(b"\r\n\r\n") + 4
    return request[:end], request[end:]


def _the[Wanted](kind: type[Wanted], value: object) -> Wanted:
    if not isinstance(value, kind):
        detail = f"{value.reason.value}: {value.detail}" if isinstance(value, Deny) else repr(value)
        raise RuntimeError(f"not {kind.__name__}: {detail}")
    return value


def _calls_per_batch(step: Step) -> int:
    count = 1
    while True:
        began = time.perf_counter()
        for _ in range(count):
            step.call()
        took = time.perf_counter() - began
        if took > BATCH_SECONDS / 2:
            return max(1, round(count * BATCH_SECONDS / took))
        count *= 2


def _start(_name: str, _attributes: object) -> None:
    pass


def _end(_name: str) -> None:
    pass


def _text(_text: str) -> None:
    pass


if __name__ == "__main__":
    main()
