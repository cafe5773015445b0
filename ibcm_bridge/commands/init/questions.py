"""What `init` asks: a table. Each question is also an option of the command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PFX_SUFFIXES = frozenset({".pfx", ".p12"})
"""Files with these endings have the certificate and its key (`certificate.pfx`)."""


class InputError(ValueError):
    """Why an input cannot be used, for the person who typed it."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question, its option, and how its input is read."""

    key: str
    """The option without `--`."""
    text: str
    """The question on the terminal, and the help of the option."""
    metavar: str
    read: Callable[[str], str]
    """Return the input as the policy has it. InputError if it cannot be used."""
    default: str | None = None
    """Used if the input is empty. None: the question needs an input."""
    many: bool = False
    """Whether several inputs are possible."""


def _matching(name: str, example: str) -> Callable[[str], str]:
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


def _file(text: str) -> str:
    path = Path(text).expanduser()
    try:
        with path.open("rb"):
            return str(path)
    except OSError as error:
        raise InputError(f"{text} cannot be read: {error.strerror}") from error


_fetch_url = _matching("FetchUrl", "http://pki.corp.example/issuing.crl")


def is_url(text: str) -> bool:
    """Return whether a revocation list is downloaded, and is not a file."""
    return "://" in text


def _revocation_list(text: str) -> str:
    return _fetch_url(text) if is_url(text) else _file(text)


_address = _matching("HostPort", "10.0.0.7:443")


def _site_system(name: str, example: str) -> Callable[[str], str]:
    """Return a reader for `URL`, or `URL,ADDRESS:PORT` if the name does not resolve."""
    read_url = _matching(name, example)

    def read(text: str) -> str:
        url, comma, address = text.partition(",")
        return read_url(url.strip()) + (f",{_address(address.strip())}" if comma else "")

    return read


_https = _site_system("HttpsUrl", "https://mp01.corp.example")
_fqdn = _matching("Fqdn", "cm.example.com")


def _tunnel(text: str) -> str:
    name, equals, address = text.partition("=")
    if not equals:
        raise InputError(f"{text!r} is not NAME=ADDRESS:PORT, such as {_TUNNEL}")
    return f"{_fqdn(name.strip())}={_address(address.strip())}"


_TUNNEL = "enroll.example.com=10.0.0.9:443"

MANAGEMENT_POINT = "management-point"
DISTRIBUTION_POINT = "distribution-point"
UPDATE_POINT = "software-update-point"
STATUS_POINT = "fallback-status-point"

QUESTIONS = (
    Question("name", "Internet FQDN of the site systems", "FQDN", _fqdn),
    Question(
        "listen",
        "address and port to listen on",
        "ADDRESS:PORT",
        _matching("Listen", "0.0.0.0:443"),
        "0.0.0.0:443",
    ),
    Question(
        "certificate", "server certificate with its intermediates: PEM, or PFX", "FILE", _file
    ),
    Question("key", "private key of the server certificate, if it is PEM", "FILE", _file, ""),
    Question(
        "passphrase-file",
        "file with the passphrase of the server certificate's key, if it has one",
        "FILE",
        _file,
        "",
    ),
    Question(
        "client-certificate",
        "certificate that the bridge presents to site systems: PEM, or PFX",
        "FILE",
        _file,
    ),
    Question("client-key", "private key of that certificate, if it is PEM", "FILE", _file, ""),
    Question(
        "client-passphrase-file",
        "file with the passphrase of that certificate's key, if it has one",
        "FILE",
        _file,
        "",
    ),
    Question("root", "root CA of clients and site systems: PEM or DER", "FILE", _file, many=True),
    Question("issuing", "issuing CA: PEM or DER", "FILE", _file, "", many=True),
    Question(
        "crl",
        "revocation list of each CA: a file, or an http:// URL to download it",
        "FILE|URL",
        _revocation_list,
        many=True,
    ),
    Question(MANAGEMENT_POINT, "management point, if there is one", "URL", _https, ""),
    Question(DISTRIBUTION_POINT, "distribution point, if there is one", "URL", _https, ""),
    Question(UPDATE_POINT, "software update point, if there is one", "URL", _https, ""),
    Question(
        "update-listen",
        "address and port for the software update point; it needs its own",
        "ADDRESS:PORT",
        _matching("Listen", "0.0.0.0:8531"),
        "0.0.0.0:8531",
    ),
    Question(
        STATUS_POINT,
        "fallback status point, over plain HTTP, if there is one",
        "URL",
        _site_system("HttpUrl", "http://fsp01.corp.example"),
        "",
    ),
    Question(
        "status-listen",
        "address and port for the fallback status point",
        "ADDRESS:PORT",
        _matching("Listen", "0.0.0.0:80"),
        "0.0.0.0:80",
    ),
    Question(
        "tunnel",
        "a name whose TLS is forwarded without inspection, and its site system",
        "NAME=ADDRESS:PORT",
        _tunnel,
        "",
        many=True,
    ),
)

PUBLISHED = (MANAGEMENT_POINT, DISTRIBUTION_POINT, UPDATE_POINT, STATUS_POINT, "tunnel")
"""At least one of these questions needs an input."""

ONLY_WITH = {"update-listen": UPDATE_POINT, "status-listen": STATUS_POINT}
"""A question that is asked only if another one has an input."""

ONLY_FOR_PEM = {"key": "certificate", "client-key": "client-certificate"}
"""A question that is asked, and then needs an input, only if that certificate is not PFX."""
