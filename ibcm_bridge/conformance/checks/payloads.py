"""The content of ConfigMgr messages."""

from __future__ import annotations

from ibcm_bridge.conformance.judgement import Judgement, all_of, passed, refused
from ibcm_bridge.conformance.kit import Client
from ibcm_bridge.conformance.steps import register
from ibcm_bridge.conformance.subject import Subject
from ibcm_bridge.lab.cases import messages, requests


def inventory(subject: Subject) -> Judgement:
    """An inventory report MUST arrive byte for byte: it is signed.

    Requirement: BRIDGE-IDENTITY. Source: protocol.md 1.6.
    """
    return all_of(passed(register(subject)), passed(subject.send(requests.inventory)))


def heartbeat(subject: Subject) -> Judgement:
    """A heartbeat with two documents in one payload MUST be forwarded.

    Requirement: BRIDGE-IDENTITY. Source: protocol.md 3.5.
    """
    return all_of(passed(register(subject)), passed(subject.send(messages.heartbeat)))


def task_sequence(subject: Subject) -> Judgement:
    """The policy of a task sequence without an operating system MUST be forwarded.

    Requirement: NO-OSD. Source: protocol.md 3.2.
    """
    return all_of(passed(register(subject)), passed(subject.send(messages.task_sequence)))


def malware(subject: Subject) -> Judgement:
    """Malware in a compressed message in UTF-16 MUST be refused.

    Requirement: BRIDGE-INSPECT. Source: protocol.md 1.3.
    """
    return refused(subject.send(requests.malware))


def malware_in_base64(subject: Subject) -> Judgement:
    """Malware in base64 in a message MUST be refused.

    Requirement: BRIDGE-INSPECT. Source: protocol.md 1.3.
    """
    return refused(subject.send(requests.malware_in_base64))


def malware_in_a_state_message(subject: Subject) -> Judgement:
    """Malware in a state message in UTF-16 MUST be refused.

    Requirement: BRIDGE-INSPECT. Source: protocol.md 8.1.
    """
    to = "fallback-status-point"
    return refused(subject.send(requests.state_malware, to=to, client=Client.NONE))


def external_entity(subject: Subject) -> Judgement:
    """A message with a document type declaration MUST be refused.

    Requirement: BRIDGE-INSPECT. Source: CWE-611.
    """
    return refused(subject.send(requests.external_entity))


def compression_bomb(subject: Subject) -> Judgement:
    """A message that inflates from 200 KB to 200 MB MUST be refused.

    Requirement: BRIDGE-INSPECT. Source: CWE-409.
    """
    return refused(subject.send(requests.bomb))


def internal_endpoint(subject: Subject) -> Judgement:
    """A message to an internal endpoint MUST be refused.

    Requirement: BRIDGE-INSPECT. Source: protocol.md 2.1.
    """
    return refused(subject.send(messages.forbidden_endpoint))


def document_of_another_endpoint(subject: Subject) -> Judgement:
    """A document of another endpoint SHOULD be refused.

    Requirement: BRIDGE-INSPECT. Source: protocol.md 3.
    """
    return refused(subject.send(messages.forbidden_root))


def update_request(subject: Subject) -> Judgement:
    """An UpdateSFRequest MUST be refused: it allowed SQL injection.

    Requirement: BRIDGE-INSPECT. Source: CVE-2024-43468.
    """
    return refused(subject.send(messages.update_of_the_server))


def encrypted_report(subject: Subject) -> Judgement:
    """An encrypted report SHOULD be refused: it cannot be inspected.

    Requirement: BRIDGE-INSPECT. Source: protocol.md 3.5.
    """
    return refused(subject.send(messages.encrypted_inventory))


def site_assignment(subject: Subject) -> Judgement:
    """A request for the assigned site MUST be refused.

    Requirement: NO-SITE-ASSIGNMENT. Source: protocol.md 2.4.
    """
    return refused(subject.send(messages.site_assignment))


def out_of_band(subject: Subject) -> Judgement:
    """An out-of-band management message MUST be refused.

    Requirement: NO-WAKE-ON-LAN. Source: protocol.md 2.4.
    """
    return refused(subject.send(messages.out_of_band))


def boot_media_registration(subject: Subject) -> Judgement:
    """The registration of boot media MUST be refused.

    Requirement: NO-OSD. Source: protocol.md 3.1.
    """
    return refused(subject.send(messages.boot_media_registration))


def client_package(subject: Subject) -> Judgement:
    """A request for the location of the client package MUST be refused.

    Requirement: NO-CLIENT-DEPLOYMENT. Source: protocol.md 3.4.
    """
    return refused(subject.send(messages.client_package))


def user_policy(subject: Subject) -> Judgement:
    """A request for user policy without an authenticated user MUST be refused.

    Requirement: NO-USER-DEPLOYMENT. Source: protocol.md 3.2.
    """
    return refused(subject.send(messages.user_policy))
