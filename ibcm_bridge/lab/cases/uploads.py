"""Cases about BITS uploads: what is in all fragments together, and whose they are."""

from __future__ import annotations

import gzip
import io
import uuid
import zipfile
import zlib

from ibcm_bridge.lab.cases.case import OK, Case, ClientCertificate, Disposition, refused
from ibcm_bridge.lab.cases.requests import MakeRequest, Senders, eicar
from ibcm_bridge.lab.protocol import documents
from ibcm_bridge.lab.protocol.client import Request
from ibcm_bridge.lab.protocol.uploads import Upload

FRAGMENTS = 3
_OWN = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # RFC 9562, appendix A


def _path(case: str) -> str:
    """As a management point names what it wants to be sent (protocol.md 6: inferred)."""
    return f"/CCM_Incoming/{uuid.uuid5(_OWN, case)}.msg"


def _report(who: Senders) -> bytes:
    """Not packed, so of one size whosever it is."""
    return documents.inventory_report(who.me.guid).encode("utf-16-le")


def _malware(who: Senders) -> bytes:
    xml = documents.inventory_report(who.me.guid)
    xml = xml.replace("</Report>", f"<!-- {eicar()} --></Report>")
    return zlib.compress(xml.encode("utf-16-le"))


def _bomb(_who: Senders) -> bytes:
    packer = zlib.compressobj(9)
    pieces = [packer.compress(bytes(1_000_000)) for _ in range(200)]
    return b"".join([*pieces, packer.flush()])


def _packed_twice(who: Senders) -> Request:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ccmexec.log", "nothing to see here")
        archive.writestr("logs.gz", gzip.compress(eicar().encode()))
    return Upload(_path("upload-archive"), buffer.getvalue()).fragments(1)[0]


def _first(case: str) -> list[tuple[ClientCertificate, MakeRequest]]:
    """A session, and all of a report but its last third."""
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


def _hidden_first(case: str) -> list[tuple[ClientCertificate, MakeRequest]]:
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


def _hidden_last(who: Senders) -> Request:
    return Upload(_path("upload-malware"), _malware(who)).fragments(FRAGMENTS)[-1]


def _bomb_in_a_fragment(who: Senders) -> Request:
    return Upload(_path("upload-bomb"), _bomb(who)).fragments(1)[0]


def _gap(who: Senders) -> Request:
    return Upload(_path("upload-gap"), _report(who)).fragments(FRAGMENTS)[-1]


def _second_thoughts(who: Senders) -> Request:
    upload = Upload(_path("upload-changed"), _report(who))
    other = Upload(upload.path, bytes(len(upload.data)))
    return other.fragments(FRAGMENTS)[1]


def _too_large(who: Senders) -> Request:
    return Upload(_path("upload-too-large"), _report(who)).fragment(0, 64, total=10**12)


UPLOADS = (
    Case(
        "upload",
        "inventory by BITS, in three fragments",
        "VERB-MP",
        "Put together on the way. The last fragment waits until the whole has been inspected; then "
        "the session is closed, and the management point has a file.",
        lambda who: Upload(_path("upload"), _report(who)).close(),
        OK,
        leading=(*_first("upload"), (ClientCertificate.COMPUTER, _last_of("upload"))),
    ),
    Case(
        "upload-malware",
        "malware (EICAR) over three fragments",
        "BRIDGE-INSPECT",
        "In no fragment by itself, packed and in UTF-16. With the last one it would be a file: "
        "that one is held back, and the site system is told to throw the others away.",
        _hidden_last,
        refused(403),
        leading=tuple(_hidden_first("upload-malware")),
        withdraws=True,
    ),
    Case(
        "upload-archive",
        "malware in an archive in an archive",
        "BRIDGE-INSPECT",
        "Zip and gzip are opened, so deep and so far; what is in them is looked at like the rest.",
        _packed_twice,
        refused(403),
        leading=(
            (
                ClientCertificate.COMPUTER,
                lambda who: Upload(_path("upload-archive"), _bomb(who)).create(),
            ),
        ),
        withdraws=True,
    ),
    Case(
        "upload-bomb",
        "200 MB packed into one fragment",
        "BRIDGE-INSPECT",
        "Inflated only up to a limit, and only in a process of its own.",
        _bomb_in_a_fragment,
        refused(403),
        leading=(
            (
                ClientCertificate.COMPUTER,
                lambda who: Upload(_path("upload-bomb"), _bomb(who)).create(),
            ),
        ),
        withdraws=True,
    ),
    Case(
        "upload-closed-early",
        "upload closed before its end",
        "BRIDGE-INSPECT",
        "A server makes a file of what it has. The bridge has inspected no whole yet, so nothing "
        "is closed.",
        lambda who: Upload(_path("upload-closed-early"), _report(who)).close(),
        refused(400),
        leading=tuple(_first("upload-closed-early")),
        withdraws=True,
    ),
    Case(
        "upload-gap",
        "upload with a gap",
        "BRIDGE-INSPECT",
        "What is missing cannot be inspected. The client is told from where to go on.",
        _gap,
        refused(416),
        Disposition.REFUSED_THERE,
        leading=tuple(_first("upload-gap")[:2]),
    ),
    Case(
        "upload-changed",
        "upload whose bytes are others the second time",
        "BRIDGE-INSPECT",
        "Which of the two the server keeps would be its own choice. It is not given one.",
        _second_thoughts,
        refused(400),
        leading=tuple(_first("upload-changed")),
        withdraws=True,
    ),
    Case(
        "upload-stolen",
        "upload session of another client",
        "BRIDGE-IDENTITY",
        "The id alone opens nothing: a session belongs to the key of the certificate that began "
        "it, and nobody else is told that there is one.",
        _last_of("upload-stolen"),
        refused(500),
        client=ClientCertificate.OTHER,
        leading=tuple(_first("upload-stolen")),
    ),
    Case(
        "upload-too-large",
        "upload of 1 TB",
        "BRIDGE-INSPECT",
        "Refused by what the first fragment announces, before its bytes are read.",
        _too_large,
        refused(403),
        leading=(
            (
                ClientCertificate.COMPUTER,
                lambda who: Upload(_path("upload-too-large"), _report(who)).create(),
            ),
        ),
        withdraws=True,
    ),
)
