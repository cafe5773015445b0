"""A simulated software update point: the web services of WSUS (protocol.md 8.2, [MS-WUSP]).

How it works (section numbers are those of [MS-WUSP]):

1. As .asmx does, it dispatches on the action in the head, and reads the parameters in the body.
2. `OPERATIONS` are the operations of a scan. There is one update in one category, so that a client
   must synchronize twice (2.2.2.2.4).
3. It accepts only its own cookies, and returns a fault for others (2.2.2.4). A cookie contains its
   data and a digest, so the server stores no state.
4. All other operations of all services return an empty response, also those for administrators and
   downstream servers (8.2). The bridge must refuse them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

from ibcm_bridge.lab.protocol import wsus
from ibcm_bridge.lab.protocol.content import VALIDATORS, ServerResponse
from ibcm_bridge.lab.protocol.wsus import CATEGORY, CLIENT, REPORTING, SIMPLE_AUTH, UPDATE
from ibcm_bridge.lab.site_systems.server_request import (
    ACCEPTED,
    HTML,
    NOT_FOUND,
    READ_METHODS,
    XML,
    ServerRequest,
)

EXPIRES = "2036-01-01T00:00:00Z"
CHANGED = "2026-01-01T00:00:00Z"
SEAL = 16
"""Bytes of the digest before the data of a cookie."""


class _Fault(Exception):
    """2.2.2.4: a SOAP fault with this error code."""


def software_update_point(request: ServerRequest) -> ServerResponse:
    """Respond as a web service, or as the unpublished directories next to them."""
    path = f"{request.directory}/{request.rest}"
    if request.method == "POST" and path.endswith(".asmx"):
        return _dispatch(path, request)
    if request.method not in READ_METHODS:
        return ACCEPTED
    if (
        request.directory == "selfupdate" and path.endswith(".cab")
    ) or request.directory == "content":
        return ServerResponse(200, range(wsus.SIZE), VALIDATORS)
    if path == wsus.TEST_PAGE:
        return ServerResponse(200, b'<?xml version="1.0" encoding="utf-8"?><StandIn/>', XML)
    if request.directory == "inventory" or path.endswith(".asmx"):
        return ServerResponse(200, f"<html>simulated {escape(path)}</html>".encode(), HTML)
    return NOT_FOUND


def _dispatch(path: str, request: ServerRequest) -> ServerResponse:
    namespace, _, operation = _action(request).rpartition("/")
    service = wsus.NAMESPACES.get(path, namespace)
    handler = OPERATIONS.get((path, operation))
    try:
        if handler is None:
            return _soap(f"<{operation or 'Unnamed'}Response xmlns={quoteattr(service)}/>")
        inner = handler(_parameters(request.body))
    except (_Fault, ET.ParseError) as problem:
        code = str(problem) if isinstance(problem, _Fault) else "InvalidParameters"
        return _soap(_fault(code, operation), 500)
    return _soap(f"<{operation}Response xmlns={quoteattr(service)}>{inner}</{operation}Response>")


def _action(request: ServerRequest) -> str:
    """SOAP 1.1 section 6.1.1; SOAP 1.2 has it in Content-Type (RFC 3902)."""
    _, _, given = request.headers.get("content-type", "").partition("action=")
    return request.headers.get("soapaction", given.partition(";")[0]).strip('"')


def _parameters(body: bytes) -> ET.Element:
    """Return the element in the Body, without namespaces."""
    envelope = ET.fromstring(body)
    for element in envelope.iter():
        element.tag = element.tag.rpartition("}")[2]
    found = envelope.find("Body/*")
    return ET.Element("nothing") if found is None else found


def _soap(inner: str, status: int = 200) -> ServerResponse:
    text = (
        '<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="http://schemas.xmlsoap.'
        f'org/soap/envelope/"><soap:Body>{inner}</soap:Body></soap:Envelope>'
    )
    return ServerResponse(status, text.encode(), XML)


def _fault(code: str, method: str) -> str:
    return (
        "<soap:Fault><faultcode>soap:Client</faultcode><faultstring>Fault occurred</faultstring>"
        f"<detail><ErrorCode>{code}</ErrorCode><Message></Message>"
        "<ID>00000000-0000-0000-0000-000000000001</ID>"
        f"<Method>{escape(method)}</Method></detail></soap:Fault>"
    )


# Cookies


def _seal_text(kind: str, text: str) -> str:
    data = text.encode()
    return base64.b64encode(_seal(kind, data) + data).decode()


def _open(kind: str, element: ET.Element, path: str, fault: str) -> str:
    try:
        data = base64.b64decode(element.findtext(path, ""), validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if len(data) <= SEAL or data[:SEAL] != _seal(kind, data[SEAL:]):
        raise _Fault(fault)
    return data[SEAL:].decode("utf-8", "replace")


def _seal(kind: str, data: bytes) -> bytes:
    return hashlib.sha256(f"ibcm-bridge lab {kind}:".encode() + data).digest()[:SEAL]


def _cookie(text: str, name: str) -> str:
    """2.2.3.5."""
    data = _seal_text("cookie", text)
    return (
        f"<{name}><Expiration>{EXPIRES}</Expiration><EncryptedData>{data}</EncryptedData></{name}>"
    )


def _cookie_owner(parameters: ET.Element) -> str:
    """Verify the cookie; return its client. Each operation after GetCookie needs it (2.2.2.4)."""
    return _open("cookie", parameters, "cookie/EncryptedData", "InvalidCookie")


# Operations


def _configuration(_parameters: ET.Element) -> str:
    """2.2.2.2.1."""
    properties = {"MaxExtendedUpdatesPerRequest": "50", "ProtocolVersion": "3.2"}
    properties |= {"IsInventoryRequired": "0", "ClientReportingLevel": "2"}
    listed = "".join(
        f"<ConfigurationProperty><Name>{name}</Name><Value>{value}</Value></ConfigurationProperty>"
        for name, value in properties.items()
    )
    return (
        f"<GetConfigResult><LastChange>{CHANGED}</LastChange><IsRegistrationRequired>true"
        "</IsRegistrationRequired><AuthInfo><AuthPlugInInfo><PlugInID>SimpleTargeting</PlugInID>"
        "<ServiceUrl>SimpleAuthWebService/SimpleAuth.asmx</ServiceUrl></AuthPlugInInfo></AuthInfo>"
        "<AllowedEventIds><int>147</int><int>162</int><int>183</int></AllowedEventIds>"
        f"<Properties>{listed}</Properties></GetConfigResult>"
    )


def _authorization(parameters: ET.Element) -> str:
    """2.2.2.1.1."""
    client = parameters.findtext("clientId", "")
    if not client:
        raise _Fault("InvalidParameters")
    return (
        "<GetAuthorizationCookieResult><PlugInId>SimpleTargeting</PlugInId><CookieData>"
        f"{_seal_text('authorization', client)}</CookieData></GetAuthorizationCookieResult>"
    )


def _first_cookie(parameters: ET.Element) -> str:
    """2.2.2.2.2."""
    path = "authCookies/AuthorizationCookie/CookieData"
    client = _open("authorization", parameters, path, "InvalidAuthorizationCookie")
    return _cookie(client, "GetCookieResult")


def _registration(parameters: ET.Element) -> str:
    """2.2.2.2.3."""
    _cookie_owner(parameters)
    return ""


def _synchronized(result: str) -> Callable[[ET.Element], str]:
    """2.2.2.2.4, 2.2.2.2.9: the category first; the update once the category is installed."""

    def handler(parameters: ET.Element) -> str:
        client = _cookie_owner(parameters)
        installed = _revisions(parameters, "parameters/InstalledNonLeafUpdateIDs/int")
        known = installed | _revisions(parameters, "parameters/OtherCachedUpdateIDs/int")
        new = [] if CATEGORY in known else [(CATEGORY, "Evaluate", "false", "Category")]
        if CATEGORY in installed and UPDATE not in known:
            new.append((UPDATE, "Install", "true", "Software"))
        listed = "".join(
            f"<UpdateInfo><ID>{revision}</ID>{_deployment(revision, action)}<IsLeaf>{leaf}</IsLeaf>"
            f"<Xml>{escape(wsus.core(revision, kind))}</Xml></UpdateInfo>"
            for revision, action, leaf, kind in new
        )
        return (
            f"<{result}><NewUpdates>{listed}</NewUpdates><Truncated>false</Truncated>"
            f"{_cookie(client, 'NewCookie')}<DriverSyncNotNeeded>true</DriverSyncNotNeeded>"
            f"</{result}>"
        )

    return handler


def _deployment(revision: int, action: str) -> str:
    return (
        f"<Deployment><ID>{revision}</ID><Action>{action}</Action><IsAssigned>true</IsAssigned>"
        f"<LastChangeTime>{CHANGED[:10]}</LastChangeTime></Deployment>"
    )


def _refreshed(parameters: ET.Element) -> str:
    """2.2.2.2.5."""
    _cookie_owner(parameters)
    listed = "".join(
        f"<RefreshCacheResult><RevisionID>{revision}</RevisionID>{wsus.identity(revision)}"
        f"<IsLeaf>{'true' if revision == UPDATE else 'false'}</IsLeaf>"
        f"{_deployment(revision, 'Install')}"
        "</RefreshCacheResult>"
        for revision in (CATEGORY, UPDATE)
        if wsus.update_id(revision) in {found.text for found in parameters.iter("UpdateID")}
    )
    return f"<RefreshCacheResult>{listed}</RefreshCacheResult>"


def _extended(path: str, result: str) -> Callable[[ET.Element], str]:
    """2.2.2.2.6, 2.2.2.2.10."""

    def handler(parameters: ET.Element) -> str:
        _cookie_owner(parameters)
        wanted = {found.text for found in parameters.iterfind(path)}
        is_wanted = wanted & {str(UPDATE), wsus.update_id(UPDATE)}
        listed = f"<Update><ID>{UPDATE}</ID><Xml>{escape(wsus.EXTENDED)}</Xml></Update>"
        files = _file_locations()
        return (
            f"<{result}><Updates>{listed if is_wanted else ''}</Updates>"
            f"<FileLocations>{files if is_wanted else ''}</FileLocations></{result}>"
        )

    return handler


def _located(parameters: ET.Element) -> str:
    """2.2.2.2.7."""
    client = _cookie_owner(parameters)
    digests = {found.text for found in parameters.iterfind("fileDigests/base64Binary")}
    files = _file_locations() if wsus.DIGEST in digests else ""
    return (
        f"<GetFileLocationsResult><FileLocations>{files}</FileLocations>"
        f"{_cookie(client, 'NewCookie')}</GetFileLocationsResult>"
    )


def _file_locations() -> str:
    """2.2.2.2.7. The files are on Microsoft Update."""
    url = f"http://{wsus.MICROSOFT_UPDATE}/{wsus.FILE}"
    return (
        f"<FileLocation><FileDigest>{wsus.DIGEST}</FileDigest><Url>{escape(url)}</Url>"
        "</FileLocation>"
    )


def _categories(parameters: ET.Element) -> str:
    """2.2.2.2.8."""
    wanted = [found.text or "" for found in parameters.iter("CategoryId")]
    known = wsus.update_id(CATEGORY)
    unknown = "".join(
        f"<guid>{escape(category)}</guid>" for category in wanted if category != known
    )
    return (
        f"<preferredCategoryIds><guid>{known}</guid></preferredCategoryIds>"
        f"<requestedCategoryIdsInError>{unknown}</requestedCategoryIdsInError>"
    )


def _reported(parameters: ET.Element) -> str:
    """2.2.2.3.1."""
    _cookie_owner(parameters)
    return "<ReportEventBatchResult>true</ReportEventBatchResult>"


def _revisions(parameters: ET.Element, path: str) -> set[int]:
    return {int(found.text or "0") for found in parameters.iterfind(path)}


OPERATIONS: dict[tuple[str, str], Callable[[ET.Element], str]] = {
    (SIMPLE_AUTH, "GetAuthorizationCookie"): _authorization,
    (CLIENT, "GetConfig"): _configuration,
    (CLIENT, "GetCookie"): _first_cookie,
    (CLIENT, "RegisterComputer"): _registration,
    (CLIENT, "SyncUpdates"): _synchronized("SyncUpdatesResult"),
    (CLIENT, "SyncPrinterCatalog"): _synchronized("SyncPrinterCatalogResult"),
    (CLIENT, "RefreshCache"): _refreshed,
    (CLIENT, "GetExtendedUpdateInfo"): _extended("revisionIDs/int", "GetExtendedUpdateInfoResult"),
    (CLIENT, "GetExtendedUpdateInfo2"): _extended(
        "updateIDs/UpdateIdentity/UpdateID", "GetExtendedUpdateInfo2Result"
    ),
    (CLIENT, "GetFileLocations"): _located,
    (CLIENT, "StartCategoryScan"): _categories,
    (REPORTING, "ReportEventBatch"): _reported,
}
"""Path of the service in lower case, and operation -> content of the response."""
