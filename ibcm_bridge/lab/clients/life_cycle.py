"""The steps of a client from its registration on; and those of boot media.

A step is data: its name, its request, and the check of its response. Values from a response (the
client GUID from the registration reply, the id of an upload session, the cookies of a software
update point) are used in the following steps. `update_scan` has the steps of Windows Update Agent.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from uuid import UUID
from xml.etree import ElementTree as ET

from ibcm_bridge.lab.clients.device import AGENT, Device, posted
from ibcm_bridge.lab.protocol import ccm, documents, wsus
from ibcm_bridge.lab.protocol.client import Request, Response
from ibcm_bridge.lab.protocol.content import content
from ibcm_bridge.lab.protocol.other_sites import CLOUD_PACKAGE
from ibcm_bridge.lab.protocol.reply_documents import POLICIES
from ibcm_bridge.lab.protocol.uploads import Upload

type Check = Callable[[Response], bool]
type Update = Callable[[Device, Response], Device]
type Send = Callable[[Request], Response]
"""Sends a request, and returns its complete response."""

PLAIN_POLICY, SECRET_POLICY, TASK_SEQUENCE_POLICY = POLICIES

PACKAGE = "/SMS_DP_SMSPKG$/LAB00001"
FILE = f"{PACKAGE}/sccm?/setup/application.msi"
FIRST, LAST = 1_000, 400_000
"""First and last byte of a range (RFC 9110 §14.1.2: both included)."""


def document(response: Response) -> str:
    """Return the document in a reply; empty if there is none."""
    try:
        return ccm.parse_reply(response.body)[1] or ""
    except ValueError:
        return ""


def replies_with(root: str) -> Check:
    """Check for a reply whose document has this root element."""
    return lambda response: response.status == 200 and ccm.root(document(response)) == root


def has_root(root: str) -> Check:
    """Check for a document with this root element, without a message around it."""
    return lambda response: response.status == 200 and ccm.root(response.body) == root


def starts_with(text: bytes, status: int = 200) -> Check:
    """Check for a body that starts with this."""
    return lambda response: response.status == status and response.body.startswith(text)


def accepted(response: Response) -> bool:
    """protocol.md 1.7: `NoReply`."""
    return (response.status, response.body) == (200, ccm.NO_REPLY)


def acknowledged(response: Response) -> bool:
    """protocol.md 6."""
    return response.status == 200 and response.header("BITS-Packet-Type") == "Ack"


def with_session(device: Device, response: Response) -> Device:
    """Use the session id in the response to Create-Session."""
    return replace(device, session=response.header("BITS-Session-Id") or "")


def names_its_size(response: Response) -> bool:
    """Check the header fields that BITS needs before a download (protocol.md 7)."""
    length = int(response.header("Content-Length") or "0")
    return response.status == 200 and length > LAST and bool(response.header("ETag"))


def is_the_range(response: Response) -> bool:
    """Check the bytes of the range."""
    return response.status == 206 and response.body == content(FIRST, LAST + 1)


@dataclass(frozen=True)
class Step:
    """One step of a client's life cycle."""

    name: str
    request: Callable[[Device], Request]
    good: Check
    update: Update = lambda device, _response: device
    """Updates the client with values from the response."""


@dataclass(frozen=True)
class StepResult:
    """A completed step."""

    step: Step
    request: Request
    response: Response
    good: bool
    device: Device
    """The client after the step."""


def run_steps(send: Send, device: Device, steps: tuple[Step, ...]) -> Iterator[StepResult]:
    """Run the steps until a response is not good."""
    for step in steps:
        request = step.request(device)
        response = send(request)
        good = step.good(response)
        if good:
            device = step.update(device, response)
        yield StepResult(step, request, response, good, device)
        if not good:
            return


def with_client_guid(device: Device, response: Response) -> Device:
    """Use the client GUID in the reply to a registration."""
    return device.with_guid(ET.fromstring(document(response)).get("SMSID", ""))


def _list(name: str, query: str, root: str) -> Step:
    """Public information of a management point (protocol.md 4)."""
    target = f"/SMS_MP/.sms_aut?{query}"
    return Step(name, lambda device: device.get(target), has_root(root))


def _location(
    name: str, root: str, reply: str, package: str = documents.PACKAGE, kind: str = "SMSPackage"
) -> Step:
    def request(device: Device) -> Request:
        xml = documents.location_request(
            root,
            site=device.site,
            package=package,
            kind=kind,
            on_internet=device.on_internet,
        )
        return device.post("MP_LocationManager", xml)

    return Step(name, request, replies_with(reply))


def _policy(name: str, policy: str, *, signed: bool) -> Step:
    target = f"/SMS_MP/.sms_pol?{policy}.1_00"
    return Step(name, lambda device: device.get(target, signed=signed), has_root("Policy"))


def _report(name: str, endpoint: str, xml: Callable[[str], str], file_type: str = "") -> Step:
    return Step(
        name,
        lambda device: device.report(endpoint, xml(device.guid), file_type=file_type),
        accepted,
    )


def _heartbeat(device: Device) -> Request:
    header, body = documents.heartbeat(device.guid, name=device.name)
    return device.report("MP_DdrEndpoint", body, attached=header)


def _policy_request(device: Device) -> Request:
    xml = documents.policy_request(device.guid, fqdn=device.name, site=device.site)
    return device.post("MP_PolicyManager", xml)


_PROPFIND = (  # protocol.md 7
    b'<?xml version="1.0"?><propfind xmlns="DAV:"><prop><iscollection/><getcontentlength/></prop>'
    b"</propfind>"
)


def listing(package: str) -> Request:
    """protocol.md 7: the file list of a package."""
    fields = {"Depth": "infinity", "Translate": "f", "Content-Type": "text/xml"}
    return Request("PROPFIND", package, (("User-Agent", AGENT), *fields.items()), _PROPFIND)


_BITS = (("User-Agent", "Microsoft BITS/7.8"),)


def _upload_request(device: Device) -> Request:
    xml = documents.upload_request(network=int(device.on_internet))
    return device.post("MP_HinvEndpoint", xml)


def _upload(device: Device) -> Upload:
    """A report that is too large for a message (protocol.md 3.6)."""
    payload = documents.inventory_report(device.guid, rows=50).encode("utf-16-le")
    name = device.guid.removeprefix("GUID:") or "unknown"
    return Upload(f"/CCM_Incoming/{name}.msg", zlib.compress(payload), device.session)


REGISTRATION = Step(
    "registration",
    Device.registration,
    replies_with("ClientRegistrationResponse"),
    with_client_guid,
)
MANAGEMENT_POINTS = _location(
    "other management points", "EnumerateMPLocationRequest", "EnumerateMPLocationReply"
)
POLICY_REQUEST = Step("policy request", _policy_request, replies_with("ReplyAssignments"))
CONTENT_LOCATION = _location("content location", "ContentLocationRequest", "ContentLocationReply")
UPDATE_POINT = _location("software update point", "WSUSLocationRequest", "WSUSLocationReply")
UPDATE_LOCATION = _location(
    "content location of the update",
    "ContentLocationRequest",
    "ContentLocationReply",
    f'<Package ID="{wsus.CONTENT}" Version="1" DeploymentFlags="0" />',
    "SMSUpdate",
)
CLOUD_LOCATION = _location(
    "content location in the cloud",
    "ContentLocationRequest",
    "ContentLocationReply",
    f'<Package ID="{CLOUD_PACKAGE}" Version="1" DeploymentFlags="0" />',
)

CONTENT_STEPS = (
    Step("listing of the content", lambda _: listing(PACKAGE), starts_with(b"<?xml", 207)),
    Step("size of a file", lambda _: Request("HEAD", FILE, _BITS), names_its_size),
    Step(
        "part of a file",
        lambda _: Request("GET", FILE, (*_BITS, ("Range", f"bytes={FIRST}-{LAST}"))),
        is_the_range,
    ),
)
"""At a distribution point."""

UPLOAD_STEPS = (
    Step("upload: session", lambda device: _upload(device).create(), acknowledged, with_session),
    Step("upload: begin", lambda device: _upload(device).fragments(2)[0], acknowledged),
    Step("upload: end", lambda device: _upload(device).fragments(2)[1], acknowledged),
    Step("upload: close", lambda device: _upload(device).close(), acknowledged),
)
"""At the management point that the reply to the request names (protocol.md 3.6)."""

LIFE = (
    REGISTRATION,
    _location("site information", "SiteInformationRequest", "SiteInformationReply"),
    _list("management points", "MPLIST", "MPList"),
    _list("management points on the Internet", "MPLIST1", "MPList"),
    _list("management points of the site", "MPLIST2&LAB", "MPList"),
    _list("certificate of the management point", "MPCERT", "MPCertificate"),
    _list("certificates of the management point", "MPCERT2", "MPCertificates"),
    _list("certificate of the site", "SITESIGNCERT", "X509Data"),
    _list("keys of the management point", "MPKEYINFORMATIONEX", "MPKEYINFORMATION"),
    _list("trusted root key", "MPTRK", "KEYDATA"),
    MANAGEMENT_POINTS,
    POLICY_REQUEST,
    _policy("public policy", PLAIN_POLICY, signed=False),
    _policy("policy with secrets", SECRET_POLICY, signed=True),
    _policy("policy of a task sequence", TASK_SEQUENCE_POLICY, signed=True),
    CONTENT_LOCATION,
    *CONTENT_STEPS,
    UPDATE_POINT,
    Step(
        "state of applications",
        lambda device: device.post("MP_AppStateManager", documents.application_state()),
        replies_with("AppstateManagerReply"),
    ),
    Step("heartbeat", _heartbeat, accepted),
    _report("hardware inventory", "MP_HinvEndpoint", documents.inventory_report),
    _report("software inventory", "MP_SinvEndpoint", documents.software_inventory),
    _report("state", "MP_RelayEndpoint", documents.state_report, "SMX"),
    _report("status", "StatusReceiver", documents.status_message),
    Step(
        "request to upload",
        _upload_request,
        replies_with("UploadReply"),
    ),
    *UPLOAD_STEPS,
    Step("registration renewal", Device.registration, replies_with("ClientRegistrationResponse")),
)
"""The steps of an Internet-only client (protocol.md 11)."""


# Boot media


def _refused(response: Response) -> bool:
    return response.status in (403, 404)


def _media_post(endpoint: str, xml: str) -> Callable[[Device], Request]:
    return lambda device: device.post(endpoint, xml, reply_to="direct:OSD", agent=f"{AGENT} TS")


def _media_get(target: str) -> Callable[[Device], Request]:
    return lambda device: device.get(target, agent=f"{AGENT} TS")


def _media_registration(device: Device) -> Request:
    return device.registration(agent_type=1)


def _media_policy(device: Device) -> Request:
    """5: the GUID of the media is in braces."""
    media = device.with_guid(f"{{{UUID(int=5)}}}")
    return media.get(f"/SMS_MP/.sms_pol?{SECRET_POLICY}.1_00", signed=True, agent=f"{AGENT} TS")


def media_message(device: Device) -> bytes:
    """1.3: an uncompressed policy request in the form that only boot media uses."""
    header = f"<Msg><ID/><SourceID>{UUID(int=5)}</SourceID><ReplyTo>direct:OSD</ReplyTo>"
    header += '<Body Type="ByteRange" Length="728" Offset="0"/></Msg>'
    body = documents.policy_request(str(UUID(int=5)), fqdn=device.name)
    parts = {"Msg": "\ufeff" + header, "RequestAssignments": body + "\r\n\0\0"}
    head = '\r\nContent-Disposition: form-data; name="{}"\r\n\r\n'
    return (
        b"".join(
            b"--%b" % ccm.BOUNDARY + head.format(name).encode() + text.encode("utf-16-le") + b"\r\n"
            for name, text in parts.items()
        )
        + b"--%b--" % ccm.BOUNDARY
    )


def _media_message_to(directory: str) -> Callable[[Device], Request]:
    def request(device: Device) -> Request:
        message = posted(media_message(device), f"{AGENT} TS")
        return Request(message.method, f"/{directory}/request", message.headers, message.body)

    return request


BOOT_MEDIA = tuple(
    Step(name, request, _refused)
    for name, request in {
        "keys and unknown computers": _media_get("/SMS_MP/.sms_aut?MPKEYINFORMATIONMEDIA"),
        "management points": _media_get("/SMS_MP/.sms_aut?MPLOCATION&ir=192.0.2.1&ip=192.0.2.0"),
        "client identity": _media_post("MP_ClientIdManager", "<ClientIDRequest/>"),
        "registration": _media_registration,
        "policy request": _media_message_to("ccm_system"),
        "policy request without certificate": _media_message_to("ccm_system_AltAuth"),
        "location of the image": _media_post(
            "MP_LocationManager", documents.location_request("ContentLocationRequest")
        ),
        "policy for the media": _media_policy,
        "policy without certificate": _media_get(f"/SMS_MP_AltAuth/.sms_pol?{SECRET_POLICY}.1_00"),
        "drivers": _media_post("MP_DriverManager", "<DriverRequest/>"),
    }.items()
)
"""Not supported over the Internet (NO-OSD, protocol.md 2.4)."""
