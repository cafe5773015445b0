"""Parsing of client GUIDs: all of a request must be well-formed and equal."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.identity.claims import Claim, read_claim, read_timestamp
from ibcm_bridge.lab.protocol import ccm, documents, signing
from ibcm_bridge.messages.client_guid import read_guid
from tests.identity.conftest import GUID, OTHER, Computer, Get, Message

BARE = GUID.removeprefix("GUID:")
REPORT = documents.inventory_report(GUID, rows=1)
ASKED = documents.policy_request(GUID)
REGISTERED_AGAIN = f'<ClientRegistrationRequest><Data SMSID="{GUID}"/></ClientRegistrationRequest>'


def claim(inspected: object) -> Claim:
    result = read_claim(inspected)  # type: ignore[arg-type]
    assert isinstance(result, Claim), result
    return result


def denied(inspected: object) -> Deny:
    result = read_claim(inspected)  # type: ignore[arg-type]
    assert isinstance(result, Deny), result
    return result


@pytest.mark.parametrize(
    ("xml", "endpoint", "guid"),
    [
        (REPORT, "MP_HinvEndpoint", GUID),
        (REPORT, "MP_HinvEndpoint", ""),
        (ASKED, "MP_PolicyManager", GUID),
        ("<Report/>", "MP_HinvEndpoint", GUID.lower().replace("guid:", "GUID:")),
        (REGISTERED_AGAIN, "MP_ClientRegistration", ""),
        (REPORT.replace(GUID, BARE), "MP_HinvEndpoint", GUID),
        (REPORT.replace(GUID, BARE.lower()), "MP_HinvEndpoint", GUID),
    ],
)
def test_the_client_guid_of_a_message_is_found(
    message: Message, xml: str, endpoint: str, guid: str
) -> None:
    found = claim(message(xml, endpoint, guid=guid))
    assert (found.guid, found.contradiction) == (GUID, None)


def test_a_message_may_have_no_client_guid(message: Message) -> None:
    located = claim(message(documents.location_request(), "MP_LocationManager", guid=""))
    assert (located.guid, located.required, located.signed) == ("", False, ())
    reported = claim(message("<Report/>", guid=""))
    assert (reported.guid, reported.required) == ("", True)


INJECTED = [
    f"{GUID}' OR 1=1 --",
    f"{GUID}';WAITFOR DELAY '0:0:9'--",
    f" {GUID}",
    f"{GUID}\n",
    GUID[:-1],
    f"{GUID}0",
    f"GUID:{{{BARE}}}",
    f"{{{BARE}}}",
    f"guid:guid:{BARE}",
    GUID.replace("-", ""),
    GUID.replace("5", "\uff15"),
    "GUID:",
    "x",
]


@pytest.mark.parametrize("text", INJECTED)
def test_a_malformed_client_guid_is_refused(message: Message, get: Get, text: str) -> None:
    header = claim(message("<Report/>"))
    assert header.guid == GUID
    # CVE-2024-43468: SQL after GUID: in SourceID (protocol.md §2.3).
    denial = denied(message("<Report/>", guid=f"GUID:{text.removeprefix('GUID:')}"))
    assert (denial.reason, denial.rule) == (Reason.IDENTITY_MALFORMED, "identity.SourceID")
    assert text[-6:] not in denial.detail
    xml = f"<Report><Machine><ClientID>{text}</ClientID></Machine></Report>"
    denial = denied(message(xml, guid=""))
    assert (denial.reason, denial.rule) == (Reason.IDENTITY_MALFORMED, "identity.payload")
    if text.isascii() and text == text.strip():
        denial = denied(get(f"CCMClientID: {text}"))
        assert (denial.reason, denial.rule) == (Reason.IDENTITY_MALFORMED, "identity.CCMClientID")
        denial = denied(get(f"ClientToken: {text};2026-01-01T00:00:00Z;2"))
        assert (denial.reason, denial.rule) == (Reason.IDENTITY_MALFORMED, "identity.ClientToken")


@pytest.mark.parametrize(
    ("xml", "endpoint"),
    [
        (documents.inventory_report(OTHER, rows=1), "MP_HinvEndpoint"),
        (documents.policy_request(OTHER), "MP_PolicyManager"),
        (REGISTERED_AGAIN.replace(GUID, OTHER), "MP_ClientRegistration"),
        # Parsers may use either of the two.
        (ASKED.replace("<Machine>", f"<Machine><ClientID>{OTHER}</ClientID>"), "MP_PolicyManager"),
        (
            ASKED.replace("</Machine>", f"<clientid>{OTHER}</clientid></Machine>"),
            "MP_PolicyManager",
        ),
        (
            ASKED.replace(
                "</Identification>",
                f'</Identification><x:Machine xmlns:x="u"><x:ClientID>{OTHER}</x:ClientID>'
                "</x:Machine>",
            ),
            "MP_PolicyManager",
        ),
    ],
)
def test_a_payload_with_another_client_guid_than_the_header_is_refused(
    message: Message, xml: str, endpoint: str
) -> None:
    denial = denied(message(xml, endpoint))
    assert (denial.reason, denial.rule) == (Reason.IDENTITY_AMBIGUOUS, "identity.payload")
    assert claim(message(xml.replace(OTHER, GUID), endpoint)).contradiction is None


def test_header_fields_must_have_the_client_guid_of_the_message(message: Message) -> None:
    for fields in (
        (f"CCMClientID: {OTHER}",),
        (f"ClientToken: {OTHER};2026-01-01T00:00:00Z;2",),
        (f"CCMClientID: {GUID}", f"ClientToken: {OTHER};2026-01-01T00:00:00Z"),
    ):
        assert denied(message(REPORT, fields=fields)).reason is Reason.IDENTITY_AMBIGUOUS
        mine = tuple(field.replace(OTHER, GUID.lower().replace("guid", "GUID")) for field in fields)
        found = claim(message(REPORT, fields=mine))
        assert (found.guid, found.contradiction) == (GUID, None)


@pytest.mark.parametrize(
    "fields",
    [
        # The two spellings of one field (protocol.md §5).
        ("CCMClientTimestampSignature: 00", "CCMClientTimestampsSignature: 00"),
    ],
)
def test_an_identifying_field_may_occur_only_once(get: Get, fields: tuple[str, str]) -> None:
    assert denied(get(*fields)).reason is Reason.IDENTITY_AMBIGUOUS


def test_each_signature_comes_with_the_signed_data(
    message: Message, get: Get, computer: Computer
) -> None:
    inspected = message(REPORT, key=computer.key)
    signed = {signature.name: signature for signature in claim(inspected).signed}
    assert signed.keys() == {"ClientIDSignature", "PayloadSignature"}
    assert signed["ClientIDSignature"].data == signing.terminated(GUID)
    payload = ccm.read_message(inspected.body).payload
    assert signed["PayloadSignature"].data == payload
    fields = signing.identification_headers(GUID, computer.key, ccm.SENT_TIME)
    got = claim(get(*(f"{name}: {value}" for name, value in fields.items())))
    assert [signature.name for signature in got.signed] == [
        "CCMClientIDSignature",
        "CCMClientTimestampSignature",
    ]
    assert got.times == (ccm.SENT_TIME,)


def test_a_plain_request_has_no_client_guid_and_no_signatures(get: Get) -> None:
    plain = claim(get())
    assert (plain.guid, plain.required, plain.signed, plain.times) == ("", False, (), ())


@pytest.mark.parametrize(
    ("text", "second"),
    [
        ("2026-01-01T00:00:07Z", 7),
        ("2026-01-01T00:00:07", 7),
        ("2026-01-01T00:00:07.123Z", 7),
        ("2026-01-01T00:00:07+00:00Z", 7),  # protocol.md §5: a doubled zone
        ("2026-01-01T00:00:07.1234567+00:00", 7),
    ],
)
def test_all_known_notations_of_timestamps_are_parsed(text: str, second: int) -> None:
    assert read_timestamp(text) == datetime.datetime(2026, 1, 1, 0, 0, second, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "2026-01-01", "2026-01-01T00:00:00+01:00", "2026-13-01T00:00:00Z"),
        *("2026-01-01T00:00:61Z", " 2026-01-01T00:00:00Z", "2026-01-01 00:00:00Z"),
        *("0000-01-01T00:00:00Z", "2026-01-01T00:00:00ZZ", "\u0662026-01-01T00:00:00Z"),
    ],
)
def test_other_texts_are_not_timestamps(text: str) -> None:
    assert read_timestamp(text) is None


@given(st.text(max_size=60))
def test_any_text_can_be_parsed_without_an_exception(text: str) -> None:
    read_timestamp(text)
    guid = read_guid(text)
    assert guid is None or read_guid(guid) == guid


ENDS = ("", "Z", "+00:00", "+00:00Z")


@given(
    st.datetimes(min_value=datetime.datetime(1, 1, 1)),
    st.text("0123456789", max_size=7),
    st.sampled_from(ENDS),
)
def test_a_timestamp_is_parsed_to_its_second(
    time: datetime.datetime, fraction: str, end: str
) -> None:
    whole = time.replace(microsecond=0)
    text = f"{whole.isoformat()}{'.' if fraction else ''}{fraction}{end}"
    assert read_timestamp(text) == whole.replace(tzinfo=datetime.UTC)


@given(st.datetimes(), st.sampled_from(ENDS), st.data())
def test_a_changed_timestamp_is_another_time_or_none(
    time: datetime.datetime, end: str, data: st.DataObject
) -> None:
    text = time.replace(microsecond=0).isoformat() + end
    at = data.draw(st.integers(0, len(text) - 1))
    instead = data.draw(st.characters(exclude_characters=text[at]))
    for changed in (text[:at] + instead + text[at + 1 :], text[:at] + instead + text[at:]):
        read = read_timestamp(changed)
        assert read is None or read.isoformat()[:19] == changed[:19]
    for length in range(19):
        assert read_timestamp(text[:length]) is None


@given(st.uuids(), st.booleans(), st.data())
def test_a_changed_client_guid_is_another_or_none(
    uuid: object, prefixed: bool, data: st.DataObject
) -> None:
    text = f"GUID:{uuid}" if prefixed else str(uuid)
    at = data.draw(st.integers(0, len(text)))
    for changed in (
        text[:at] + data.draw(st.characters()) + text[at:],
        text[:at] + data.draw(st.characters()) + text[at + 1 :],
        *(text[:length] for length in range(len(text))),
    ):
        guid = read_guid(changed)
        assert guid is None or guid.upper().endswith(changed.upper())


@given(st.uuids(), st.booleans(), st.booleans())
def test_a_client_guid_has_one_form(uuid: object, prefixed: bool, upper: bool) -> None:
    text = str(uuid).upper() if upper else str(uuid)
    assert read_guid(f"GUID:{text}" if prefixed else text) == f"GUID:{str(uuid).upper()}"
