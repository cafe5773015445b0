"""Kinds of request bodies, and how each is inspected."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ibcm_bridge.policy.endpoints import EndpointTable
from ibcm_bridge.policy.soap_actions import SoapTable


class Inspection(StrEnum):
    """The inspection of a body. `inspection.verdict` has one function for each."""

    NO_BODY = "no-body"
    CCM_MESSAGE = "ccm-message"
    PROPFIND = "propfind"
    SOAP = "soap"
    XML_TEXT = "xml-text"
    SCANNED = "scanned"
    SCEP_QUERY = "scep-query"
    FORM = "form"
    BITS_UPLOAD = "bits-upload"
    ANY_FORMAT = "any-format"
    """The body of an unlisted verb, in a publication with `observe`. No role has it."""


class ReplyReading(StrEnum):
    """The inspection of a response before it is forwarded, by `inspection.response`."""

    CCM_MESSAGE = "ccm-message"
    XML = "xml"


@dataclass(frozen=True, slots=True)
class BodyRule:
    """The allowed request bodies. Sizes are in bytes; `media_types` are in lower case.

    `required`: an empty body is refused. An empty media type means no Content-Type.
    """

    name: str
    inspection: Inspection
    required: bool
    media_types: frozenset[bytes]
    limit: int
    inflated_limit: int
    messages: EndpointTable | None = None
    actions: SoapTable | None = None
    """The allowed messages, or SOAP actions, in the body."""
    depths: frozenset[bytes] = frozenset()
    properties: frozenset[str] = frozenset()
    """The allowed values of Depth (in lower case) and properties of a PROPFIND."""
