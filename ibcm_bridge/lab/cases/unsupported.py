"""Cases about what is not supported over the Internet, and what is beside it."""

from __future__ import annotations

from ibcm_bridge.lab.cases import messages as say
from ibcm_bridge.lab.cases import requests as send
from ibcm_bridge.lab.cases.case import OK, Case, Disposition, refused

NOT_SUPPORTED = (
    Case(
        "boot-media",
        "question of boot media",
        "NO-OSD",
        "Operating systems are not deployed over the Internet.",
        send.plain("GET", "/SMS_MP/.sms_aut?MPKEYINFORMATIONMEDIA"),
        refused(404),
    ),
    Case(
        "client-setup",
        "client setup files",
        "NO-CLIENT-DEPLOYMENT",
        "Nor are clients: and that directory asks for no certificate.",
        send.plain("GET", "/CCM_Client/ccmsetup.exe"),
        refused(404),
    ),
    Case(
        "site-assignment",
        "question for the site to belong to",
        "NO-SITE-ASSIGNMENT",
        "The message has the right form; what it asks is not answered over the Internet.",
        say.site_assignment,
        refused(403),
    ),
    Case(
        "out-of-band",
        "message of out-of-band management",
        "NO-WAKE-ON-LAN",
        "As above: only whoever reads the message knows.",
        say.out_of_band,
        refused(403),
    ),
    Case(
        "user-policy",
        "user policy by Windows authentication",
        "NO-USER-DEPLOYMENT",
        "Refused here because this publication has not opted into Windows authentication.",
        send.plain("GET", "/SMS_MP_WindowsAuth/.sms_pol?{LAB00001}.1_00", send.TICKET),
        refused(404),
        also=("USER-WINDOWS-AUTH",),
    ),
    Case(
        "user-policy-message",
        "user policy past Windows authentication",
        "NO-USER-DEPLOYMENT",
        "The same question, as a message to the directory of computers: it names a user whom "
        "nobody has authenticated.",
        say.user_policy,
        refused(403),
        Disposition.REFUSED_THERE,
    ),
    Case(
        "boot-media-registration",
        "registration of boot media",
        "NO-OSD",
        "It says of itself that it is no client of a running system (AgentType 1).",
        say.boot_media_registration,
        refused(403),
    ),
    Case(
        "boot-media-identity",
        "who am I, asks boot media",
        "NO-OSD",
        "A message, where the first question of boot media was a URL.",
        say.boot_media_identity,
        refused(403),
    ),
    Case(
        "task-sequence",
        "task sequence without operating system",
        "NO-OSD",
        "Task sequences as such are supported: their policy passes like any other.",
        say.task_sequence,
        OK,
    ),
    Case(
        "client-package",
        "where is the client's own package",
        "NO-CLIENT-DEPLOYMENT",
        "The content of client upgrades is asked for like any other, but for one element.",
        say.client_package,
        refused(403),
    ),
    Case(
        "token-request",
        "request for a token",
        "BRIDGE-AUTH-COMPUTER",
        "A token would take the certificate's place, in directories that ask for none.",
        say.token_request,
        refused(403),
    ),
)
