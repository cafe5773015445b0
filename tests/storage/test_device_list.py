"""Device lists from PowerShell and from the bridge are read completely or not at all."""

from __future__ import annotations

import contextlib
import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.identity.bindings import Binding, Source
from ibcm_bridge.storage.binding_registry import Registry
from ibcm_bridge.storage.binding_rows import is_name
from ibcm_bridge.storage.device_list import ListError, read_list, write_list

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
BARE = "11111111-2222-3333-4444-5555555555AA"
GUID = f"GUID:{BARE}"
OTHER = "GUID:22222222-2222-3333-4444-555555555555"
PC1 = Binding(GUID, Source.IMPORT, NOW, name="pc1")
DIGEST = "ab" * 32


def read(*lines: str) -> tuple[Binding, ...]:
    return read_list("\r\n".join(lines).encode(), NOW).bindings


def problems(*lines: str) -> list[str]:
    with pytest.raises(ListError) as caught:
        read(*lines)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


# Valid lists

WINDOWS_POWERSHELL = f"""\
#TYPE Selected.Microsoft.ConfigurationManagement.ManagementProvider.WqlQueryEngine.WqlResultObject
"SMSID","Name"
"{GUID}","PC1"
,"PRINTER7"
"{OTHER}","PC2"
"0acd12fa-95cf-4c5b-8be4-4dd7de1a3b04","x64 Unknown Computer (x64 Unknown Computer)"
"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lists_from_powershell_are_read(encoding: str, end: str) -> None:
    list_ = read_list(WINDOWS_POWERSHELL.replace("\n", end).encode(encoding), NOW)
    assert list_.bindings == (PC1, Binding(OTHER, Source.IMPORT, NOW, name="pc2"))
    assert (list_.skipped, list_.unread) == (2, ())


@pytest.mark.parametrize(
    ("header", "line"),
    [
        ("SMSID,Name", f"{GUID},PC1"),
        ("name,smsid", f"PC1,{GUID}"),
        ("GUID;DNS_Name", f"{BARE};PC1"),
        (' "guid" , "dns_name" '.replace(" ", ""), f' {BARE.lower()} , "PC1"'.replace(" ", "")),
        ("Name,SMSID", f" pc1 , guid:{BARE.lower()} "),
    ],
)
def test_columns_may_be_in_any_order_and_case(header: str, line: str) -> None:
    assert read(header, line) == (PC1,)


def test_unused_columns_are_listed() -> None:
    list_ = read_list(f"Domain,SMSID,IsActive,Name\nCORP,{GUID},True,pc1".encode(), NOW)
    assert (list_.bindings, list_.unread) == ((PC1,), ("Domain", "IsActive"))


@pytest.mark.parametrize(
    "cell",
    [DIGEST, DIGEST.upper(), "AB:" * 31 + "AB", "ab " * 32, f"{DIGEST[:32]} {DIGEST[32:]}"],
)
def test_a_fingerprint_is_accepted_in_the_notations_of_tools(cell: str) -> None:
    expected = (Binding(GUID, Source.IMPORT, NOW, certificate=DIGEST),)
    assert read("SMSID,SHA256", f"{GUID},{cell}") == expected
    assert read("SMSID,fingerprint", f"{GUID},{cell}") == expected


def test_empty_lines_and_an_empty_list_are_valid() -> None:
    assert read("SMSID,Name", "", f"{GUID},pc1", "", "") == (PC1,)
    assert read("SMSID,Name") == ()


def test_an_unknown_computer_is_distinguished_from_one_with_such_a_name() -> None:
    list_ = read_list(f"SMSID,Name\n{GUID},x86 unknown computer\n{OTHER},x64\n".encode(), NOW)
    assert [binding.name for binding in list_.bindings] == ["x64"]


# Invalid lists


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("", "line 1: no column SMSID (or guid); this line must have the column names"),
        (f"{GUID},PC1", "line 1: no column SMSID (or guid); this line must have the column names"),
        ("ResourceGuid,Name", "line 1: no column SMSID"),
        ("SMSID\tName", "line 1: no column SMSID"),
        ("SMSID", "line 1: no column Name (or dns_name), sha256 (or fingerprint) or key"),
        ("SMSID,Domain", "line 1: no column Name"),
        ("SMSID,Name,guid", "line 1: columns with the same meaning: SMSID, guid"),
        ("SMSID,Name,Name", "line 1: columns with the same meaning: Name, Name"),
    ],
)
def test_a_header_without_the_column_names_is_refused(header: str, problem: str) -> None:
    (found,) = problems(header, f"{GUID},PC1,{GUID}")
    assert found.startswith(problem)
    (found,) = problems("#TYPE Selected", header)
    assert found.startswith(problem.replace("line 1", "line 2"))


ALL = "guid,name,sha256,key,signing_key,source,since"


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        ("{GUID},pc1", "2 cells for 7 columns"),
        ("{GUID},pc1,,,,,,", "8 cells for 7 columns"),
        ("{BARE}0,pc1,,,,,", f"guid: '{BARE}0' is not a client GUID"),
        ("{{{BARE}}},pc1,,,,,", f"guid: '{{{BARE}}}' is not a client GUID"),
        ("GUID:' OR 1=1--,pc1,,,,,", 'guid: "GUID:\' OR 1=1--" is not a client GUID'),
        ("{GUID},,,,,,", "no name, certificate or key to bind the client GUID to"),
        ("{GUID},,,,,import,", "no name, certificate or key to bind the client GUID to"),
        ("{GUID},Anna's PC,,,,,", 'name: "Anna\'s PC" is not a possible name of a certificate'),
        ('{GUID},"pc1\n",x,,,,', "sha256: 'x' is not a SHA-256 in hexadecimal"),
        ('{GUID},"pc\n1",,,,,', "name: 'pc\\n1' is not a possible name of a certificate"),
        ("{GUID},,{SHA1},,,,", f"sha256: '{'a' * 40}' is not a SHA-256; is it a SHA-1 thumbprint?"),
        ("{GUID},pc1,::,,,,", "sha256: '::' is not a SHA-256 in hexadecimal"),
        ("{GUID},pc1,,abc,,,", "key: 'abc' is not a SHA-256 in hexadecimal"),
        ("{GUID},pc1,,,ä,,", "signing_key: 'ä' is not base64"),
        ("{GUID},pc1,,,MII,,", "signing_key: 'MII' is not base64"),
        (
            "{GUID},pc1,,,,rumour,",
            "source: 'rumour' is not one of registration, policy, import, renewal",
        ),
        (
            "{GUID},pc1,,,,,yesterday",
            "since: 'yesterday' is not a time such as 2026-01-31T12:00:00",
        ),
        (
            "{GUID},pc1,,,,,2026-01-31T12:00:00",
            "since: '2026-01-31T12:00:00' is not a time such as",
        ),
        ("{GUID},pc1,,,,,0001-01-01T00:00:00+05:00", "since: '0001-01-01T00:00:00+05:00' is no"),
        ('{GUID},"pc1"x,,,,,', "',' expected after '\"'"),
        ('{GUID},"pc1', "unexpected end of data"),
    ],
)
def test_an_invalid_cell_is_reported_with_its_line(cells: str, problem: str) -> None:
    line = cells.format(GUID=GUID, BARE=BARE, SHA1="a" * 40)
    (found,) = problems(ALL, f"{OTHER},pc2,,,,,", line)
    assert found.startswith(f"line 3: {problem}")
    assert read(ALL, f"{OTHER},pc2,,,,,")


def test_all_problems_are_reported_at_once() -> None:
    assert problems(
        "#TYPE x", "SMSID,Name,sha256", "1,pc1,", f'{GUID},"p\nc","x"', f"{GUID},pc1,", "2,pc1,"
    ) == [
        "line 3: SMSID: '1' is not a client GUID",
        "line 4: Name: 'p\\nc' is not a possible name of a certificate",
        "line 4: sha256: 'x' is not a SHA-256 in hexadecimal",
        f"line 6: {GUID} is already on line 4",
        "line 7: SMSID: '2' is not a client GUID",
    ]


def test_a_client_guid_may_occur_only_once_in_any_spelling() -> None:
    assert problems("SMSID,Name", f"{GUID},pc1", f"{OTHER},pc2", f"{BARE.lower()},pc1") == [
        f"line 4: {GUID} is already on line 2"
    ]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("SMSID,Name\n".encode("utf-16-le"), "line 1: UTF-16 without a byte order mark"),
        (f"SMSID,Name\n{GUID},pc1\n{OTHER},p\xe4\n".encode("latin-1"), "line 3: not UTF-8 text"),
        (b"\xff\xfeS", "line 1: not UTF-8 text"),
        (b"\x89PNG\r\n\x1a\n\0\0", "line 1: not UTF-8 text"),
        (b"a" * 140_000, "line 1: field larger than field limit"),
    ],
)
def test_other_bytes_are_refused(data: bytes, problem: str) -> None:
    with pytest.raises(ListError) as caught:
        read_list(data, NOW)
    (found,) = caught.value.problems
    assert found.startswith(problem)


# Round trips

SHA256 = st.binary(min_size=32, max_size=32).map(bytes.hex)
NAMES = st.one_of(
    st.from_regex(r"[a-z0-9_-]{1,15}(\.[a-z0-9-]{1,9}){0,2}", fullmatch=True),
    st.text(min_size=1, max_size=40).map(str.lower).filter(is_name),
    st.sampled_from(['a"b', "a,b;c@corp", "#type", "smsid"]),
).filter(lambda name: not name.startswith(("x86", "x64", "arm64")))


@st.composite
def bindings(draw: st.DrawFn) -> Binding:
    name, certificate, key = (draw(st.just("") | values) for values in (NAMES, SHA256, SHA256))
    return Binding(
        guid=f"GUID:{str(draw(st.uuids())).upper()}",
        source=draw(st.sampled_from(Source)),
        since=draw(st.datetimes(timezones=st.just(datetime.UTC))),
        key=key,
        certificate=certificate,
        name=name if certificate or key else name or "pc1",
        signing_key=draw(st.binary(max_size=64)),
    )


LISTS = st.lists(bindings(), max_size=5, unique_by=lambda binding: binding.guid)


@given(LISTS, st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_a_written_list_is_read_unchanged(listed: list[Binding], encoding: str) -> None:
    text = "".join(write_list(listed))
    list_ = read_list(text.encode(encoding), datetime.datetime.now(datetime.UTC))
    assert list_.bindings == tuple(listed)
    assert (list_.skipped, list_.unread) == (0, ())


@given(LISTS)
def test_a_registry_can_store_every_binding_of_a_list(listed: list[Binding]) -> None:
    with Registry(None) as registry:
        assert registry.import_all(listed).added == len(listed)
        assert [*registry.all()] == sorted(listed, key=lambda binding: binding.guid)


@given(st.text(max_size=200), st.sampled_from(["utf-8", "utf-16"]))
def test_any_text_is_a_list_or_a_list_error(text: str, encoding: str) -> None:
    for whole in (text, f"SMSID,Name\n{text}", f"SMSID,since,sha256\n{GUID},{text}"):
        with contextlib.suppress(ListError):
            read_list(whole.encode(encoding, "replace"), NOW)


def test_a_list_is_written_in_lines(tmp_path: Path) -> None:
    binding = Binding(GUID, Source.POLICY, NOW, "a" * 64, DIGEST, "pc1.corp.example", b"\x30\x00")
    assert [*write_list([binding])] == [
        "guid,dns_name,sha256,key,signing_key,source,since\n",
        f"{GUID},pc1.corp.example,{DIGEST},{'a' * 64},MAA=,policy,2026-01-01T00:00:00+00:00\n",
    ]
