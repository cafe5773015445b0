"""Every limit of `limits`: a message at the limit is parsed, one above it is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.inspection.message_facts import message_facts
from ibcm_bridge.messages import limits
from ibcm_bridge.messages.ccm import CcmRequest
from ibcm_bridge.messages.document import Document, read_document
from ibcm_bridge.messages.document_values import Place
from ibcm_bridge.messages.msg_header import MsgHeader, read_header
from ibcm_bridge.messages.multipart import Part, read_multipart
from ibcm_bridge.policy.endpoints import Endpoint

from .making import GUID_PLACES

BODY = '<Body Offset="0" Length="2"/>'


def header(xml: str) -> object:
    return read_header(b"\xff\xfe" + xml.encode("utf-16-le"))


def document(inner: str) -> object:
    return read_document(f"<r>{inner}</r>", "here", lambda _root: GUID_PLACES)


def multipart(parts: Iterable[bytes]) -> object:
    body = b"\r\n".join(b"--b\r\n%b\r\n\r\nx" % head for head in parts) + b"\r\n--b--"
    return read_multipart(b"multipart/mixed; boundary=b", body)


def hooks(inner: str) -> object:
    return header(f"<Msg>{BODY}<Hooks>{inner}</Hooks></Msg>")


KNOWN_HOOKS = ("zlib-compress", "clientauth", "encrypt")


def so_many_hooks(count: int) -> object:
    # Only three hooks are known and each may occur once, so the refusals differ.
    names = [*KNOWN_HOOKS, *map(str, range(count))][:count]
    found = hooks("".join(f'<Hook Name="{name}"/>' for name in names))
    assert isinstance(found, Deny)
    return found if found.rule == "ccm.header.children" else None


def so_many_properties(count: int) -> object:
    inner = "".join(f'<Property Name="{number}"/>' for number in range(count))
    return hooks(f'<Hook2 Name="clientauth">{inner}</Hook2>')


def so_many_slices(count: int) -> object:
    return header(f"<Msg>{BODY}{BODY.replace('Body', 'Attachment') * (count - 1)}</Msg>")


def so_deep(depth: int) -> object:
    return document("<a>" * (depth - 1) + "</a>" * (depth - 1))


def so_many_names(count: int) -> object:
    return document("".join(f"<n{number}/>" for number in range(count - 1)))


def at(place: Place, values: Iterable[str]) -> object:
    parent, _, name = place.partition("/")
    if name.startswith("@"):
        return document("".join(f'<{parent} {name[1:]}="{value}"/>' for value in values))
    return document("".join(f"<{parent}><{name}>{value}</{name}></{parent}>" for value in values))


def everywhere(values: Iterable[str]) -> object:
    found = [at(place, values) for place in Place]
    found.append(document("".join(f"<ClientID>{value}</ClientID>" for value in values)))
    assert len({type(result) for result in found}) == 1
    return found[0]


def so_large_a_header(size: int) -> object:
    rest = f"<Msg>{BODY}</Msg>"
    return header(f"<Msg>{BODY}" + " " * (size // 2 - 1 - len(rest)) + "</Msg>")


def naming(count: int) -> object:
    """A message with a number of client GUIDs in its documents."""
    found = []
    for first in range(0, count, limits.MAX_VALUES):
        names = [str(name) for name in range(first, min(first + limits.MAX_VALUES, count))]
        one = document("".join(f"<ClientID>{name}</ClientID>" for name in names))
        assert isinstance(one, Document)
        found.append(one)
    head = header(f"<Msg>{BODY}</Msg>")
    assert isinstance(head, MsgHeader)
    endpoint = Endpoint("MP_X", frozenset(), anonymous=True, encrypted=False)
    return message_facts(CcmRequest(head, Part(b"", b""), b"", tuple(found)), endpoint)


CASES: dict[str, Callable[[int], object]] = {
    "MAX_PARTS": lambda count: multipart([b"content-type: a/b"] * count),
    # Including the CRLF before the head and the empty line after it.
    "MAX_PART_HEAD": lambda size: multipart([b"content-type: a/" + b"b" * (size - 22)]),
    "MAX_HEADER": so_large_a_header,
    # Msg, Body, and the others; the two attributes of Body count as one.
    "MAX_HEADER_ELEMENTS": lambda count: header(f"<Msg>{BODY}{'<x/>' * (count - 3)}</Msg>"),
    "MAX_SLICES": so_many_slices,
    "MAX_HOOKS": so_many_hooks,
    "MAX_PROPERTIES": so_many_properties,
    "MAX_DEPTH": so_deep,
    "MAX_NAMES": so_many_names,
    "MAX_VALUES": lambda count: everywhere([str(number) for number in range(count)]),
    "MAX_VALUE": lambda size: everywhere(["x" * size]),
    "MAX_AT_GUID_PLACES": lambda count: document("<ClientID>x</ClientID>" * count),
    "MAX_CLIENT_GUIDS": naming,
}
"""Limit -> the function that parses a message with a given amount."""
OF_OTHERS = {
    *("MAX_SOAP_DEPTH", "MAX_SOAP_ELEMENTS", "MAX_SOAP_PIECES", "MAX_COOKIE"),
    *("MAX_PROPFIND_ELEMENTS", "MAX_EVENTS", "MAX_EVENT_LIST", "MAX_EVENT_TAG", "MAX_EVENT_TEXT"),
}
"""Limits with tests in test_soap, test_soap_fields and test_propfind."""

LIMITS = {
    name: value for name, value in vars(limits).items() if name.isupper() and name not in OF_OTHERS
}
STEPS = {"MAX_HEADER": 2}
"""The smallest step above the limit; one for other limits."""


def test_every_limit_has_its_case() -> None:
    assert CASES.keys() == LIMITS.keys()


@pytest.mark.parametrize("name", CASES)
def test_a_message_at_the_limit_is_parsed_and_one_above_it_is_refused(name: str) -> None:
    limit, of_so_much = LIMITS[name], CASES[name]
    assert not isinstance(of_so_much(limit), Deny)
    above = of_so_much(limit + STEPS.get(name, 1))
    assert isinstance(above, Deny)
    assert len(above.detail) < 200
    assert isinstance(of_so_much(4 * limit), Deny)
