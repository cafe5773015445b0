"""`config/soap_actions.yaml`, parsed -> `SoapTable`.

The file ships with the code, so an error in it is a defect: KeyError, TypeError or ValueError,
before a listener opens.
"""

from __future__ import annotations

from collections.abc import Mapping

from ibcm_bridge.policy.soap_actions import SoapService, SoapTable
from ibcm_bridge.policy_file.tables.values import as_list, as_mapping, as_string, as_strings, only


def read_soap_table(data: Mapping[str, object]) -> SoapTable:
    """Build the table from the parsed file."""
    only("soap_actions.yaml", data, {"services", "refused"})
    rows = as_mapping(data["services"])
    services = {path.lower(): _service(path, as_mapping(row)) for path, row in rows.items()}
    if len(services) != len(rows):
        raise ValueError("duplicate service")
    refused: dict[str, str] = {}
    for row in map(as_mapping, as_list(data["refused"])):
        only("refused", row, {"operations", "because"})
        for operation in as_strings(row["operations"]):
            if operation in refused or any(
                operation in service.operations for service in services.values()
            ):
                raise ValueError(f"{operation} is duplicate, or both allowed and refused")
            refused[operation] = as_string(row["because"])
    return SoapTable(services, refused)


def _service(path: str, row: Mapping[str, object]) -> SoapService:
    only(path, row, {"namespace", "operations"})
    operations = frozenset(as_strings(row["operations"]))
    namespace = as_string(row["namespace"])
    if not operations or not namespace or namespace.endswith("/"):
        raise ValueError(f"{path}: operations, and a namespace without a final slash, are required")
    return SoapService(path, namespace, operations)
