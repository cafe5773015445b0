"""The whole file, and its JSON schema."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from ibcm_bridge.policy_file.rows.publications import PublicationRow
from ibcm_bridge.policy_file.rows.settings import (
    AuditRow,
    EnginesRow,
    LimitsRow,
    MessagesRow,
    UploadsRow,
)
from ibcm_bridge.policy_file.rows.values import ReasonRow, Row, optional, required


class PolicyRow(Row):
    """A policy of ibcm-bridge; docs/policy-file.md explains each key."""

    version: Literal[1]
    audit: AuditRow = Field(default=AuditRow(), description="where the audit goes")
    rules: list[str] = Field(
        default=[], description="files with more YARA rules, or folders with .yar files"
    )
    engines: EnginesRow = optional(EnginesRow(), "content engines beside YARA-X")
    limits: LimitsRow = Field(default=LimitsRow(), description="bytes and seconds")
    messages: MessagesRow = optional(MessagesRow(), "what becomes of ConfigMgr's messages")
    uploads: UploadsRow = optional(
        UploadsRow(), "how large BITS uploads may be, and where they are kept"
    )
    web: ReasonRow | None = optional(
        None, "let run --web show traffic on a page, outside a lab; off unless the file says why"
    )
    publications: list[PublicationRow] = required(
        "what is published, each with a name, a mode and a listen", min_length=1
    )


def policy_schema() -> dict[str, Any]:
    """The JSON schema of a policy file, for editors."""
    schema = PolicyRow.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Policy of ibcm-bridge",
    }
