"""Cases about features that are not supported over the Internet, and similar requests."""

from __future__ import annotations

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.cases import messages, requests
from ibcm_bridge.lab.cases.case import Case, Disposition, identified, refused
from ibcm_bridge.lab.cases.identity import REGISTERED

NOT_SUPPORTED = (
    Case(
        "boot-media",
        "boot-media lookup",
        "NO-OSD",
        "Operating system deployment is not supported over the Internet.",
        requests.plain("GET", "/SMS_MP/.sms_aut?MPKEYINFORMATIONMEDIA"),
        refused(404, Reason.RESOURCE, "management-point.directories.sms_mp"),
    ),
    Case(
        "client-setup",
        "client setup download (ccmsetup.exe)",
        "NO-CLIENT-DEPLOYMENT",
        "Client deployment is not supported over the Internet. This directory requires no client "
        "certificate.",
        requests.plain("GET", "/CCM_Client/ccmsetup.exe"),
        refused(404, Reason.DIRECTORY, "bridge.internet.example.directories"),
    ),
    Case(
        "site-assignment",
        "automatic site assignment",
        "NO-SITE-ASSIGNMENT",
        "The message is well-formed, but site assignment is not supported over the Internet.",
        messages.site_assignment,
        refused(403, Reason.MESSAGE, "endpoints.refused"),
    ),
    Case(
        "out-of-band",
        "out-of-band management (AMT) message",
        "NO-WAKE-ON-LAN",
        "Only a proxy that inspects the message can refuse it.",
        messages.out_of_band,
        refused(403, Reason.MESSAGE, "endpoints.refused"),
    ),
    Case(
        "user-policy",
        "user policy with Windows authentication",
        "NO-USER-DEPLOYMENT",
        "This publication does not opt in to Windows authentication.",
        requests.plain("GET", "/SMS_MP_WindowsAuth/.sms_pol?{LAB00001}.1_00", requests.TICKET),
        refused(404, Reason.RESOURCE, "management-point.directories.sms_mp_windowsauth"),
        other_requirements=("USER-WINDOWS-AUTH",),
    ),
    Case(
        "user-policy-message",
        "user policy without Windows authentication",
        "NO-USER-DEPLOYMENT",
        "The same request as a message to the computer directory. It names a user who is not "
        "authenticated.",
        messages.user_policy,
        refused(403, Reason.MESSAGE, "endpoints.refused"),
        Disposition.REFUSED_BY_SITE_SYSTEM,
    ),
    Case(
        "boot-media-registration",
        "boot-media registration",
        "NO-OSD",
        "AgentType 1 marks the sender as boot media.",
        messages.boot_media_registration,
        refused(403, Reason.MESSAGE, "endpoints.refused"),
    ),
    Case(
        "boot-media-identity",
        "boot-media client identity request",
        "NO-OSD",
        "The same feature as a message, not as a URL.",
        messages.boot_media_identity,
        refused(403, Reason.MESSAGE, "endpoints.refused"),
    ),
    Case(
        "task-sequence",
        "task sequence without operating system",
        "NO-OSD",
        "Task sequences that deploy no operating system are supported. The bridge treats their "
        "policy like any other.",
        messages.task_sequence,
        identified("management-point.verbs.GET"),
        before=REGISTERED,
    ),
    Case(
        "client-package",
        "client package location (client upgrade)",
        "NO-CLIENT-DEPLOYMENT",
        "A content location request for the client upgrade. It differs from others in one element.",
        messages.client_package,
        refused(403, Reason.MESSAGE, "endpoints.refused"),
    ),
    Case(
        "token-request",
        "client token request",
        "BRIDGE-AUTH-COMPUTER",
        "A token would replace the certificate, in directories that require none.",
        messages.token_request,
        refused(403, Reason.MESSAGE, "endpoints.refused"),
    ),
)
