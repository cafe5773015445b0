"""`config/endpoints.yaml`, parsed -> `EndpointTable`.

The file ships with the code, so an error in it is a defect: KeyError, TypeError or ValueError,
before a listener opens.
"""

from __future__ import annotations

from collections.abc import Mapping

from ibcm_bridge.messages.document import Place, SubjectElement
from ibcm_bridge.policy.endpoints import Endpoint, EndpointTable, RefusedMessage
from ibcm_bridge.policy_file.tables.values import (
    as_flag,
    as_list,
    as_mapping,
    as_string,
    as_strings,
    only,
)

_ENDPOINT_KEYS = {"roots", "anonymous", "encrypted"}
_NAMES = {"endpoint", "reply_to", "root", "element"}
_ABOUT = {*_NAMES, "subject", "at"}
_REFUSED_KEYS = {*_ABOUT, "is", "users", "opt_in", "requirement"}


def read_endpoint_table(data: Mapping[str, object]) -> EndpointTable:
    """Build the table from the parsed file."""
    only("endpoints.yaml", data, {"endpoints", "refused"})
    rows = as_mapping(data["endpoints"])
    endpoints = {name.lower(): _endpoint(name, as_mapping(row)) for name, row in rows.items()}
    if len(endpoints) != len(rows):
        raise ValueError("duplicate endpoint")
    refused = tuple(_refused(as_mapping(row)) for row in as_list(data["refused"]))
    if both := endpoints.keys() & {row.endpoint for row in refused if not row.is_about_documents}:
        raise ValueError(f"both allowed and refused: {sorted(both)}")
    return EndpointTable(endpoints, refused)


def _endpoint(name: str, row: Mapping[str, object]) -> Endpoint:
    only(name, row, _ENDPOINT_KEYS)
    roots = frozenset(root.lower() for root in as_strings(row["roots"]))
    if not roots:
        raise ValueError(f"{name} without roots")
    return Endpoint(
        name=name,
        roots=roots,
        anonymous=as_flag(row.get("anonymous", False)),
        encrypted=as_flag(row.get("encrypted", False)),
    )


def _refused(row: Mapping[str, object]) -> RefusedMessage:
    only("refused", row, _REFUSED_KEYS)
    if not row.keys() & _ABOUT:
        raise ValueError("a refused row without a condition")
    if ("at" in row) != ("is" in row):
        raise ValueError("`at` and `is` must be used together")
    names = {key: as_string(row.get(key, "")).lower() for key in _NAMES}
    return RefusedMessage(
        requirement=as_string(row["requirement"]),
        subject=SubjectElement(as_string(row["subject"])) if "subject" in row else None,
        at=Place(as_string(row["at"])) if "at" in row else None,
        value=as_string(row.get("is", "")).lower(),
        users=as_flag(row.get("users", False)),
        opt_in=as_flag(row.get("opt_in", False)),
        **names,
    )
