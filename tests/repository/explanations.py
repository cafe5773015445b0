"""Whether what clients have seen is explained by what was killed, and nothing was lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ibcm_bridge.authentication.certificate import certificate_facts
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.site_systems.registrations import client_guid
from ibcm_bridge.messages.client_guid import read_guid
from tests.postgresql_server import DATABASE, PostgresqlServer
from tests.repository.retrying_clients import Failure, RetryingClients
from tests.repository.two_bridges import NAMES, TwoBridges

HAPROXY, POSTGRESQL = "haproxy", "postgresql"
CUTS = {*NAMES, HAPROXY}
"""Parts that have connections of clients. That of a database is not one."""

PASSED_ON_SECONDS = 2.0
"""HAProxy may pass on the end of a kept connection a little later, while a request begins on it."""

REASONS = {
    "identity-unavailable", "upload-unavailable",
    # on a busy machine
    "overloaded", "engine-unavailable",
}  # fmt: skip
"""Those of a 503."""


@dataclass(frozen=True)
class Outage:
    """A part that was killed. The times are of `time.monotonic`."""

    part: str
    began: float
    ended: float
    """When it could cut no further connection: a bridge, when its process had ended (HAProxy takes
    the other bridge); HAProxy, when it accepted connections again."""


def unexplained(
    failures: Iterable[Failure], outages: Sequence[Outage], records: Mapping[str, Mapping[str, Any]]
) -> list[Failure]:
    """The failures that no outage explains. `records`: reference -> record of the audit."""

    def is_explained(failure: Failure) -> bool:
        if not failure.error:
            return records.get(failure.reference, {}).get("reason") in REASONS
        return any(
            outage.part in CUTS
            and failure.connected <= outage.ended
            and failure.began <= outage.ended + PASSED_ON_SECONDS
            and failure.ended >= outage.began
            for outage in outages
        )

    return [failure for failure in failures if not is_explained(failure)]


def check(
    clients: RetryingClients, outages: Sequence[Outage], two: TwoBridges, server: PostgresqlServer
) -> None:
    """0 lost, 0 identities confused, and every failure explained."""
    records = {
        record["reference"]: record for bridge in two.bridges.values() for record in bridge.audit()
    }
    left = unexplained(clients.failures, outages, records)
    assert not left, (left, outages)
    assert clients.files
    for path, data in clients.files.items():
        assert two.site.uploads.files[path] == data, path
    check_identities(clients, server)
    assert clients.refused_claims
    for reference in clients.refused_claims:
        assert records[reference]["reason"] == "identity-of-another", records[reference]


def check_identities(clients: RetryingClients, server: PostgresqlServer) -> None:
    """Each acknowledged registration is stored, and each client GUID has the key of its client."""
    with server.connect(DATABASE) as connection:
        rows = connection.execute("SELECT guid, key FROM ibcm_bridge.bindings").fetchall()
    bound = dict(rows)
    for guid, credential in clients.registered:
        assert bound[read_guid(guid)] == _key(credential), guid
    own = {read_guid(client_guid(made.certificate)): _key(made) for made in clients.made}
    confused = {guid: key for guid, key in bound.items() if own.get(guid) != key}
    assert not confused, confused


def _key(credential: LabCredential) -> str:
    return certificate_facts(credential.certificate).key_sha256
