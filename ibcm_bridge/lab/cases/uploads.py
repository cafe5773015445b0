"""Cases about BITS uploads: the content of all fragments together, and session ownership."""

from __future__ import annotations

import gzip
import io
import uuid
import zipfile
import zlib

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.cases.case import Case, ClientCertificate, Disposition, accepted, refused
from ibcm_bridge.lab.cases.requests import MakeRequest, Senders, eicar, zip_bomb
from ibcm_bridge.lab.protocol import documents
from ibcm_bridge.lab.protocol.client import Request
from ibcm_bridge.lab.protocol.uploads import Upload

FRAGMENTS = 3
_OWN = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # RFC 9562, appendix A


def _path(case: str) -> str:
    """The path that a management point assigns to an upload (protocol.md 6: inferred)."""
    return f"/CCM_Incoming/{uuid.uuid5(_OWN, case)}.msg"


def _report(who: Senders) -> bytes:
    """Return an uncompressed report, so that its size is the same for each client."""
    return documents.inventory_report(who.me.guid).encode("utf-16-le")


def _malware(who: Senders) -> bytes:
    xml = documents.inventory_report(who.me.guid)
    xml = xml.replace("</Report>", f"<!-- {eicar()} --></Report>")
    return zlib.compress(xml.encode("utf-16-le"))


def _nested_archive(who: Senders) -> Request:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ccmexec.log", "nothing of interest")
        archive.writestr("logs.gz", gzip.compress(eicar().encode()))
    return Upload(_path("upload-archive"), buffer.getvalue()).fragments(1)[0]


def _first(case: str) -> list[tuple[ClientCertificate, MakeRequest]]:
    """Begin a session, and send the first two of three fragments."""
    return [
        (ClientCertificate.COMPUTER, lambda who: Upload(_path(case), _report(who)).create()),
        (
            ClientCertificate.COMPUTER,
            lambda who: Upload(_path(case), _report(who)).fragments(FRAGMENTS)[0],
        ),
        (
            ClientCertificate.COMPUTER,
            lambda who: Upload(_path(case), _report(who)).fragments(FRAGMENTS)[1],
        ),
    ]


def _last_of(case: str) -> MakeRequest:
    return lambda who: Upload(_path(case), _report(who)).fragments(FRAGMENTS)[-1]


def _malware_first(case: str) -> list[tuple[ClientCertificate, MakeRequest]]:
    return [
        (ClientCertificate.COMPUTER, lambda who: Upload(_path(case), _malware(who)).create()),
        (
            ClientCertificate.COMPUTER,
            lambda who: Upload(_path(case), _malware(who)).fragments(FRAGMENTS)[0],
        ),
        (
            ClientCertificate.COMPUTER,
            lambda who: Upload(_path(case), _malware(who)).fragments(FRAGMENTS)[1],
        ),
    ]


def _malware_last(who: Senders) -> Request:
    return Upload(_path("upload-malware"), _malware(who)).fragments(FRAGMENTS)[-1]


def _bomb_in_a_fragment(_who: Senders) -> Request:
    return Upload(_path("upload-bomb"), zip_bomb()).fragments(1)[0]


def _gap(who: Senders) -> Request:
    return Upload(_path("upload-gap"), _report(who)).fragments(FRAGMENTS)[-1]


def _changed_bytes(who: Senders) -> Request:
    upload = Upload(_path("upload-changed"), _report(who))
    other = Upload(upload.path, bytes(len(upload.data)))
    return other.fragments(FRAGMENTS)[1]


def _too_large(who: Senders) -> Request:
    return Upload(_path("upload-too-large"), _report(who)).fragment(0, 64, total=10**12)


UPLOADS = (
    Case(
        "upload",
        "BITS upload in three fragments",
        "VERB-MP",
        "The bridge assembles the fragments, and holds the last one until it has inspected the "
        "whole file. Then the session is closed, and the management point has the file.",
        lambda who: Upload(_path("upload"), _report(who)).close(),
        accepted("management-point.verbs.BITS_POST"),
        session_requests=(*_first("upload"), (ClientCertificate.COMPUTER, _last_of("upload"))),
    ),
    Case(
        "upload-malware",
        "malware (EICAR) across BITS fragments",
        "BRIDGE-INSPECT",
        "No single fragment contains it; the file is compressed and in UTF-16. The bridge holds "
        "the last fragment, and cancels the session at the site system.",
        _malware_last,
        refused(403, Reason.MALICIOUS_CONTENT, "engines.yara-x"),
        session_requests=tuple(_malware_first("upload-malware")),
        cancels_upload=True,
    ),
    Case(
        "upload-archive",
        "malware in a nested archive, by BITS",
        "BRIDGE-INSPECT",
        "The bridge opens zip and gzip up to a depth and a size, and inspects their content.",
        _nested_archive,
        refused(403, Reason.MALICIOUS_CONTENT, "engines.yara-x"),
        session_requests=(
            (
                ClientCertificate.COMPUTER,
                lambda _: Upload(_path("upload-archive"), zip_bomb()).create(),
            ),
        ),
        cancels_upload=True,
    ),
    Case(
        "upload-bomb",
        "zip bomb in a BITS fragment (200 MB)",
        "BRIDGE-INSPECT",
        "The bridge inflates up to a limit, in a separate process.",
        _bomb_in_a_fragment,
        refused(403, Reason.INFLATED_TOO_LARGE, "ccm.inflated_limit"),
        session_requests=(
            (
                ClientCertificate.COMPUTER,
                lambda _: Upload(_path("upload-bomb"), zip_bomb()).create(),
            ),
        ),
        cancels_upload=True,
    ),
    Case(
        "upload-closed-early",
        "Close-Session before the last fragment",
        "BRIDGE-INSPECT",
        "A server would store the incomplete file. The bridge has not inspected a whole file yet, "
        "so it refuses to close the session.",
        lambda who: Upload(_path("upload-closed-early"), _report(who)).close(),
        refused(400, Reason.UPLOAD_INCOMPLETE, "uploads.close"),
        session_requests=tuple(_first("upload-closed-early")),
        cancels_upload=True,
    ),
    Case(
        "upload-gap",
        "BITS upload with a missing fragment",
        "BRIDGE-INSPECT",
        "The bridge cannot inspect missing bytes. The response names the offset to continue from.",
        _gap,
        refused(416, Reason.UPLOAD_GAP, "uploads.gap"),
        Disposition.REFUSED_BY_SITE_SYSTEM,
        session_requests=tuple(_first("upload-gap")[:2]),
    ),
    Case(
        "upload-changed",
        "re-sent fragment with different bytes",
        "BRIDGE-INSPECT",
        "The server would choose which bytes to store, so the bridge refuses the second version.",
        _changed_bytes,
        refused(400, Reason.UPLOAD_CHANGED, "uploads.overlap"),
        session_requests=tuple(_first("upload-changed")),
        cancels_upload=True,
    ),
    Case(
        "upload-stolen",
        "another client's BITS session",
        "BRIDGE-IDENTITY",
        "A session belongs to the key of the certificate that began it. For other clients the "
        "response is the same as for an unknown session.",
        _last_of("upload-stolen"),
        refused(500, Reason.UPLOAD_OF_ANOTHER, "uploads.session"),
        client=ClientCertificate.OTHER,
        session_requests=tuple(_first("upload-stolen")),
    ),
    Case(
        "upload-too-large",
        "BITS upload of 1 TB",
        "BRIDGE-INSPECT",
        "The first fragment announces the size. The bridge refuses it before it reads the bytes.",
        _too_large,
        refused(403, Reason.UPLOAD_TOO_LARGE, "uploads.max_bytes"),
        session_requests=(
            (
                ClientCertificate.COMPUTER,
                lambda who: Upload(_path("upload-too-large"), _report(who)).create(),
            ),
        ),
        cancels_upload=True,
    ),
)
