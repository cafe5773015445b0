"""Scan a body: parse it by its kind, and pass every view of it to every engine.

Views are the body as sent, and what is decompressed and decoded from it. `read_and_scan` returns
serializable values, because a large body is inspected in another process. Only `inspection.verdict`
makes an `Inspected` of them.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from urllib.parse import unquote_to_bytes

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.observing import Observation
from ibcm_bridge.inspection.any_format import (
    message_type,
    read_any_format,
    unlisted_soap_type,
)
from ibcm_bridge.inspection.encoded_values import decoded_views
from ibcm_bridge.inspection.engines import ContentEngine, EngineError
from ibcm_bridge.inspection.forms import parsed_text_view, read_form, utf_8
from ibcm_bridge.inspection.message_facts import message_facts
from ibcm_bridge.inspection.message_rules import judge_message
from ibcm_bridge.inspection.serialized_objects import serialized_problem
from ibcm_bridge.inspection.soap_rules import judge_soap
from ibcm_bridge.inspection.subject import CleanBody, Content, Subject, Views
from ibcm_bridge.messages.ccm import read_ccm_request
from ibcm_bridge.messages.propfind import read_propfind
from ibcm_bridge.messages.soap import read_action, read_soap, read_soap_type
from ibcm_bridge.messages.soap_fields import check_fields
from ibcm_bridge.messages.xml import decode_xml, read_xml
from ibcm_bridge.policy.bodies import Inspection

MAX_NAMED_VIEWS = 32
"""View names in the audit; an archive may have a thousand views."""


def read_and_scan(
    subject: Subject, engines: Sequence[ContentEngine], inflated_limit: int | None = None
) -> CleanBody | Deny:
    """Parse a body and scan every view with every engine.

    `inflated_limit` in bytes applies if it is lower than the body rule's limit.
    """
    limit = subject.body_rule.inflated_limit
    limit = limit if inflated_limit is None else min(limit, inflated_limit)
    content = _READERS[subject.body_rule.inspection](subject, limit)
    if isinstance(content, Deny):
        return content
    content = _with_decoded_values(content)
    scanned, missed = [], []
    for engine in engines:
        seen = _scan(content, engine)
        if seen is None:
            scanned.append(engine.identity)
        elif seen.reason is Reason.ENGINE_UNAVAILABLE and engine.name in subject.optional_engines:
            missed.append(f"{engine.name}: {seen.detail}")
        else:
            return seen
    return CleanBody(
        _view_names(content.views),
        content.message,
        tuple(scanned),
        tuple(missed),
        content.would_refuse,
    )


def _with_decoded_values(content: Content) -> Content:
    """Add the decoded values. An archive in one is not refused for being an archive."""
    names = content.views if content.texts is None else content.texts
    decoded = decoded_views(content.views, names, content.documents)
    if not decoded:
        return content
    return Content(
        {**content.views, **decoded},
        content.message,
        content.opened | decoded.keys(),
        would_refuse=content.would_refuse,
    )


def _view_names(views: Views) -> tuple[str, ...]:
    """Names and sizes of the views, up to a limit, and the number of the remaining ones."""
    named = [f"{name}:{len(data)}" for name, data in views.items()]
    if len(named) > MAX_NAMED_VIEWS:
        more = list(views.values())[MAX_NAMED_VIEWS:]
        named[MAX_NAMED_VIEWS:] = [f"{len(more)} more:{sum(map(len, more))}"]
    return tuple(named)


def _scan(content: Content, engine: ContentEngine) -> Deny | None:
    """Scan all views. Return a refusal for a match or a failure, else None."""
    rule = rules.ENGINE.of(engine.name)
    for name, data in content.views.items():
        try:
            finding = engine.scan(data, opened=name in content.opened)
        except EngineError as failure:
            return Deny(Reason.ENGINE_UNAVAILABLE, rule, str(failure))
        if finding is not None:
            return Deny(Reason.MALICIOUS_CONTENT, rule, f"{finding} in {name}")
    return None


def _no_body(subject: Subject, _limit: int) -> Content | Deny:
    if subject.body:
        return Deny(
            Reason.BODY_NOT_ALLOWED,
            subject.where,
            f"the request has a body of {len(subject.body)} bytes",
        )
    return Content({})


def _propfind(subject: Subject, _limit: int) -> Content | Deny:
    if not subject.body:
        # RFC 4918 §9.1: a PROPFIND without a body requests all properties.
        return Content({})
    text = utf_8(subject)
    if isinstance(text, Deny):
        return text
    parsed_text = read_propfind(text, subject.where, subject.body_rule.properties)
    if isinstance(parsed_text, Deny):
        return parsed_text
    views = {"sent": subject.body, **parsed_text_view(parsed_text)}
    return Content(views, documents=(subject.body,))


def _soap(subject: Subject, _limit: int) -> Content | Deny:
    """Check the action against the table; the head and the body must have the same action."""
    body_rule = subject.body_rule
    assert body_rule.actions is not None
    soap_type = read_soap_type(subject.content_type)
    if soap_type is None and subject.observing:
        soap_type = unlisted_soap_type(subject)
    if soap_type is None:
        return Deny(
            Reason.MEDIA_TYPE,
            rules.BODY_PARAMETERS.of(body_rule.name),
            "not the Content-Type of a SOAP request",
        )
    action = read_action(soap_type, subject.soap_action, subject.where)
    if isinstance(action, Deny):
        return action
    text = utf_8(subject)
    if isinstance(text, Deny):
        return text
    request = read_soap(text, subject.where, soap_type.envelope)
    if isinstance(request, Deny):
        return request
    observation = Observation(subject.observing)
    refusal = judge_soap(body_rule.actions, subject.path, action, request, observation)
    if refusal is None:
        views = (text, request.parsed_text)
        refusal = check_fields(request.fields, request.events, views, subject.where)
    if refusal is not None:
        return refusal
    if problem := serialized_problem(field.text for field in request.fields):
        return Deny(Reason.SOAP_CONTENT, rules.DOCUMENT_SERIALIZED.of(subject.where), problem)
    parsed = parsed_text_view(request.parsed_text)
    return Content(
        {"sent": subject.body, **parsed},
        texts=tuple(parsed),
        documents=(subject.body,),
        would_refuse=observation.found,
    )


def _xml_text(subject: Subject, _limit: int) -> Content | Deny:
    """XML in UTF-8 or UTF-16."""
    body = subject.body
    text = decode_xml(body)
    if text is None:
        return Deny(Reason.ENCODING, subject.where, "neither UTF-8 nor UTF-16LE")
    parsed_text = read_xml(text, subject.where)
    if isinstance(parsed_text, Deny):
        return parsed_text
    views = {"sent": body, "text": text.encode(), **parsed_text_view(parsed_text)}
    return Content(views, texts=tuple(views)[1:], documents=(views["text"],))


def _scanned(subject: Subject, limit: int) -> Content | Deny:
    """A body of unknown format: scanned as sent."""
    if subject.has_unlisted_type:
        return read_any_format(subject, limit)
    return Content({"sent": subject.body} if subject.body else {})


def _scep_query(subject: Subject, limit: int) -> Content | Deny:
    """RFC 8894 §4.1: the message of a GET is in the query, in base64."""
    if subject.body:
        return _no_body(subject, limit)
    message = scep_message(subject.query)
    if not message:
        return Content({})
    lines = message.replace(b"\r\n", b"\n").removesuffix(b"\n").split(b"\n")
    whole = b"".join(lines)
    try:
        content = base64.b64decode(whole, validate=True)
    except ValueError:
        return Deny(Reason.ENCODING, subject.where, "the message is not base64")
    # RFC 4648 §3.3, §3.5: decoders differ on trailing bits, and on lines that begin within a group
    # of four.
    if base64.b64encode(content) != whole or any(not line or len(line) % 4 for line in lines):
        return Deny(Reason.ENCODING, subject.where, "ambiguous base64")
    return Content({"message": content})


def scep_message(query: bytes) -> bytes:
    """The base64 message of a query, as sent; empty for another operation."""
    # Decoded first and ignoring case, like the comparison with the role's row.
    parts = (field.partition(b"=") for field in unquote_to_bytes(query).split(b"&"))
    fields = {name.lower(): value for name, _, value in parts}
    is_message = fields.get(b"operation", b"").lower() == b"pkioperation"
    return fields.get(b"message", b"") if is_message else b""


def _ccm_message(subject: Subject, limit: int) -> Content | Deny:
    if subject.user and not subject.body:
        # WinINet and libcurl send no body with the first message of NTLM, whose response is a 401
        # (IEInternals, "Challenge-Response Authentication and Zero-Length Posts").
        return Content({})
    content_type = message_type(subject)
    if content_type is None:
        return read_any_format(subject, limit)
    messages = subject.body_rule.messages
    assert messages is not None
    places_of = messages.client_guid_places
    message = read_ccm_request(content_type, subject.body, limit, places_of)
    if isinstance(message, Deny):
        return message
    observation = Observation(subject.observing)
    endpoint = judge_message(messages, message, observation, user=subject.user)
    if isinstance(endpoint, Deny):
        return endpoint
    facts = message_facts(message, endpoint)
    if isinstance(facts, Deny):
        return facts
    documents = tuple(document.text.encode() for document in message.documents)
    # Malware signatures are mostly ASCII and the inflated bytes are UTF-16, so the text in UTF-8 is
    # scanned, too.
    views = {
        "sent": subject.body,
        "header": message.header.text.encode(),
        "inflated": message.inflated,
        "text": b"\n".join(documents),
        **parsed_text_view(message.parsed_text),
    }
    if message.encrypted:
        del views["inflated"], views["text"]
    texts = ("header", "parsed-text") if "parsed-text" in views else ("header",)
    return Content(views, facts, texts=texts, documents=documents, would_refuse=observation.found)


def _any_format(subject: Subject, limit: int) -> Content | Deny:
    """The body of an unlisted verb: whatever a parser of this role could read in it."""
    if not subject.body:
        return Content({})
    if subject.body_rule.actions is not None:
        return _soap(subject, limit)
    if subject.body_rule.messages is not None:
        return _ccm_message(subject, limit)
    return read_any_format(subject, limit)


def _form(subject: Subject, limit: int) -> Content | Deny:
    if subject.has_unlisted_type:
        return read_any_format(subject, limit)
    return read_form(subject, limit)


def _upload(subject: Subject, limit: int) -> Content | Deny:
    if subject.stored is not None:
        # The caller must load the object from the spool first (`Subject.put_together`).
        return Deny(Reason.ENGINE_UNAVAILABLE, subject.where, "the object was not loaded")
    if not subject.whole:
        # An archive can only be extracted when the object is complete.
        return Content({"sent": subject.body} if subject.body else {}, opened={"sent"})
    return read_any_format(subject, limit)


_READERS: dict[Inspection, Callable[[Subject, int], Content | Deny]] = {
    Inspection.NO_BODY: _no_body,
    Inspection.CCM_MESSAGE: _ccm_message,
    Inspection.PROPFIND: _propfind,
    Inspection.SOAP: _soap,
    Inspection.XML_TEXT: _xml_text,
    Inspection.SCANNED: _scanned,
    Inspection.SCEP_QUERY: _scep_query,
    Inspection.FORM: _form,
    Inspection.BITS_UPLOAD: _upload,
    Inspection.ANY_FORMAT: _any_format,
}
