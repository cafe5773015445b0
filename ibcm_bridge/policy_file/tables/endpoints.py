"""`config/endpoints.yaml`, parsed -> `EndpointTable`.

The file ships with the code, so an error in it is a defect: KeyError, TypeError or ValueError,
before a listener opens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ibcm_bridge.messages.document_values import Place, SubjectElement
from ibcm_bridge.messages.guid_places import NO_PLACES, GuidPlace, GuidPlaces, GuidUse
from ibcm_bridge.policy.endpoints import Endpoint, EndpointTable, RefusedMessage
from ibcm_bridge.policy_file.tables.values import (
    as_flag,
    as_list,
    as_mapping,
    as_string,
    as_strings,
    only,
)

_ENDPOINT_KEYS = {"roots", "anonymous", "encrypted", "client_guids"}
_PLACE_KEYS = {*GuidUse, "data"}
_LABEL = re.compile(r"(?:[\w.-]+/)?[\w.-]+")
_NAMES = {"endpoint", "reply_to", "root", "element"}
_ABOUT = {*_NAMES, "subject", "at"}
_REFUSED_KEYS = {*_ABOUT, "is", "users", "opt_in", "requirement"}


def read_endpoint_table(data: Mapping[str, object]) -> EndpointTable:
    """Build the table from the parsed file."""
    only("endpoints.yaml", data, {"endpoints", "refused", "client_guids"})
    of_all = _places("client_guids", as_mapping(data["client_guids"]), NO_PLACES)
    rows = as_mapping(data["endpoints"])
    endpoints = {
        name.lower(): _endpoint(name, as_mapping(row), of_all) for name, row in rows.items()
    }
    if len(endpoints) != len(rows):
        raise ValueError("duplicate endpoint")
    refused = tuple(_refused(as_mapping(row)) for row in as_list(data["refused"]))
    if both := endpoints.keys() & {row.endpoint for row in refused if not row.is_about_documents}:
        raise ValueError(f"both allowed and refused: {sorted(both)}")
    return EndpointTable(endpoints, refused, of_all)


def _endpoint(name: str, row: Mapping[str, object], of_all: GuidPlaces) -> Endpoint:
    only(name, row, _ENDPOINT_KEYS)
    roots = frozenset(root.lower() for root in as_strings(row["roots"]))
    if not roots:
        raise ValueError(f"{name} without roots")
    client_guids = {
        root.lower(): _places(f"{name}: {root}", as_mapping(places), of_all)
        for root, places in as_mapping(row.get("client_guids", {})).items()
    }
    if unknown := client_guids.keys() - roots:
        raise ValueError(f"{name}: client_guids of {sorted(unknown)}, which is not in roots")
    return Endpoint(
        name=name,
        roots=roots,
        anonymous=as_flag(row.get("anonymous", False)),
        encrypted=as_flag(row.get("encrypted", False)),
        client_guids=client_guids,
    )


def _places(where: str, row: Mapping[str, object], of_all: GuidPlaces) -> GuidPlaces:
    """The places of `of_all`, and those of the row."""
    only(where, row, _PLACE_KEYS)
    places = tuple(
        GuidPlace(use, label) for use in GuidUse for label in as_strings(row.get(use, []))
    )
    if wrong := [place.label for place in places if not _LABEL.fullmatch(place.label)]:
        raise ValueError(f"{where}: neither Name nor Parent/Name: {wrong}")
    data = tuple(name.lower() for name in as_strings(row.get("data", [])))
    return GuidPlaces(of_all.places + places, of_all.data + data)


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
