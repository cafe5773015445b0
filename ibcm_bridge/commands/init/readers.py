"""Readers of one input: the text that was typed -> the text that the policy has, or InputError."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

PFX_SUFFIXES = frozenset({".pfx", ".p12"})
"""Files with these endings have the certificate and its key (`certificate.pfx`)."""

type Reader = Callable[[str], str]
"""Returns the input as the policy has it. InputError if it cannot be used."""


class InputError(ValueError):
    """Why an input cannot be used, for the person who typed it."""


def matching(name: str, example: str) -> Reader:
    """Return a reader for a type of the policy file, by its name in `policy_file.rows.values`."""

    def read(text: str) -> str:
        # Not at the top: the help of every command would load pydantic.
        from pydantic import TypeAdapter, ValidationError

        from ibcm_bridge.policy_file.rows import values

        adapter: TypeAdapter[str] = TypeAdapter(getattr(values, name))
        try:
            return adapter.validate_python(text)
        except ValidationError:
            title = adapter.json_schema()["title"]
            raise InputError(f"{text!r} is not {title}, such as {example}") from None

    return read


def one_of(*words: str) -> Reader:
    """Return a reader for one of a few words. Case is ignored."""

    def read(text: str) -> str:
        if text.lower() in words:
            return text.lower()
        raise InputError(f"{text!r} is not {', '.join(words[:-1])} or {words[-1]}")

    return read


def file(text: str) -> str:
    path = Path(text).expanduser()
    try:
        with path.open("rb"):
            return str(path)
    except OSError as error:
        raise InputError(f"{text} cannot be read: {error.strerror}") from error


def is_url(text: str) -> bool:
    """Return whether an input is a URL, and not a file or an address."""
    return "://" in text


def is_pfx(name: str) -> bool:
    return Path(name).suffix.lower() in PFX_SUFFIXES


def certificate_of(text: str) -> str:
    """Read a certificate for one name: `NAME=FILE`, with its key if it is PEM, and a passphrase."""
    name, _, files = text.partition("=")
    certificate, *others = files.split(",")
    least = 0 if is_pfx(certificate.strip()) else 1
    if not certificate or not least <= len(others) <= least + 1:
        raise InputError(f"{text!r} is not NAME=FILE.pfx or NAME=FILE.pem,KEY")
    return f"{fqdn(name.strip())}={','.join(file(part.strip()) for part in (certificate, *others))}"


_fetch_url = matching("FetchUrl", "http://pki.corp.example/issuing.crl")


def revocation_list(text: str) -> str:
    return _fetch_url(text) if is_url(text) else file(text)


fqdn = matching("Fqdn", "cm.example.com")
address = matching("HostPort", "10.0.0.7:443")


def url(name: str, example: str) -> Reader:
    """Return a reader for `URL`, or `URL,ADDRESS:PORT` if the name does not resolve."""
    read_url = matching(name, example)

    def read(text: str) -> str:
        site_system, comma, connect = text.partition(",")
        connect = f",{address(connect.strip())}" if comma else ""
        return read_url(site_system.strip()) + connect

    return read


https_url = url("HttpsUrl", "https://mp01.corp.example")


def url_or_address(text: str) -> str:
    return https_url(text) if is_url(text) else address(text)


def named(read: Reader) -> Reader:
    """Return a reader for `NAME=VALUE`, or `VALUE` for the name that all share."""

    def read_named(text: str) -> str:
        name, equals, value = text.partition("=")
        return f"{fqdn(name.strip())}={read(value.strip())}" if equals else read(text)

    return read_named
