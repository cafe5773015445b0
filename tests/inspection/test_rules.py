"""The default rules: messages of real clients are allowed, malicious content in them is refused.

The clean messages are synthetic, with values from inventories, status and state messages: program
names, command lines, registry values, file versions, texts of event logs.
"""

from __future__ import annotations

import base64
import gzip
import io
import random
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from importlib.resources import files
from xml.sax.saxutils import escape, quoteattr

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.inspection.engines import TOO_MANY, YaraEngine
from ibcm_bridge.inspection.verdict import Inspected, inspect
from ibcm_bridge.lab.protocol import ccm, documents
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.request.head import RequestHead

GUID = "0a1b2c3d-0000-4000-8000-00000000000f"
InspectBody = Callable[[bytes], Inspected | Deny]


@pytest.fixture(scope="module")
def yara() -> YaraEngine:
    rules = files("ibcm_bridge.config.rules")
    return YaraEngine(
        (path.name, path.read_text("utf-8"))
        for path in rules.iterdir()
        if path.name.endswith(".yar")
    )


@pytest.fixture(scope="module")
def inspect_body(
    yara: YaraEngine,
    decide: Callable[[RequestHead], Authorized | Deny],
    request_head: Callable[..., RequestHead],
) -> InspectBody:
    def run(body: bytes) -> Inspected | Deny:
        lines = (f"Content-Length: {len(body)}", f"Content-Type: {ccm.CONTENT_TYPE}")
        authorized = decide(request_head("CCM_POST", "/ccm_system/request", *lines))
        assert isinstance(authorized, Authorized)
        return inspect(authorized, body, [yara])

    return run


def post(xml: str, endpoint: str = "MP_HinvEndpoint") -> bytes:
    return ccm.ccm_post_body(endpoint=endpoint, body_xml=xml, client_guid=GUID)


# Messages of clients

COMMAND_LINES = [
    "powershell.exe",
    "powershell -e",
    "PowerShell.exe -NoLogo -NoProfile -ExecutionPolicy Bypass -File C:\\Scripts\\Detect.ps1",
    '"C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe" -Command "Get-Service"',
    "powershell.exe -encoding utf8 -Command Get-ChildItem -Recurse -Exclude *.tmp",
    "powershell.exe -enc SQBFAFgA",
    "pwsh -EncodedCommand",
    "cmd.exe /c echo MZ > out.txt",
    "C:\\Windows\\system32\\cscript.exe //nologo //e:vbscript install.vbs /e /E:1",
    "msiexec.exe /i {90160000-008C-0000-1000-0000000FF1CE} /qn REBOOT=ReallySuppress",
    "sh -c 'exec /bin/true' #!",
    "php.exe -f index.php",
    "w3wp.exe -ap DefaultAppPool -t 20 <script.js",
    "7z.exe a -t7z PK.zip BZh9 Rar! MSCF",
]
FILE_NAMES = [
    "MZ",
    "MZ.exe",
    "PE.dll",
    "7z1900-x64.msi",
    "script.js",
    "ELF",
    "eicar.com",
    "powershell_ise.exe",
    "notepad++.exe",
    "Rar!.exe",
    "gzip.exe",
    "page.aspx",
    "php.ini",
    "install.sh",
    "TVqQ.bin",
    "f0VMRg.bin",
]
REGISTRY_VALUES = [
    "hex:4d,5a,90,00,03,00,00,00",
    "4D5A",
    "4D5A9000",
    "C:\\Program Files\\MZ Tools\\MZTools.dll,-101",
    base64.b64encode(random.Random(1).randbytes(4_000)).decode(),
    random.Random(2).randbytes(4_000).hex().upper(),
    base64.b64encode(
        "Some text of a program, kept in UTF-16 and base64".encode("utf-16-le")
    ).decode(),
    "%SystemRoot%\\system32\\cmd.exe /e:on /f:off",
    "<%s> <%d> <%@> <?xml?> <script",
    "JavaScript, VBScript and PHP <? ?>",
]
EVENTS = [
    "This program cannot be started because a DLL is missing.",
    "The application 'MZ' (PE 1.0) was started; see #!log for more.",
    "Ist das Skript <Script Name='x'> signiert? Größe 5 KB: ja ✓ 日本語",
    'Tom & Jerry <tom@corp.example> writes: "1 < 2 && 3 > 2"',
]


def instance(kind: str, **values: str) -> str:
    inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in values.items())
    return f'<Instance Class="{kind}" Content="New"><{kind}>{inner}</{kind}></Instance>'


def report(content: str, *instances: str) -> str:
    return (
        "<Report><ReportHeader><Identification><Machine><ClientID>GUID:0</ClientID></Machine>"
        f"</Identification><ReportDetails><ReportContent>{content}</ReportContent></ReportDetails>"
        f"</ReportHeader><ReportBody>{''.join(instances)}</ReportBody></Report>"
    )


def autostart() -> str:
    rows = (
        instance("SMS_AutoStartSoftware", Product="MZ", StartupValue=line) for line in COMMAND_LINES
    )
    return report("Inventory Data", *rows)


def software() -> str:
    rows = (
        f"<InventoriedFile><Name>{escape(name)}</Name><Path>C:\\MZ\\</Path><Size>77824</Size>"
        f"<FileVersion>1.0 (MZ)</FileVersion></InventoriedFile>"
        for name in FILE_NAMES
    )
    return report("Inventory Data", *rows)


def registry() -> str:
    return report(
        "Inventory Data",
        *(instance("Registry", Key="HKLM\\SOFTWARE\\MZ", Value=value) for value in REGISTRY_VALUES),
    )


def state() -> str:
    parameters = "".join(f"<Param>{escape(line)}</Param>" for line in EVENTS + COMMAND_LINES)
    return (
        '<Report><ReportBody><StateMessage MessageTime="20260101000000.000000+000"><Topic ID="x" '
        'Type="500" IDType="3"/><State ID="1" Criticality="0"/><UserParameters Flags="0" Count="9">'
        f"{parameters}</UserParameters></StateMessage></ReportBody></Report>"
    )


def status() -> str:
    properties = "".join(
        f"<Property Name={quoteattr(event)}><![CDATA[{event}]]></Property>"
        f"<!-- {event.replace('-', '')} -->"
        for event in EVENTS
    )
    return f'<Status SchemaVersion="1.0"><Properties>{properties}</Properties></Status>'


def scripts() -> str:
    """A report with an element named Script, which is also a name in inventories."""
    return report("Inventory Data", "<Script>x</Script><Script Name='a'/><SCRIPTS/><Scripts/>")


CLEAN: dict[str, Callable[[], bytes]] = {
    "hardware": lambda: post(documents.inventory_report(GUID)),
    "large hardware": lambda: post(documents.inventory_report(GUID, 3_000)),
    "autostart": lambda: post(autostart()),
    "software": lambda: post(software(), "MP_SinvEndpoint"),
    "registry": lambda: post(registry()),
    "state": lambda: post(state(), "MP_RelayEndpoint"),
    "status": lambda: post(status(), "StatusReceiver"),
    "scripts": lambda: post(scripts()),
    "policy": lambda: post(documents.policy_request(GUID), "MP_PolicyManager"),
    "location": lambda: post(documents.location_request(), "MP_LocationManager"),
    "signed": lambda: ccm.ccm_post_body(
        endpoint="MP_HinvEndpoint",
        body_xml=documents.inventory_report(GUID),
        client_guid=GUID,
        key=generate_private_key(65537, 2048),
    ),
    **{
        f"text {index}": lambda text=text: post(f"<Report>{escape(text)}</Report>")  # type: ignore[misc]
        for index, text in enumerate(COMMAND_LINES + FILE_NAMES + REGISTRY_VALUES + EVENTS)
    },
}


@pytest.mark.parametrize("name", CLEAN)
def test_the_messages_of_clients_are_allowed(inspect_body: InspectBody, name: str) -> None:
    result = inspect_body(CLEAN[name]())
    assert isinstance(result, Inspected), result


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_match_no_rule(yara: YaraEngine, seed: int) -> None:
    # Compressed and signed data look random.
    assert yara.scan(b"--boundary\r\n" + random.Random(seed).randbytes(1_000_000)) is None


# Malicious content


def pe(machine: bytes = b"\x64\x86", header_at: int = 0x80) -> bytes:
    """The first bytes of a program."""
    stub = b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0\xb8" + bytes(0x3C - 17)
    stub += (
        header_at.to_bytes(4, "little") + b"\x0e\x1f\xba\x0e\0\xb4\x09\xcd\x21\xb8\x01\x4c\xcd\x21"
    )
    stub += b"This program cannot be run in DOS mode.\r\r\n$"
    return stub.ljust(header_at, b"\0") + b"PE\0\0" + machine + b"\x03\0" + bytes(100)


ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\0\x3e\0" + bytes(40)
ENCODED = base64.b64encode("Invoke-Expression 'exit' # and some more".encode("utf-16-le")).decode()


def text_of(data: bytes) -> dict[str, str]:
    encoded = base64.b64encode(data).decode()
    return {
        "base64": encoded,
        "hex": data.hex(),
        "HEX": data.hex().upper(),
        "shifted once": base64.b64encode(b"x" + data).decode(),
        "shifted twice": base64.b64encode(b"xx" + data).decode(),
        "in lines": "\r\n".join(encoded[at : at + 76] for at in range(0, len(encoded), 76)),
        "after text": f"data:application/octet-stream;base64,{encoded}",
    }


BAD: dict[str, tuple[str, str]] = {
    **{f"pe {name}": ("pe_image_as_text", text) for name, text in text_of(pe()).items()},
    **{
        f"elf {name}": ("elf_image_as_text", text_of(ELF)[name])
        for name in ("base64", "hex", "HEX", "in lines", "after text")
    },
    "pe of Delphi": ("pe_image_as_text", "TVpQAAIAAAAEAA8A//8AALgAAAA"),
    "script": ("script_element", "<script>alert(1)</script>"),
    "SCRIPT": ("script_element", "<SCRIPT>alert(1)</SCRIPT>"),
    "typed script": ("script_element", '<Script type="text/javascript">x</Script>'),
    "script of a source": ("script_element", "<sCrIpT\nsrc='//x'></sCrIpT>"),
    "script of another language": ("script_element", '<script defer language = "vbs">'),
    "asp": ("server_page", '<%@ Page Language="C#" %>'),
    "asp service": ("server_page", '<%@WebService Language="C#" Class="X" %>'),
    "php": ("server_page", "<?php system($_GET['c']); ?>"),
    "PHP": ("server_page", "<?PHP\nphpinfo();"),
    "sh": ("unix_script", "#!/bin/sh\nid"),
    "env": ("unix_script", "#! /usr/bin/env python3\n"),
    "powershell": ("powershell_encoded_command", f"powershell -enc {ENCODED}"),
    "powershell with parameters": (
        "powershell_encoded_command",
        f'"C:\\x\\PowerShell.exe" -NoP -NonI -W Hidden -Exec Bypass -EncodedCommand "{ENCODED}"',
    ),
    "powershell with slashes": ("powershell_encoded_command", f"POWERSHELL.EXE /e {ENCODED}"),
    "pwsh": ("powershell_encoded_command", f"pwsh -ec {ENCODED}"),
}
WAYS: dict[str, Callable[[str], str]] = {
    "escaped": lambda text: f"<Report><a>x</a>{escape(text)}</Report>",
    "CDATA": lambda text: f"<Report><![CDATA[{text}]]></Report>",
    "attribute": lambda text: f"<Report Name={quoteattr(text)}/>",
    "references": lambda text: f"<Report>{''.join(f'&#{ord(c)};' for c in text)}</Report>",
    "pieces": lambda text: f"<Report><a>{escape(text[:5])}</a><b>{escape(text[5:])}</b></Report>",
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", BAD)
def test_malicious_content_in_a_message_matches_its_rule(
    inspect_body: InspectBody, name: str, way: str
) -> None:
    rule, text = BAD[name]
    result = inspect_body(post(WAYS[way](text)))
    assert isinstance(result, Deny), f"{name} passed"
    assert (result.reason, result.rule) == (Reason.MALICIOUS_CONTENT, "engines.yara-x")
    assert result.detail.startswith(f"{rule} in ")


def test_php_as_a_processing_instruction_is_found(inspect_body: InspectBody) -> None:
    result = inspect_body(post("<Report><?php system('id') ?></Report>"))
    assert isinstance(result, Deny)
    assert result.detail == "server_page in text"


def archive(kind: str) -> bytes:
    stream = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(stream, "w") as one:
            one.writestr("a", "b")
    else:
        with tarfile.open(fileobj=stream, mode=f"w:{kind}") as other:  # type: ignore[call-overload]
            other.addfile(tarfile.TarInfo("a"))
    return stream.getvalue()


FILES: dict[str, tuple[str, bytes]] = {
    "pe": ("pe_image", pe()),
    "pe far down": ("pe_image", pe(header_at=0x400)),
    "elf": ("elf_image", ELF),
    "mach-o": ("mach_o_image", bytes.fromhex("CFFAEDFE07000001") + bytes(100)),
    "mach-o big-endian": ("mach_o_image", bytes.fromhex("FEEDFACE") + bytes(100)),
    "universal": ("mach_o_image", bytes.fromhex("CAFEBABE00000002") + bytes(100)),
    "zip": ("archive", archive("zip")),
    "gzip": ("archive", gzip.compress(b"x")),
    "xz": ("archive", archive("xz")),
    "bzip2": ("archive", archive("bz2")),
    "cabinet": ("archive", b"MSCF" + bytes(40)),
    "rar": ("archive", b"Rar!\x1a\x07\x01\x00"),
    "7z": ("archive", bytes.fromhex("377ABCAF271C0004")),
    "zstandard": ("archive", bytes.fromhex("28B52FFD") + bytes(20)),
    "lz4": ("archive", bytes.fromhex("04224D18") + bytes(20)),
    "old lz4": ("archive", bytes.fromhex("02214C18") + bytes(20)),
    "skippable frame": ("archive", bytes.fromhex("5F2A4D18") + bytes(20)),
    "ole": ("ole_document", bytes.fromhex("D0CF11E0A1B11AE1") + bytes(100)),
}
ANYWHERE = {"xz", "rar", "7z", "ole"}
"""Long signatures, which are found behind other data."""
BEHIND_A_PROGRAM = ANYWHERE | {"zstandard", "lz4"}


@pytest.mark.parametrize("name", FILES)
def test_each_file_type_matches_its_rule(yara: YaraEngine, name: str) -> None:
    rule, data = FILES[name]
    assert yara.scan(data) == rule
    behind = {"pe": "pe_image_inside", "pe far down": "pe_image_inside"}
    assert yara.scan(b" " + data) == (rule if name in ANYWHERE else behind.get(name))


@pytest.mark.parametrize("name", BEHIND_A_PROGRAM)
@pytest.mark.parametrize("size", [0, 100, 1_500_000])
def test_an_archive_behind_a_program_is_found(yara: YaraEngine, name: str, size: int) -> None:
    # MZ, but not a PE header, which another rule finds.
    rule, data = FILES[name]
    stub = b"MZ" + random.Random(size).randbytes(size)
    assert yara.scan(stub + data) == rule
    assert yara.scan(stub + data[:3] + b"\xaa" + data[4:]) is None
    # Members of an opened archive are scanned by themselves.
    assert yara.scan(b"PK\x03\x04" + data, opened=True) is None


@pytest.mark.parametrize(
    "text",
    [
        *(
            "7z\xbc\xaf",
            "a Rar!",
            "MZ Rar! 7z XZ",
            "\ufffd7zXZ",
            "MZ (\xb5/\xfd",
            "MZ 37 7A BC AF 27 1C",
        ),
        *("MZ D0CF11E0A1B11AE1", "0M8R4KGxGuE=", "N3q8ryccAAQ=", "UmFyIRoHAQA="),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16"])
def test_text_about_archives_is_allowed(yara: YaraEngine, text: str, encoding: str) -> None:
    assert yara.scan(text.encode(encoding)) is None


@pytest.mark.parametrize("machine", ["4C01", "C001", "C401", "64AA", "6486"])
def test_a_program_inside_other_data_is_found(yara: YaraEngine, machine: str) -> None:
    assert yara.scan(b"text" + pe(bytes.fromhex(machine))) == "pe_image_inside"
    assert yara.scan(b"text" + pe(b"\xff\xff")) is None


@pytest.mark.parametrize("name", FILES)
def test_a_file_instead_of_a_message_is_refused_in_any_compression(
    inspect_body: InspectBody, name: str
) -> None:
    _, data = FILES[name]
    header = ccm.message_header("MP_HinvEndpoint", len(data) // 2 * 2, client_guid=GUID)
    plain = ccm.message_header("MP_HinvEndpoint", len(data) // 2 * 2, "", client_guid=GUID)
    for body in (
        data,
        ccm.raw_message(header, data),
        ccm.raw_message(header, zlib.compress(data)),
        ccm.raw_message(plain, data, inner_type=b"text/plain; charset=UTF-16"),
    ):
        assert isinstance(inspect_body(body), Deny)


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece",
    [
        "powershell ",
        "powershell -e ",
        "powershell -a b -a b -a b -e ",
        "<script ",
        "<%@ ",
        "This program cannot be run in DOS ",
        "VGhpcyBwcm9ncmFtIGNhbm5vdCBi",
        "4D5A9000",
        "TVqQAAMAAAAE",
        "#!/bin/",
        "A",
    ],
)
def test_very_many_partial_matches_do_not_hide_a_match(yara: YaraEngine, piece: str) -> None:
    text = piece * (1_100_000 // len(piece))
    allowed = {"#!/bin/": "unix_script", "<script ": TOO_MANY, "<%@ ": TOO_MANY}.get(piece)
    assert yara.scan(text.encode()) in (None, allowed)
    assert yara.scan(f"{text} <script>x".encode()) is not None
