"""What the bridge would do with a request, and why: `ibcm-bridge explain`.

The same functions as in the bridge, in the same order, on a request that is only described; nothing
is connected to. What needs OpenSSL (the client certificate's path) is asked of a function that the
command line gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from cryptography import x509

from ibcm_bridge.authorization import authorize
from ibcm_bridge.decisions import Approved, Deny, Reason
from ibcm_bridge.identity import (
    AuthenticatedClient,
    Client,
    admit_anonymous,
    authenticate,
    certificate_facts,
)
from ibcm_bridge.inspection import inspect
from ibcm_bridge.inspection.engines import ContentEngine
from ibcm_bridge.origination import originate
from ibcm_bridge.policy import (
    BridgePublication,
    HttpPublication,
    PlaintextListener,
    PlaintextPublication,
    Policy,
    Publication,
    Trust,
    TunnelPublication,
)
from ibcm_bridge.request_head import RequestHead, read_request_head
from ibcm_bridge.responses import refusal, requirement
from ibcm_bridge.revocation import Notes
from ibcm_bridge.routing import ClientHelloFacts, route

VerifyPath = Callable[[Trust, Sequence[x509.Certificate]], Notes | Deny]
"""Verifies what a client presents as the client leg would: what to note, or why not."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request as described. `body` None: not known, so not looked into."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    certificates: tuple[x509.Certificate, ...]
    """What the client presents, end-entity certificate first; empty for no certificate."""
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """The steps in order, and the refusal that ended them, if one did."""

    steps: tuple[str, ...]
    denial: Deny | None

    def record(self) -> dict[str, object]:
        """For machines."""
        denial = self.denial
        if denial is None:
            return {"verdict": "allow", "steps": self.steps}
        row = refusal(denial)
        return {
            "verdict": "deny",
            "reason": denial.reason.value,
            "rule": denial.rule,
            "requirement": requirement(denial),
            "detail": denial.detail,
            "status": row.status.value if row.status else None,
            "alert": row.alert,
            "then_the_client": row.next_step.short,
            "steps": self.steps,
        }


class _Refused(Exception):
    def __init__(self, denial: Deny) -> None:
        super().__init__(denial.reason.value)
        self.denial = denial


def explain(
    policy: Policy,
    question: Question,
    engines: Sequence[ContentEngine],
    verify_path: VerifyPath,
) -> Explanation:
    """Follow a request through the bridge. ValueError for a URL that is none."""
    steps: list[str] = []
    try:
        for step in _follow(policy, question, engines, verify_path):
            steps.append(step)  # what came before a refusal is kept
    except _Refused as refused:
        return Explanation((*steps, *_told(refused.denial)), refused.denial)
    return Explanation(tuple(steps), None)


def _follow(
    policy: Policy,
    question: Question,
    engines: Sequence[ContentEngine],
    verify_path: VerifyPath,
) -> Iterator[str]:
    scheme, name, port = _parts(question.url)
    publication = _plaintext(policy, name, port) if scheme == "http" else _route(policy, name, port)
    yield publication.describe()
    if isinstance(publication, TunnelPublication):
        yield "Everything passes unseen; only the site system can refuse it."
        return

    client = _client(publication, question.certificates, verify_path)
    if isinstance(client, AuthenticatedClient):
        yield f"The client is authenticated as the {client.kind} {client.name}."
    else:
        yield "The client needs no certificate."
    head = _allowed(_head(question, publication.name))
    decision = authorize(client, publication, policy.never, head)
    if isinstance(decision, Deny) and decision.reason is Reason.LENGTH_REQUIRED:
        # Of a body that was not given the length is not known either, and clients send it.
        sized = _head(question, publication.name, _SOME_LENGTH)
        if question.body is None and isinstance(sized, RequestHead):
            decision = authorize(client, publication, policy.never, sized)
    authorized = _allowed(decision)
    yield f"The head is allowed by {authorized.rule} ({authorized.role.verbs_requirement})."
    if authorized.dropped:
        yield f"Not listed, and taken out: {', '.join(authorized.dropped)}."
    terms = originate(publication, authorized)
    to = f"{terms.server_name} at {terms.address[0]}:{terms.address[1]}"
    if question.body is None and authorized.body_rule.media_types:
        yield f"It would go to {to}, once its body has been inspected; give one with --body."
        return
    approved = _allowed(inspect(authorized, question.body or b"", engines))
    assert isinstance(approved, Approved)
    if approved.views:
        yield f"The body was inspected: {', '.join(approved.views)} bytes; nothing found."
    how = "with the bridge's own certificate" if terms.tls is not None else "as plain HTTP"
    yield f"It would go to {to}, {how}."


HTTPS_PORT = 443

_SOME_LENGTH = ("Content-Length", "1")


def _route(policy: Policy, name: str, port: int | None) -> Publication:
    denial = Deny(Reason.UNKNOWN_NAME, "listener.publications", f"nothing listens on {port}")
    found: list[Publication] = []
    for listener in policy.listeners:
        if isinstance(listener, PlaintextListener):
            continue
        answer = route(listener, ClientHelloFacts(name))
        if isinstance(answer, Deny):
            if port in (None, listener.address[1]):
                denial = answer
        elif port in (None, listener.address[1], answer.public_port):
            found.append(answer)
    if not found:
        raise _Refused(denial)
    # A URL without a port means 443; where nothing is published there, any port will do.
    return min(found, key=lambda one: one.public_port != HTTPS_PORT)


def _parts(url: str) -> tuple[str, str, int | None]:
    """Scheme, name and port of a URL. ValueError where a client could not ask for it."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url} is not an https:// URL")
    if parts.username is not None or parts.fragment:
        raise ValueError(f"{url}: user names and fragments are never sent; leave them out")
    if not parts.hostname.isascii():
        raise ValueError(f"{url}: write the name as it is sent, xn--...")
    return parts.scheme, parts.hostname, parts.port


def _plaintext(policy: Policy, name: str, port: int | None) -> PlaintextPublication:
    for listener in policy.listeners:
        if isinstance(listener, PlaintextListener):
            publication = listener.publication
            if publication.name == name and port in (
                None,
                listener.address[1],
                publication.public_port,
            ):
                return publication
    raise _Refused(Deny(Reason.PLAINTEXT, "listener.tls", "plaintext on a TLS port"))


def _client(
    publication: HttpPublication,
    certificates: tuple[x509.Certificate, ...],
    verify_path: VerifyPath,
) -> Client:
    # Where nobody is asked for a certificate, none is presented.
    asked = isinstance(publication, BridgePublication) and publication.client_trust
    if not certificates or not asked:
        return _allowed(admit_anonymous(publication))
    assert isinstance(publication, BridgePublication)
    assert publication.client_trust is not None
    _allowed(verify_path(publication.client_trust, certificates))
    return _allowed(authenticate(publication, certificate_facts(certificates[0])))


def _head(question: Question, host: str, *more: tuple[str, str]) -> RequestHead | Deny:
    parts = urlsplit(question.url)
    # What stands behind the name, byte for byte: urlsplit would lose an empty query.
    target = question.url.split("://", 1)[1].removeprefix(parts.netloc).partition("#")[0] or "/"
    fields = [*question.headers, *more]
    given = {name.lower() for name, _ in fields}
    if "host" not in given:
        fields.insert(0, ("Host", host))
    if question.body is not None and "content-length" not in given:
        fields.append(("Content-Length", str(len(question.body))))
    lines = [f"{question.method} {target} HTTP/1.1", *(f"{n}: {v}" for n, v in fields), "", ""]
    return read_request_head("\r\n".join(lines).encode("utf-8", "surrogateescape"))


def _told(denial: Deny) -> Iterator[str]:
    row = refusal(denial)
    yield f"Refused: {denial.reason.value}, by {denial.rule} ({requirement(denial)})."
    if denial.detail:
        yield f"{denial.detail[:1].upper()}{denial.detail[1:]}."
    told = f"status {row.status.value}" if row.status else f"the TLS alert {row.alert}"
    yield f"The client is answered with {told}: {row.text}"
    yield f"It would log (inferred): {row.client_log}."
    yield f"Then it {row.next_step.short}: {row.next_step.text}."


def _allowed[Value](value: Value | Deny) -> Value:
    if isinstance(value, Deny):
        raise _Refused(value)
    return value
