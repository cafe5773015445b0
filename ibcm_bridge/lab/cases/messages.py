"""The messages that the cases of the demo send. Section numbers are those of protocol.md."""

from __future__ import annotations

import zlib
from dataclasses import replace

from ibcm_bridge.lab.cases.requests import POLICY, Senders
from ibcm_bridge.lab.clients.device import AGENT, posted
from ibcm_bridge.lab.clients.life_cycle import TASK_SEQUENCE_POLICY
from ibcm_bridge.lab.protocol import ccm, documents, signing
from ibcm_bridge.lab.protocol.client import Request
from ibcm_bridge.lab.protocol.reply_documents import LEAKY_SITE

LONG_AGO = "2026-01-01T00:00:00Z"


# Valid messages


def registration(who: Senders) -> Request:
    """3.1, the first registration."""
    return who.me.with_guid("").registration()


def heartbeat(who: Senders) -> Request:
    """3.5."""
    header, body = documents.heartbeat(who.me.guid, name=who.me.name)
    return who.me.report("MP_DdrEndpoint", body, attached=header)


def policy_request(who: Senders) -> Request:
    """3.2."""
    return who.me.post("MP_PolicyManager", documents.policy_request(who.me.guid))


def task_sequence(who: Senders) -> Request:
    """3.2: a policy with the flag of a task sequence."""
    target = f"/SMS_MP/.sms_pol?{TASK_SEQUENCE_POLICY}.1_00"
    return who.me.get(target, signed=True, agent=f"{AGENT} TS")


# Identity


def with_guid_of_another(who: Senders) -> Request:
    """The GUID of another client in header and payload, signed with the sender's own key."""
    as_other = who.me.with_guid(who.other.guid)
    return as_other.report("MP_HinvEndpoint", documents.inventory_report(who.other.guid))


def with_guid_of_another_in_payload(who: Senders) -> Request:
    """3.2: no GUID in the header, as before registration."""
    xml = documents.policy_request(who.other.guid)
    return who.me.post("MP_PolicyManager", xml, client_guid="")


def with_two_guids(who: Senders) -> Request:
    """3.2: signed by the client in the header; the payload names another."""
    return who.me.post("MP_PolicyManager", documents.policy_request(who.other.guid))


def injected_guid(who: Senders) -> Request:
    """2.3: SQL after `GUID:`."""
    xml = documents.location_request("ContentLocationRequest")
    return who.me.post("MP_LocationManager", xml, client_guid="GUID:x' OR 1=1 --")


def with_payload_changed_after_signing(who: Senders) -> Request:
    """1.6: the same text, compressed differently."""
    sent = ccm.read_message(who.me.message("MP_HinvEndpoint", _inventory(who), reply_mode="ASync"))
    other = zlib.compress(zlib.decompress(sent.payload or b""), level=0)
    return posted(ccm.raw_message(sent.header_xml, other))


def unsigned_policy_request(who: Senders) -> Request:
    """3.2: without the hook that signs a message."""
    xml = documents.policy_request(who.me.guid)
    return posted(
        ccm.ccm_post_body(
            endpoint="MP_PolicyManager", body_xml=xml, client_guid=who.me.guid, sent=who.me.now
        )
    )


def registration_of_another(who: Senders) -> Request:
    """3.1: registers the certificate of another client, signed with the sender's own key."""
    return replace(who.me, certificate=who.other.certificate).with_guid("").registration()


def replayed_policy_download(who: Senders) -> Request:
    """5: header fields with an old timestamp; each signature is valid."""
    fields = (("User-Agent", AGENT), *who.me.signed_fields(LONG_AGO))
    return Request("GET", POLICY, fields)


# Content


def forbidden_endpoint(who: Senders) -> Request:
    """2.1: an internal endpoint of a management point."""
    return who.me.post("EndpointProtectionAgent", "<Anything/>")


def forbidden_root(who: Senders) -> Request:
    """A document of another endpoint."""
    return who.me.post("MP_HinvEndpoint", documents.policy_request(who.me.guid))


def update_of_the_server(who: Senders) -> Request:
    """2.3: the request that allowed SQL injection."""
    return who.me.post("MP_LocationManager", documents.location_request("UpdateSFRequest"))


def encrypted_inventory(who: Senders) -> Request:
    """3.5: random bytes, because the lab never decrypts them."""
    payload = bytes(range(256)) * 12
    hooks = signing.client_authentication_hook(who.me.guid, payload, who.me.key)
    hooks += '<Hook2 Name="encrypt"/>'
    header = ccm.message_header(
        "MP_HinvEndpoint",
        len(payload),
        hooks,
        who.me.guid,
        reply_mode="ASync",
        sent=who.me.now,
    )
    return posted(ccm.raw_message(header, payload))


def leaky_site(who: Senders) -> Request:
    """3.4: a request whose reply contains intranet names."""
    xml = documents.location_request("ContentLocationRequest", site=LEAKY_SITE)
    return who.me.post("MP_LocationManager", xml)


def intranet_policy(who: Senders) -> Request:
    """3.2: a request whose reply contains an intranet-only policy."""
    xml = documents.policy_request(who.me.guid, site=LEAKY_SITE)
    return who.me.post("MP_PolicyManager", xml)


# Not supported (2.4)


def site_assignment(who: Senders) -> Request:
    """3.4: a request for the assigned site."""
    return who.me.post("MP_LocationManager", documents.location_request("AssignedSiteRequest"))


def out_of_band(who: Senders) -> Request:
    """An out-of-band management request, for a computer that is off."""
    return who.me.post("MP_OOBMgr", "<OOBRequest/>")


def user_policy(who: Senders) -> Request:
    """3.2: a request for user policy without an authenticated user."""
    xml = documents.policy_request(who.me.guid, user="CORP\\alice")
    return who.me.post("MP_PolicyManager", xml)


def boot_media_registration(who: Senders) -> Request:
    """3.1: AgentType 1."""
    return who.me.with_guid("").registration(agent_type=1)


def boot_media_identity(who: Senders) -> Request:
    """2.1."""
    return who.me.post("MP_ClientIdManager", "<ClientIDRequest/>", agent=f"{AGENT} TS")


def client_package(who: Senders) -> Request:
    """3.4."""
    xml = documents.location_request("ContentLocationRequest", package="<ClientPackage/>")
    return who.me.post("MP_LocationManager", xml)


def token_request(who: Senders) -> Request:
    """1.1, 2.2."""
    return who.me.post("MP_LocationManager", documents.location_request("TokenServicesRequest"))


def _inventory(who: Senders) -> str:
    return documents.inventory_report(who.me.guid)
