"""The client GUID of a message, and its signatures."""

from __future__ import annotations

from ibcm_bridge.conformance.judgement import Judgement, all_of, passed, refused
from ibcm_bridge.conformance.kit import Client
from ibcm_bridge.conformance.steps import register
from ibcm_bridge.conformance.subject import Subject
from ibcm_bridge.lab.cases import messages


def registration(subject: Subject) -> Judgement:
    """The registration of a client MUST be forwarded.

    Requirement: BRIDGE-IDENTITY. Source: protocol.md 3.1.
    """
    return passed(register(subject))


def own_guid(subject: Subject) -> Judgement:
    """A policy request with the client's own GUID MUST be forwarded.

    Requirement: BRIDGE-IDENTITY. Source: protocol.md 3.2.
    """
    return all_of(passed(register(subject)), passed(subject.send(messages.policy_request)))


def guid_of_another_client(subject: Subject) -> Judgement:
    """A message with the GUID of another client SHOULD be refused.

    Requirement: BRIDGE-IDENTITY. Source: protocol.md 1.6.
    """
    other = passed(register(subject, Client.OTHER))
    return all_of(other, refused(subject.send(messages.with_guid_of_another)))


def guid_of_another_client_in_the_payload(subject: Subject) -> Judgement:
    """A message with the GUID of another client in its payload only SHOULD be refused.

    Requirement: BRIDGE-IDENTITY. Source: protocol.md 3.2.
    """
    other = passed(register(subject, Client.OTHER))
    return all_of(other, refused(subject.send(messages.with_guid_of_another_in_payload)))


def two_guids(subject: Subject) -> Judgement:
    """A message with different GUIDs in header and payload SHOULD be refused.

    Requirement: BRIDGE-IDENTITY. Source: protocol.md 3.2.
    """
    return refused(subject.send(messages.with_two_guids))


def injection_in_the_guid(subject: Subject) -> Judgement:
    """A message with SQL in the client GUID MUST be refused.

    Requirement: BRIDGE-INSPECT. Source: CVE-2024-43468.
    """
    return refused(subject.send(messages.injected_guid))


def changed_after_signing(subject: Subject) -> Judgement:
    """A message that was changed after it was signed SHOULD be refused.

    Requirement: BRIDGE-IDENTITY. Source: protocol.md 1.6.
    """
    return refused(subject.send(messages.with_payload_changed_after_signing))


def unsigned(subject: Subject) -> Judgement:
    """A message without a signature, of a registered client, SHOULD be refused.

    Requirement: BRIDGE-IDENTITY. Source: protocol.md 1.6.
    """
    registered = passed(register(subject))
    return all_of(registered, refused(subject.send(messages.unsigned_policy_request)))


def registration_of_another_key(subject: Subject) -> Judgement:
    """A registration that is signed with another key SHOULD be refused.

    Requirement: BRIDGE-IDENTITY. Source: protocol.md 3.1.
    """
    return refused(subject.send(messages.registration_of_another))


def replay(subject: Subject) -> Judgement:
    """A policy download with an old timestamp SHOULD be refused.

    Requirement: BRIDGE-IDENTITY. Source: protocol.md 5.
    """
    registered = passed(register(subject))
    return all_of(registered, refused(subject.send(messages.replayed_policy_download)))
