r"""The steps by which a client gets the policy of its user (USER-WINDOWS-AUTH, protocol.md 10)."""

from __future__ import annotations

from dataclasses import replace

from ibcm_bridge.lab.clients.device import Device
from ibcm_bridge.lab.clients.life_cycle import Step, document, has_root
from ibcm_bridge.lab.protocol import documents
from ibcm_bridge.lab.protocol.client import Request, Response
from ibcm_bridge.lab.protocol.reply_documents import USER_POLICY


def user_policy_steps(user: str) -> tuple[Step, ...]:
    r"""Request the assignments of a user (`CORP\alice`), and download the assigned policy."""

    def request(device: Device) -> Request:
        xml = documents.policy_request(device.guid, fqdn=device.name, user=user)
        posted = device.post("MP_PolicyManager", xml)
        return replace(posted, target="/CCM_System_WindowsAuth/request")

    return (
        Step("user policy request", request, _assigns_user_policy),
        Step("user policy", lambda device: device.get(_POLICY), has_root("Policy")),
    )


_POLICY = f"/SMS_MP_WindowsAuth/.sms_pol?{USER_POLICY}.1_00"


def _assigns_user_policy(response: Response) -> bool:
    return response.status == 200 and f'PolicyID="{USER_POLICY}"' in document(response)
