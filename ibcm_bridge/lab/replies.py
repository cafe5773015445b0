"""What the stand-in management point answers to messages (protocol.md 1.7, 2 and 3).

It remembers who registered with which key and checks signatures with it, as a real one would; an
answer it would not give is empty.
"""

from __future__ import annotations

import zlib
from uuid import UUID, uuid5
from xml.etree import ElementTree as ET

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from ibcm_bridge.lab import ccm, signing


class MessageReplies:
    """What a management point answers to messages; it remembers who registered with which key."""

    def __init__(self) -> None:
        self._keys: dict[str, RSAPublicKey] = {}

    def reply(self, data: bytes) -> bytes:
        """The answer; empty where a management point says 200 and nothing else (1.7)."""
        try:
            message = ccm.read_message(data)
            header = ET.fromstring(message.header_xml)
            text = message.body_text() or ""
            if not self._is_signed_well(message, header.findtext("SourceID", "")):
                return b""
            answer = self._answer(header.findtext("TargetEndpoint", "").lower(), text)
        except (ValueError, LookupError, zlib.error, ET.ParseError):
            return b""
        if not answer or answer is ccm.NO_REPLY:
            return answer
        plain = answer + b"\0\0"
        if header.get("ReplyCompression") == "zlib":
            reply_header = ccm.message_header("SccmMessaging", len(plain))
            return ccm.raw_message(reply_header, zlib.compress(plain))
        reply_header = ccm.message_header("SccmMessaging", len(plain), hooks="")
        return ccm.raw_message(reply_header, plain, inner_type=b"text/plain; charset=UTF-16")

    def _answer(self, endpoint: str, text: str) -> bytes:
        if endpoint in TAKEN_IN:
            return ccm.NO_REPLY
        if endpoint == "mp_clientregistration":
            return self._register(text).encode("utf-16-le")
        if endpoint == "mp_policymanager":
            return ASSIGNMENTS.encode("utf-16-le")
        if endpoint == "mp_locationmanager":
            return LOCATIONS.get(ET.fromstring(text).tag, "").encode("utf-16-le")
        return b""

    def _register(self, text: str) -> str:
        request = ET.fromstring(text)
        der = bytes.fromhex(request.findtext("Data/Certificates/Signing", ""))
        key = x509.load_der_x509_certificate(der).public_key()
        signed = text[text.index("<Data ") : text.index("</Data>") + len("</Data>")]
        signature = request.findtext("Signature/SignatureValue", "")
        if not isinstance(key, RSAPublicKey):
            raise ValueError("ConfigMgr signs with RSA keys")
        if not signing.verifies(key, signature, signed.encode("utf-16-le")):
            raise ValueError("the registration is not signed with the key it names")
        guid = signing.smsid(str(uuid5(UUID(int=0), der.hex())))
        self._keys[guid] = key
        return (
            f'<ClientRegistrationResponse ResponseType="Registration" TimeStamp="{ccm.SENT_TIME}" '
            f'Status="0" SMSID="{guid}" ApprovalStatus="1"/>'
        )

    def _is_signed_well(self, message: ccm.Message, guid: str) -> bool:
        properties = message.hook_properties()
        if not properties or message.payload is None:
            return True  # generous: a real one wants policy requests signed (2.1)
        # Whoever has not registered is believed the key it sends, so that a test may skip that.
        blob = bytes.fromhex(properties["PublicKey"])
        exponent, modulus = (int.from_bytes(one, "little") for one in (blob[16:20], blob[20:]))
        key = self._keys.get(guid) or RSAPublicNumbers(exponent, modulus).public_key()
        signatures = properties["ClientIDSignature"], properties["PayloadSignature"]
        signed = signing.terminated(guid), message.payload
        return all(signing.verifies(key, *pair) for pair in zip(signatures, signed, strict=True))


TAKEN_IN = frozenset(
    ["mp_ddrendpoint", "mp_hinvendpoint", "mp_sinvendpoint", "mp_relayendpoint", "statusreceiver"]
)
"""Endpoints whose messages are asynchronous (2.1): `NoReply`."""

ASSIGNMENTS = (  # `<mp>` is literal: the client puts in the name it knows (3.2)
    '<ReplyAssignments SchemaVersion="1.00" ReplyType="Full"><PolicyAssignment '
    'PolicyAssignmentID="{LAB00001}"><Policy PolicyID="{LAB00001}" PolicyVersion="1.00" '
    'PolicyType="Machine" PolicyFlags="0"><PolicyLocation><![CDATA['
    "http://<mp>/SMS_MP/.sms_pol?{LAB00001}.1_00]]></PolicyLocation></Policy>"
    "</PolicyAssignment></ReplyAssignments>"
)

LOCATIONS = {  # by the root of the request (2.2, 3.4)
    "ContentLocationRequest": '<ContentLocationReply SchemaVersion="1.00"><Sites><Site><MPSite '
    'SiteCode="LAB"/><LocationRecords><LocationRecord><URL Name="https://dp.internet.example/'
    f'SMS_DP_SMSPKG$/Content_{UUID(int=7)}.1"/></LocationRecord></LocationRecords></Site></Sites>'
    "</ContentLocationReply>",
    "WSUSLocationRequest": '<WSUSLocationReply SchemaVersion="1.00"/>',
    "EnumerateMPLocationRequest": '<EnumerateMPLocationReply SchemaVersion="1.00"><MP>'
    '<InternetName Value="mp.internet.example"/></MP></EnumerateMPLocationReply>',
    "SiteInformationRequest": '<SiteInformationReply SchemaVersion="1.00"><Sites><Site '
    'SiteCode="LAB" DefaultMP="mp.internet.example"/></Sites></SiteInformationReply>',
}
