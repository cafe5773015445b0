"""The documents in the replies of the simulated management point (protocol.md 3 and 4).

Their names belong to the network in the request. A leaking site (`Site.leaks`) returns intranet
names in replies about `LEAKY_SITE`, so that a single request can demonstrate a leak.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID
from xml.etree import ElementTree as ET
from xml.sax.saxutils import quoteattr

from ibcm_bridge.lab.protocol.ccm import SENT_TIME


class Names(NamedTuple):
    """The names of site systems in replies."""

    management_points: tuple[str, ...]
    distribution_points: tuple[str, ...]
    update_point: str
    """Empty if the site has none."""
    listed: tuple[tuple[str, str], ...]
    """The intranet and the Internet name of each management point of the site; empty for none."""
    site: str = "LAB"
    primary: str = "LAB"
    """The site code of its primary site: the same, unless it is a secondary site."""


class SiteNames(NamedTuple):
    """The names in the replies of a site, by the network of the client."""

    internet: Names
    intranet: Names


PUBLISHED = ("bridge.internet.example", "bridge2.internet.example")
"""The Internet names; a client selects one (CLIENT-PICK)."""

INTERNET = Names(PUBLISHED, PUBLISHED, PUBLISHED[0], tuple(("", name) for name in PUBLISHED))
INTRANET = Names(
    ("mp01.corp.example",),
    ("dp01.corp.example",),
    "sup01.corp.example",
    (("mp01.corp.example", PUBLISHED[0]), ("", PUBLISHED[1])),
)
LAB = SiteNames(INTERNET, INTRANET)

LEAKY_SITE = "INT"
"""The site code of the leaking site, and the prefix of its package ids."""

TASK_SEQUENCE, REQUIRES_AUTH, SECRET, INTRANET_ONLY = 1, 2, 4, 8
"""PolicyFlags (3.2)."""

POLICIES = {
    "{LAB00001}": 0,
    "LAB20000-LAB00002-6F6BCC28": REQUIRES_AUTH | SECRET,
    "LAB20003-LAB00003-6F6BCC28": TASK_SEQUENCE,
}
"""Policy id -> flags. An id is a GUID or plain text (3.2)."""

INTRANET_POLICY = "LAB20004-LAB00004-6F6BCC28"
USER_POLICY = "LAB20005-LAB00005-6F6BCC28"
"""The policy of all users."""


def assignments(more: dict[str, int] | None = None) -> str:
    """3.2. `<mp>` is literal: the client replaces it with the name of the management point."""
    policies = POLICIES | (more or {})
    return (
        '<ReplyAssignments SchemaVersion="1.00" ReplyType="Full">'
        + "".join(_assignment(policy, flags) for policy, flags in policies.items())
        + "</ReplyAssignments>"
    )


def user_assignments() -> str:
    """3.2, for a user: the policy is in a directory with Windows authentication (section 4)."""
    assignment = _assignment(USER_POLICY, 0, "User", "SMS_MP_WindowsAuth")
    return (
        f'<ReplyAssignments SchemaVersion="1.00" ReplyType="Full">{assignment}</ReplyAssignments>'
    )


def _assignment(policy: str, flags: int, kind: str = "Machine", directory: str = "SMS_MP") -> str:
    return (
        f'<PolicyAssignment PolicyAssignmentID="{policy}"><Policy PolicyID="{policy}" '
        f'PolicyVersion="1.00" PolicyType="{kind}" PolicyFlags="{flags}"><PolicyLocation>'
        f"<![CDATA[http://<mp>/{directory}/.sms_pol?{policy}.1_00]]></PolicyLocation></Policy>"
        "</PolicyAssignment>"
    )


ASSIGNMENTS = assignments()

ERROR_PAGE = b"<html><head><title>ERROR</title></head><body></body></html>"
"""A management point returns this instead of a policy (1.7)."""


def content_location(request: ET.Element, names: Names, token: str = "") -> str:
    """3.4. The content id is the package id of the request.

    The place of `token`, for content in the cloud, is inferred.
    """
    package = request.find("Package")
    content = package.get("ID", "") if package is not None else f"Content_{UUID(int=7)}.1"
    version = package.get("Version", "1") if package is not None else "1"
    records = (_content_record(host, content, version, token) for host in names.distribution_points)
    return (
        '<ContentLocationReply SchemaVersion="1.00" ContentFlags="16777216" HashAlgorithm="32780">'
        f'<Sites><Site><MPSite SiteCode="{names.site}" MasterSiteCode="{names.primary}" '
        'SiteLocality="LOCAL" '
        'IISPreferedPort="80" IISSSLPreferedPort="443"/><LocationRecords>'
        f"{''.join(records)}</LocationRecords></Site></Sites></ContentLocationReply>"
    )


def _content_record(host: str, content: str, version: str, token: str) -> str:
    url = quoteattr(f"https://{host}/SMS_DP_SMSPKG$/{content}")
    signature = quoteattr(f"https://{host}/SMS_DP_SMSSIG$/{content}.{version}.tar")
    return (
        f"<LocationRecord><URL Name={url} Signature={signature}"
        f"{f' Token={quoteattr(token)}' if token else ''}/>"
        '<ADSite Name=""/><IPSubnets/><Metric Value=""/>'
        f"<Version>9128</Version>{_CAPABILITIES}<ServerRemoteName>{host}</ServerRemoteName>"
        '<DPType>SERVER</DPType><Windows Trust="1"/><Locality>REMOTE</Locality></LocationRecord>'
    )


def wsus_location(_request: ET.Element, names: Names) -> str:
    """3.4."""
    host = names.update_point
    record = f'<LocationRecord WSUSURL="https://{host}:8531" ServerName="{host}" Version="1"/>'
    return (
        '<WSUSLocationReply SchemaVersion="1.00"><Sites><Site><LocationRecords>'
        f"{record if host else ''}</LocationRecords></Site></Sites></WSUSLocationReply>"
    )


def management_points(_request: ET.Element, names: Names) -> str:
    """3.4."""
    points = (
        f"<MP>{_name('IntranetName', intranet)}{_name('InternetName', internet)}"
        f'<Version>9128</Version>{_CAPABILITIES}<Windows Trust="1"/></MP>'
        for intranet, internet in names.listed
    )
    return (
        f'<EnumerateMPLocationReply SchemaVersion="1.00">{"".join(points)}'
        "</EnumerateMPLocationReply>"
    )


def _name(element: str, value: str) -> str:
    return f'<{element} Value="{value}"/>' if value else ""


def site_information(_request: ET.Element, names: Names) -> str:
    """3.4."""
    return (
        '<SiteInformationReply SchemaVersion="1.00"><Sites>'
        f'<Site SiteCode="{names.site}" Version="5.00" '
        f'BuildNumber="9128" DefaultMP="{names.management_points[0]}"><ClientOperationalSettings>'
        '<SecurityConfiguration SecurityModeMask="0" HTTPPort="80" HTTPSPort="443" '
        'CertificateStoreName="MY" CertificateSelectFirstFlag="1"/></ClientOperationalSettings>'
        "</Site></Sites></SiteInformationReply>"
    )


_CAPABILITIES = (  # native mode, with revocation check (3.4)
    '<Capabilities SchemaVersion="1.0"><Property Name="SSLState" Value="63"/></Capabilities>'
)

LOCATIONS: dict[str, Callable[[ET.Element, Names], str]] = {
    "ContentLocationRequest": content_location,
    "WSUSLocationRequest": wsus_location,
    "EnumerateMPLocationRequest": management_points,
    "SiteInformationRequest": site_information,
}
"""Root element of the request -> document (2.2)."""

BARE = {
    ("mp_locationmanager", "AssignedSiteRequest"): "AssignedSiteReply",
    ("mp_locationmanager", "LocalMPLocationRequest"): "LocalMPLocationReply",
    ("mp_locationmanager", "UpdateSFRequest"): "UpdateSFReply",
    ("mp_locationmanager", "TokenServicesRequest"): "TokenServicesReply",
    ("mp_clientidmanager", "ClientIDRequest"): "ClientIDReply",
    ("mp_drivermanager", "DriverRequest"): "DriverReply",
    ("mp_oobmgr", "OOBRequest"): "OOBReply",
    ("mp_appstatemanager", "AppStateServicesRequest"): "AppstateManagerReply",
}
"""Endpoint and root element -> root element of an empty reply, which shows that the request was
accepted. AppstateManagerReply is the name in Microsoft's SDK (4); DriverRequest, OOBRequest and
most other names are inferred."""


def upload_reply(message_id: str, names: Names) -> str:
    """3.6: the upload location for a report that is too large for a message."""
    host = names.management_points[0]
    return (
        f"<UploadReply><Host>{host}</Host><URL>https://{host}/CCM_Incoming/{message_id}.msg</URL>"
        "</UploadReply>"
    )


def registration_response(guid: str, status: int) -> str:
    """3.1. A client with status Registered is approved, one with Pending is not."""
    approval = 1 if status == 0 else 0
    return (
        f'<ClientRegistrationResponse ResponseType="Registration" TimeStamp="{SENT_TIME}" '
        f'Status="{status}" SMSID="{guid}" ApprovalStatus="{approval}"/>'
    )


ROOTS = {  # of .sms_aut responses (4); all other queries are policies
    **dict.fromkeys(("MPLIST", "MPLIST1", "MPLIST2"), "MPList"),
    "MPCERT": "MPCertificate",
    "MPCERT2": "MPCertificates",
    **dict.fromkeys(
        ("MPKEYINFORMATION", "MPKEYINFORMATIONEX", "MPKEYINFORMATIONMEDIA"), "MPKEYINFORMATION"
    ),
    "MPTRK": "KEYDATA",
    "SITESIGNCERT": "X509Data",
}
"""Query -> root element. Those of MPCERT, MPKEYINFORMATIONEX and MPTRK are from Microsoft's SDK;
MPCertificates for MPCERT2 is inferred. Only the content of lists is known."""


def authority(query: str, names: Names = INTERNET) -> bytes:
    """4: lists, certificates and keys. The root element is that of the query."""
    root = ROOTS.get(query.partition("&")[0].upper(), "Policy")
    content = _list(names) if root == "MPList" else ""
    return f"<{root} Query={quoteattr(query)}>{content}</{root}>".encode()


def _list(names: Names) -> str:
    return "".join(
        f'<MP Name="MP0{number}" FQDN="{name}" SiteCode="{names.site}"><Version>9128</Version>'
        f"{_CAPABILITIES}</MP>"
        for number, name in enumerate(names.management_points, 1)
    )
