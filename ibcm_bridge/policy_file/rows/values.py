"""Types of values that several keys have, and the base of all rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Unpack

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StringConstraints, Tag


def _text(pattern: str, title: str, *examples: str, **more: Any) -> Any:
    """The format of a string: its title and examples are for editors and for messages."""
    return Field(pattern=f"^{pattern}$", title=title, examples=list(examples) or None, **more)


_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?"
_HOST = rf"{_LABEL}(\.{_LABEL})*"
# The last label is not numeric, so an IPv4 address is not a domain name (RFC 3696 section 2).
_FQDN = rf"({_LABEL}\.)+[A-Za-z]([A-Za-z0-9-]*[A-Za-z0-9])?"
_IPV6 = r"\[[0-9A-Fa-f:.]+\]"
_IPV6_ZONE = r"\[[0-9A-Fa-f:.]+(%[A-Za-z0-9_.-]+)?\]"
_HOST_PORT = rf"({_HOST}|{_IPV6_ZONE}):[0-9]{{1,5}}"
_HTTP = rf"http://({_HOST}|{_IPV6})(:[0-9]{{1,5}})?"
# RFC 9110 section 5.6.2: methods and field names are tokens.
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}"

HostName = Annotated[str, _text(_HOST, "a host name", "bridge.internet.example", max_length=253)]
Fqdn = Annotated[
    str,
    _text(_FQDN, "a fully qualified domain name", "bridge.internet.example", max_length=253),
]
Domain = Annotated[str, _text(_HOST, "a domain", "corp.example", max_length=253)]
Listen = Annotated[str, _text(_HOST_PORT, "an address and a port number", "0.0.0.0:443")]
HostPort = Annotated[
    str,
    _text(_HOST_PORT, "a host and a port number without https://", "mp01.corp.example:443"),
]
HttpsUrl = Annotated[
    str,
    _text(
        rf"https://{_HOST}(:[0-9]{{1,5}})?/?",
        "https://NAME or https://NAME:PORT, without a path; "
        "bridging HTTPS to HTTP is not supported (BRIDGE-HTTPS-ONLY)",
    ),
]
HttpUrl = Annotated[
    str,
    _text(
        f"{_HTTP}/?",
        "http://NAME or http://NAME:PORT, without a path; "
        "bridging HTTP to HTTPS is not supported (BRIDGE-HTTPS-ONLY)",
    ),
]
FetchUrl = Annotated[
    str,
    _text(
        f"{_HTTP}/[!-~]*",
        "http://NAME/PATH, without TLS: lists are signed, and TLS would need another list",
        max_length=2_000,
    ),
]
NetworkText = Annotated[
    str,
    _text(
        r"([0-9.]+|[0-9A-Fa-f:.]+)(/[0-9]{1,3})?",
        "an IP network or address",
        "10.0.0.0/24",
        "2001:db8::/64",
    ),
]
Duration = Annotated[
    str, _text("[0-9]{1,4}[smhd]", "a number and a unit (s, m, h or d)", "30m", "12h", "1d")
]
Verb = Annotated[str, _text(_WORD, "a verb", "GET")]
FieldName = Annotated[str, _text(_WORD, "a field name", "SOAPAction")]
EndpointName = Annotated[str, _text("[A-Za-z0-9_]{1,64}", "an endpoint", "MP_LocationManager")]
ElementName = Annotated[
    str, _text("[A-Za-z_][A-Za-z0-9_.-]{0,63}", "an element name", "UpdateSFRequest")
]
Segment = Annotated[
    str, _text("[A-Za-z0-9_.$-]{1,64}", "the whole first segment of a path", "SMS_MP")
]
Because = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=8, max_length=500),
    Field(
        title="a reason of 8 to 500 characters",
        description="the reason, in 8 to 500 characters; check and run print it",
    ),
]
CipherSetting = Literal["modern", "standard", "compatible"]
HighestTls = Annotated[Literal["1.2", "1.3"], Field(title="'1.2' or '1.3', in quotes")]
Port = Annotated[int, Field(ge=1, le=65_535, title="a port number", examples=[443])]
Bytes = Annotated[int, Field(title="a whole number of bytes")]
Count = Annotated[int, Field(title="a whole number")]
Seconds = Annotated[float, Field(gt=0, title="a number of seconds")]


class Row(BaseModel):
    """A mapping of the file: no unknown keys, no converted values."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    examples: ClassVar[list[Any]]
    """For editors and for messages."""

    def __init_subclass__(cls, examples: Sequence[Any] = (), **config: Unpack[ConfigDict]) -> None:
        super().__init_subclass__(**config)
        cls.examples = [*examples]
        cls.model_config["json_schema_extra"] = {"examples": cls.examples} if examples else None


def required(description: str, **more: Any) -> Any:
    """A required key, with its description for editors."""
    return Field(description=description, **more)


def optional(default: Any, description: str, **more: Any) -> Any:
    """An optional key, with its description for editors."""
    return Field(default=default, description=description, **more)


# A value, or a list of items

ONE, SEVERAL = "[one]", "[several]"
"""Parts of pydantic's place of an error in such a value."""

IS_ONE, IS_SEVERAL = Tag(ONE), Tag(SEVERAL)
ONE_OR_SEVERAL = Discriminator(lambda value: SEVERAL if isinstance(value, list) else ONE)
"""Only the problems of the kind that the file has are reported, not those of both."""


class ReasonRow(Row, examples=[{"because": "user policy for laptops"}]):
    """An option that is disabled unless the file has a reason for it."""

    because: Because
