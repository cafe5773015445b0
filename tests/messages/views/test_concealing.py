"""Secrets are not shown, at any place and in any notation."""

from __future__ import annotations

import zlib
from xml.sax.saxutils import escape, quoteattr

import pytest

from ibcm_bridge.lab.protocol import ccm
from ibcm_bridge.messages.views import Message, render
from ibcm_bridge.messages.views.concealing import MAX_TEXT, Kind, conceal, kind_of_name

HOW = "ask for them"
SECRET = "hunter2"
OBFUSCATED = "89130000" + "0123456789ABCDEF" * 9
SIGNATURE = "0123456789ABCDEF" * 32
BLOB = "MIIKWgIBAzCCChYGCSqGSIb3DQEHAaCCCgcEggoDMIIJ" * 3

NAMES = (
    *("NetworkAccessUsername", "NetworkAccessPassword", "OSDJoinPassword", "OSDLocalAdminPassword"),
    *("AdminPassword", "SecretValue", "ClientToken", "Token", "Authorization", "RecoveryKey"),
    *("PfxPassword", "private_key", "Shared-Key", "API Key", "ConnectionString", "PassPhrase"),
    *("KeyMaterial", "Pkcs12"),
)
NAMED = [(name, SECRET) for name in NAMES]
NAMED += [(name, "00FF") for name in ("PublicKey", "Signature", "CCMClientTimestampSignature")]
NAMED += [("SignatureValue", "00FF"), ("ClientIDSignature", "00FF")]

LOOKING = {
    "obfuscated": OBFUSCATED,
    "obfuscated, short": OBFUSCATED[:40],
    "signature": SIGNATURE,
    "base64": BLOB,
    "base64 in lines": "\n".join(BLOB[at : at + 64] for at in range(0, len(BLOB), 64)),
    "PEM": "-----BEGIN EC PRIVATE KEY-----\nshort\n-----END EC PRIVATE KEY-----",
    "JWT": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln",
}


def hexed(text: str) -> str:
    return zlib.compress(text.encode("utf-16")).hex().upper()


def policy(xml: str, *, secrets: bool = False) -> str:
    return render(Message.DOCUMENT, b"", xml.encode(), secrets=secrets, how_to_see=HOW)


FORMS = {
    "element": lambda name, value: f"<{name}>{escape(value)}</{name}>",
    "attribute": lambda name, value: f"<a {name}={quoteattr(value)}/>",
    "CDATA": lambda name, value: f"<{name}><![CDATA[{value}]]></{name}>",
    "property": lambda name, value: f'<Property Name="{name}">{escape(value)}</Property>',
    "property of a policy": lambda name, value: (
        f'<property name="{name}" type="8"><value><![CDATA[{value}]]></value></property>'
    ),
    "value beside its name": lambda name, value: f'<P Name="{name}" Value={quoteattr(value)}/>',
    "text around an element": lambda name, value: f"<{name}>{escape(value)}<b/></{name}>",
}


def without_spaces(form: str, name: str) -> str:
    return name if 'ame="' in form else name.replace(" ", "")


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("name", "value"), NAMED)
def test_a_value_with_the_name_of_a_secret_is_not_shown(
    name: str, value: str, form: str, compressed: bool
) -> None:
    one = FORMS[form]("X", "")
    xml = "<r>" + FORMS[form](without_spaces(one, name), value) + "</r>"
    if compressed:
        xml = f'<PolicyXML Compression="zlib">{hexed(xml)}</PolicyXML>'
    text = policy(xml)
    assert value not in text
    assert text.splitlines()[1] == f"1 value is not shown, in [brackets]; {HOW}"
    shown = policy(xml, secrets=True)
    assert value in shown
    assert HOW not in shown


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("look", LOOKING)
def test_key_material_is_not_shown_whatever_its_name(
    look: str, form: str, compressed: bool
) -> None:
    value = LOOKING[look]
    xml = "<r>" + FORMS[form]("Data", value) + "</r>"
    if compressed:
        xml = f'<PolicyXML Compression="zlib">{hexed(xml)}</PolicyXML>'
    text = policy(xml)
    for line in value.split("\n"):
        assert line not in text
    assert HOW in text


SECRET_DOCUMENTS = {
    "flag": f'<property name="Value" secret="1"><value>{SECRET}</value></property>',
    "hidden variable": f'<variable name="X" hidden="true">{SECRET}</variable>',
    "name, then value": f"<p><Name>AdminPassword</Name><Value>{SECRET}</Value></p>",
    "value, then name": f"<p><Value>{SECRET}</Value><Name>AdminPassword</Name></p>",
    "value in a property": '<i><property name="Name"><value>MyPassword</value></property>'
    f'<property name="Value"><value>{SECRET}</value></property></i>',
    "set variable": f'<l><variable name="VariableName">MyPwd</variable><variable '
    f'name="VariableValue">{SECRET}</variable></l>',
    "set any variable": f'<l><variable name="VariableValue">{SECRET}</variable></l>',
    "collection variable": f'<instance class="CCM_CollectionVariable"><x>{SECRET}</x></instance>',
    "below": f"<Credentials><a><b c='{SECRET}'><d>{SECRET}</d></b></a></Credentials>",
    "attribute named secret": f"<a secret='{SECRET}'/>",
    "document in a text": f"<a>&lt;b>&lt;c Password='{SECRET}'/>&lt;/b></a>",
    "document in a CDATA section": f"<a><![CDATA[<b><Password>{SECRET}</Password></b>]]></a>",
    "PolicySecret": f'<a><![CDATA[<PolicySecret Version="1">{SECRET}</PolicySecret>]]></a>',
    "fragments": f"<a>&lt;b/>&lt;Password>{SECRET}&lt;/Password></a>",
    "command line": f"<a>setup.exe /q /password:{SECRET}</a>",
    "switch": f"<a>setup.exe -AdminPassword {SECRET} /q</a>",
    "connection string": f"<a b='Server=x;Password={SECRET}'/>",
    "assignment": f'<a>NetworkAccessPassword = "{SECRET}";</a>',
    "assignment on the next line": f"<a>Password:\n  {SECRET}</a>",
    "JSON": f'<a>{{"client_secret": "{SECRET}"}}</a>',
    "header field": f"<a>Authorization: Basic {SECRET}</a>",
    "scheme": f"<a>Bearer {SECRET}{'x' * 12}</a>",
    "address": f"<a>https://somebody:{SECRET}@host/</a>",
    "signed address": f"<a>https://host/?sv=1&amp;sig={SECRET}</a>",
    "comment": f"<a><!-- {SECRET} -->x</a>",
}


@pytest.mark.parametrize("name", SECRET_DOCUMENTS)
def test_a_secret_is_recognized_by_its_context(name: str) -> None:
    document = f"<r>{SECRET_DOCUMENTS[name]}</r>"
    assert SECRET in document
    assert SECRET not in policy(document)
    assert SECRET not in policy(f'<r Compression="zlib">{hexed(document)}</r>')


def test_the_token_and_the_signatures_of_a_message_are_not_shown() -> None:
    token = f"<![CDATA[ClientToken:{SECRET}\r\nClientTokenSignature:00FF\r\n]]>"
    hook = (
        f'<Hook2 Name="clientauth"><Property Name="Token">{token}</Property>'
        f'<Property Name="PayloadSignature">{SIGNATURE}</Property></Hook2>'
    )
    hint = f"<RegistrationHint>CCMClientID:x\r\nCCMClientIDSignature:{SECRET}</RegistrationHint>"
    payload = hint.encode("utf-16-le")
    header = ccm.message_header("MP_ClientRegistration", len(payload), hook)
    body = ccm.raw_message(header, payload, inner_type=b"text/plain; charset=UTF-16")
    text = render(Message.REQUEST, ccm.CONTENT_TYPE.encode(), body, how_to_see=HOW)
    assert SECRET not in text
    assert SIGNATURE not in text
    assert "00FF" not in text
    assert "PayloadSignature  [256 bytes]" in text
    assert "CCMClientID:x" in text


@pytest.mark.parametrize(
    "shown",
    [
        "<ClientID>GUID:01234567-89AB-CDEF-0123-456789ABCDEF</ClientID>",
        '<PolicyLocation PolicyHash="SHA256:' + "0123456789ABCDEF" * 4 + '"/>',
        '<Location DPTokenAuth="1"/>',
        '<TokenServicesRequest SchemaVersion="1.00"/>',
        '<SignatureAlgorithm AlgID="32780"/>',
        '<property name="Value" secret="0">plain</property>',
        "<DocumentId>ScopeId_01234567-89AB-CDEF-0123-456789ABCDEF/RequiredApplication_01234567"
        "-89AB-CDEF-0123-456789ABCDEF/10/MANIFEST</DocumentId>",
        "<ProductName>1Password manager</ProductName>",
        "<LocalPackage>C:\\Windows\\Installer\\905a8f32c.msi</LocalPackage>",
    ],
)
def test_other_values_are_shown(shown: str) -> None:
    text = policy(f"<r>{shown}</r>")
    assert f"  {shown}" in text.splitlines()
    assert HOW not in text


def test_a_key_that_is_cut_at_the_search_limit_is_not_shown() -> None:
    # The text before it is hidden, so that the key would move into the shown part.
    before = (BLOB + " ") * (MAX_TEXT // (len(BLOB) + 1))
    text = before + "x" * (MAX_TEXT - len(before) - 20) + " " + SIGNATURE
    assert "0123456789ABCDEF" not in conceal(text, Kind.OPEN).text


def test_a_secret_is_found_in_text_that_expat_splits() -> None:
    for length in (8_150, 8_170, 8_190):
        document = f"<r><b/>{'.' * length} {SIGNATURE}<b/>{'.' * length} Password={SECRET}</r>"
        assert "0123456789ABCDEF" not in policy(document)
        assert SECRET not in policy(document)


def test_names_ignore_case_and_punctuation() -> None:
    assert kind_of_name("network_access-PASSWORD") is Kind.SECRET
    assert kind_of_name("x" * 200 + "password") is Kind.OPEN, "no name is that long"
    assert kind_of_name("") is Kind.OPEN
