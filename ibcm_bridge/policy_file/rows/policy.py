"""The whole file, and its JSON schema."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from ibcm_bridge.policy_file.rows.listeners import ListenerRow
from ibcm_bridge.policy_file.rows.publications import PublicationRow
from ibcm_bridge.policy_file.rows.settings import (
    AuditRow,
    EnginesRow,
    LimitsRow,
    MessagesRow,
    OperationsRow,
    UploadsRow,
)
from ibcm_bridge.policy_file.rows.values import Count, Listen, ReasonRow, Row, optional, required


class PolicyRow(Row):
    """A policy of ibcm-bridge; docs/policy-file.md explains each key."""

    version: Literal[1] = Field(title="version: 1, without quotes")
    audit: AuditRow = optional(AuditRow(), "the audit file")
    rules: list[str] = optional(
        [], "additional YARA rules: files, or folders with .yar files", examples=[["rules"]]
    )
    engines: EnginesRow = optional(EnginesRow(), "content engines in addition to YARA-X")
    limits: LimitsRow = optional(LimitsRow(), "limits in bytes and seconds")
    messages: MessagesRow = optional(MessagesRow(), "checks of ConfigMgr messages")
    uploads: UploadsRow = optional(UploadsRow(), "size limits and storage of BITS uploads")
    state: str | None = optional(
        None,
        "PostgreSQL database with bindings and uploads, which several machines share",
        examples=["postgresql://ibcm@db.corp.example/ibcm?passfile=state.pass"],
    )
    workers: Count | None = optional(
        None, "processes that serve clients; if omitted, one per core (Linux) or one", ge=1, le=64
    )
    web: ReasonRow | None = optional(
        None,
        "allow run --web to show traffic outside a lab; requires a reason, disabled if omitted",
    )
    operations: OperationsRow | None = optional(
        None, "serve metrics and probes; disabled if omitted"
    )
    listeners: dict[Listen, ListenerRow] = optional(
        {}, "settings of listen addresses, each as in `listen`"
    )
    publications: list[PublicationRow] = required(
        "the publications, each with name, mode and listen", min_length=1
    )


def policy_schema() -> dict[str, Any]:
    """The JSON schema of a policy file, for editors."""
    schema = PolicyRow.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Policy of ibcm-bridge",
    }
