"""Kinds of request bodies, and how each is read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ibcm_bridge.policy.endpoints import EndpointTable
from ibcm_bridge.policy.soap_actions import SoapTable


class Inspection(StrEnum):
    """How a body is looked at. `inspection.inspect` has one function for each."""

    NO_BODY = "no-body"
    CCM_MESSAGE = "ccm-message"
    PROPFIND = "propfind"
    SOAP = "soap"
    XML_TEXT = "xml-text"
    SCANNED = "scanned"
    SCEP_QUERY = "scep-query"
    FORM = "form"
    BITS_UPLOAD = "bits-upload"


class ReplyReading(StrEnum):
    """How the answer to a request is read before it is passed on; `inspection.response` does it."""

    CCM_MESSAGE = "ccm-message"
    XML = "xml"


@dataclass(frozen=True, slots=True)
class BodyRule:
    """What a request body may be. Sizes in bytes; `media_types` in lower case.

    `required`: whether there must be one. An empty media type stands for no Content-Type.
    """

    name: str
    inspection: Inspection
    required: bool
    media_types: frozenset[bytes]
    limit: int
    inflated_limit: int
    messages: EndpointTable | None = None
    actions: SoapTable | None = None
    """Of a body that is a message or SOAP, which ones there may be."""
    depths: frozenset[bytes] = frozenset()
    properties: frozenset[str] = frozenset()
    """Of a PROPFIND, what Depth may say (in lower case), and what may be asked for."""
