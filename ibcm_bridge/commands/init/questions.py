"""What `init` asks: a table. Each question is also an option of the command."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from ibcm_bridge.commands.init import readers
from ibcm_bridge.commands.init.readers import Reader, named


class Name(Enum):
    """The Internet FQDN of a site system."""

    SHARED = auto()
    """The name that all site systems share, unless the input has its own (`NAME=`)."""
    OWN = auto()
    """Always its own: no client uses it together with a management point."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question, its option, and how its input is read."""

    key: str
    """The option without `--`."""
    text: str
    """The question on the terminal, and the help of the option."""
    metavar: str
    read: Reader
    default: str | None = None
    """Used if the input is empty. None: the question needs an input."""
    many: bool = False
    """Whether several inputs are possible."""
    name: Name | None = None
    """Of a question for site systems: how they get their Internet FQDN."""
    rare: bool = False
    """Asked on the terminal only if `MORE` is. The option is always possible."""


MANAGEMENT_POINT = "management-point"
DISTRIBUTION_POINT = "distribution-point"
UPDATE_POINT = "software-update-point"
STATUS_POINT = "fallback-status-point"
CATALOG = "application-catalog-website-point"
POLICY_MODULE = "policy-module"
ENROLLMENT = "enrollment-proxy-point"
TUNNEL = "tunnel"


def _published(key: str, text: str, read: Reader) -> Question:
    """A question for site systems, which can share their name."""
    return Question(key, text, "[NAME=]URL", named(read), "", many=True, name=Name.SHARED)


def _published_apart(key: str, text: str, metavar: str, read: Reader) -> Question:
    """A rare question for site systems, each with its own name."""
    return Question(key, text, metavar, named(read), "", many=True, name=Name.OWN, rare=True)


MORE = Question(
    "more",
    "separate names, several site systems of a role, or other roles? yes or no",
    "",
    readers.one_of("yes", "no"),
    "no",
)
"""Only on the terminal: whether the rest of the interview is the long one."""

QUESTIONS = (
    Question("name", "Internet FQDN that the site systems share", "FQDN", readers.fqdn),
    Question(
        "listen",
        "address and port to listen on",
        "ADDRESS:PORT",
        readers.matching("Listen", "0.0.0.0:443"),
        "0.0.0.0:443",
    ),
    Question(
        "certificate",
        "server certificate with its intermediates: PEM, or PFX",
        "FILE",
        readers.file,
    ),
    Question(
        "key", "private key of the server certificate, if it is PEM", "FILE", readers.file, ""
    ),
    Question(
        "passphrase-file",
        "file with the passphrase of the server certificate's key, if it has one",
        "FILE",
        readers.file,
        "",
    ),
    Question(
        "client-certificate",
        "certificate that the bridge presents to site systems: PEM, or PFX",
        "FILE",
        readers.file,
    ),
    Question(
        "client-key", "private key of that certificate, if it is PEM", "FILE", readers.file, ""
    ),
    Question(
        "client-passphrase-file",
        "file with the passphrase of that certificate's key, if it has one",
        "FILE",
        readers.file,
        "",
    ),
    Question(
        "root", "root CA of clients and site systems: PEM or DER", "FILE", readers.file, many=True
    ),
    Question("issuing", "issuing CA: PEM or DER", "FILE", readers.file, "", many=True),
    Question(
        "crl",
        "revocation list of each CA: a file, or an http:// URL to download it",
        "FILE|URL",
        readers.revocation_list,
        many=True,
    ),
    MORE,
    _published(MANAGEMENT_POINT, "management point, if there is one", readers.https_url),
    _published(DISTRIBUTION_POINT, "distribution point, if there is one", readers.https_url),
    Question(
        "clients",
        "certificate of clients: computer, user (legacy mobile devices) or either; NAME=KIND for "
        "one name",
        "[NAME=]KIND",
        named(readers.one_of("computer", "user", "either")),
        "computer",
        many=True,
        rare=True,
    ),
    _published(UPDATE_POINT, "software update point, if there is one", readers.https_url),
    Question(
        "update-listen",
        "address and port for the software update point; it needs its own, or its own name",
        "ADDRESS:PORT",
        readers.matching("Listen", "0.0.0.0:8531"),
        "0.0.0.0:8531",
    ),
    _published(
        STATUS_POINT,
        "fallback status point, over plain HTTP, if there is one",
        readers.url("HttpUrl", "http://fsp01.corp.example"),
    ),
    Question(
        "status-listen",
        "address and port for the fallback status point",
        "ADDRESS:PORT",
        readers.matching("Listen", "0.0.0.0:80"),
        "0.0.0.0:80",
    ),
    _published_apart(
        CATALOG, "application catalog website point, if there is one", "NAME=URL", readers.https_url
    ),
    _published_apart(
        POLICY_MODULE,
        "NDES with the policy module: ADDRESS:PORT for a tunnel, or a URL to bridge it",
        "NAME=ADDRESS:PORT|URL",
        readers.url_or_address,
    ),
    _published_apart(
        ENROLLMENT, "enrollment proxy point, only as a tunnel", "NAME=ADDRESS:PORT", readers.address
    ),
    _published_apart(
        TUNNEL,
        "another site system whose TLS is forwarded without inspection",
        "NAME=ADDRESS:PORT",
        readers.address,
    ),
    Question(
        "certificate-of",
        "server certificate for one name only, such as dp.example.com=dp.pfx or "
        "dp.example.com=dp.pem,dp.key; then ,FILE with its passphrase, if it has one",
        "NAME=FILE[,KEY][,FILE]",
        readers.certificate_of,
        "",
        many=True,
        rare=True,
    ),
)

OPTIONS = tuple(question for question in QUESTIONS if question is not MORE)

PUBLISHED = tuple(question.key for question in QUESTIONS if question.name is not None)
"""The questions for site systems. At least one of them needs an input."""

ONLY_WITH = {
    "clients": (MANAGEMENT_POINT, DISTRIBUTION_POINT),
    "update-listen": (UPDATE_POINT,),
    "status-listen": (STATUS_POINT,),
}
"""A question that is asked only if one of the others has an input."""

ONLY_FOR_PEM = {"key": "certificate", "client-key": "client-certificate"}
"""A question that is asked, and then needs an input, only if that certificate is not PFX."""
