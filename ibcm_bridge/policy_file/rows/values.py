"""Types of values that several keys have, and the base of all rows."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

_HOST = r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*"
HostName = Annotated[str, StringConstraints(pattern=f"^{_HOST}$", max_length=253)]
_IPV6 = r"\[[0-9A-Fa-f:.]+\]"
_IPV6_ZONE = r"\[[0-9A-Fa-f:.]+(%[A-Za-z0-9_.-]+)?\]"
HostPort = Annotated[str, StringConstraints(pattern=rf"^({_HOST}|{_IPV6_ZONE}):[0-9]{{1,5}}$")]
HttpsUrl = Annotated[str, StringConstraints(pattern=rf"^https://{_HOST}(:[0-9]{{1,5}})?/?$")]
HttpUrl = Annotated[
    str, StringConstraints(pattern=rf"^http://({_HOST}|{_IPV6})(:[0-9]{{1,5}})?/?$")
]
FetchUrl = Annotated[
    str,
    StringConstraints(
        pattern=rf"^http://({_HOST}|{_IPV6})(:[0-9]{{1,5}})?/[!-~]*$", max_length=2_000
    ),
]
Duration = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,4}[smhd]$")]
Port = Annotated[int, Field(ge=1, le=65_535)]
Because = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=8, max_length=500),
    Field(description="the reason, in 8 to 500 characters; check and run print it"),
]
# RFC 9110 section 5.6.2: methods and field names are tokens.
Token = Annotated[str, StringConstraints(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$")]
EndpointName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]{1,64}$")]
ElementName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")]
Segment = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.$-]{1,64}$")]


class Row(BaseModel):
    """A mapping of the file: no unknown keys, no converted values."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def required(description: str, **more: Any) -> Any:
    """A required key, with its description for editors."""
    return Field(description=description, **more)


def optional(default: Any, description: str) -> Any:
    """An optional key, with its description for editors."""
    return Field(default=default, description=description)


class ReasonRow(Row):
    """An option that is disabled unless the file has a reason for it."""

    because: Because
