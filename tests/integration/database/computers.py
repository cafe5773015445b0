"""Clients of a bridge whose database fails."""

from __future__ import annotations

import random
from dataclasses import replace

from ibcm_bridge.lab.clients.device import Device
from ibcm_bridge.lab.clients.life_cycle import REGISTRATION, run_steps
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol import documents
from ibcm_bridge.lab.protocol.client import Request
from ibcm_bridge.lab.protocol.uploads import SESSION, Upload
from tests.integration.faults import FaultyBridge

MEBIBYTE = 1_048_576


class Computer:
    """A computer with its client GUID and one upload."""

    def __init__(self, bridge: FaultyBridge, credential: LabCredential, name: str) -> None:
        self._bridge = bridge
        self._credential = credential
        self.device = Device.of(credential, name)
        data = random.Random(name).randbytes(MEBIBYTE)
        self.upload = Upload(f"/CCM_Incoming/{name.partition('.')[0]}.msg", data)
        self._session = ""

    def register(self) -> int:
        """Register, and keep the client GUID. Return the status."""
        with self._bridge.client(self._credential) as client:
            (result,) = run_steps(client.send, self.device, (REGISTRATION,))
        self.device = result.device
        return result.response.status

    def report(self, guid: str = "") -> int:
        """Send a signed message with the client GUID. Return the status."""
        device = replace(self.device, guid=guid or self.device.guid)
        return self._send(
            device.report("MP_HinvEndpoint", documents.inventory_report(device.guid, rows=1))
        )

    def send(self, packet: Request) -> int:
        """Send a packet of the upload. Return the status."""
        fields = [
            (name, self._session if value == SESSION else value) for name, value in packet.headers
        ]
        return self._send(replace(packet, headers=tuple(fields)))

    def _send(self, request: Request) -> int:
        with self._bridge.client(self._credential) as client:
            response = client.send(request)
        self._session = response.header("BITS-Session-Id") or self._session
        return response.status
