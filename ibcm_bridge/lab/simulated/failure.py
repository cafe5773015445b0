"""Why an action of a client failed, as a value.

A scene requires this value: a failure for another reason shows something else than its sentence.
"""

from __future__ import annotations

import errno
import ssl
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from ibcm_bridge.lab.protocol.client import ConnectionEnded, HandshakeRefused, Response


class Failure(StrEnum):
    """What the client observes, if it is not the status of a response."""

    NAME_NOT_FOUND = "the name cannot be resolved"
    PORT_NOT_PUBLISHED = "the host does not publish this port"
    NO_NAME = "the client knows no site system of this role"
    NOT_HTTPS = "the location of the content is not HTTPS"
    SEVERAL = "the site systems failed, each for another reason"
    PROHIBITED = "a firewall blocks the connection"
    NOT_LISTENING = "the connection is refused"
    TIMEOUT = "no response in time"
    UNTRUSTED = "the server's certificate is not from a trusted CA"
    OTHER_NAME = "the server's certificate is for another name"
    CERTIFICATE = "the server's certificate is not valid"
    CERTIFICATE_REQUIRED = "the server requires a client certificate"
    HANDSHAKE = "the server refuses the TLS handshake"
    CONNECTION = "the connection is closed without a response"
    OTHER = "an error of this computer, and not of the server"
    """No scene requires it."""
    OTHER_RESPONSE = "the response has other content than a success"
    UNKNOWN_USER = "the domain controller does not know the user"
    UNKNOWN_SERVICE = "the domain controller does not know the service"
    WORKGROUP = "a workgroup computer must be Internet-only"
    MOBILE_DEVICE = "a mobile device must be Internet-only"
    SECONDARY_SITE = "a client needs a primary site"
    NO_INTERNET_NAME = "an Internet-only client needs an Internet management point"
    DOMAIN = "the domain controller does not issue a ticket"


type Cause = Failure | int
"""A failure, or the status of the response."""


class Unreachable(Exception):
    """A name that cannot be resolved in this network, or no reachable site system."""

    def __init__(self, text: str, failure: Failure) -> None:
        super().__init__(text)
        self.failure = failure


def failure_of(error: Exception) -> Failure:
    """Return the failure of an attempt without a response."""
    match error:
        case Unreachable():
            return error.failure
        case ssl.SSLCertVerificationError():
            return _CERTIFICATE.get(error.verify_code, Failure.CERTIFICATE)
        case HandshakeRefused():
            required = error.alert == "certificate required"
            return Failure.CERTIFICATE_REQUIRED if required else Failure.HANDSHAKE
        case TimeoutError():
            return Failure.TIMEOUT
        case ConnectionEnded() | ConnectionResetError() | BrokenPipeError():
            return Failure.CONNECTION
        case OSError():
            return _ERRNO.get(error.errno or 0, Failure.OTHER)
    return Failure.OTHER


def cause_of(response: Response) -> Cause:
    """Return why a response is a failure: its status, or its content if the status is good."""
    return response.status if response.status >= 400 else Failure.OTHER_RESPONSE


_CERTIFICATE: Mapping[int, Failure] = MappingProxyType(
    {
        # X509_V_ERR_* of OpenSSL (x509_vfy.h): no known issuer, for a leaf, a root and between.
        18: Failure.UNTRUSTED,
        19: Failure.UNTRUSTED,
        20: Failure.UNTRUSTED,
        21: Failure.UNTRUSTED,
        62: Failure.OTHER_NAME,
    }
)

_ERRNO: Mapping[int, Failure] = MappingProxyType(
    {
        # Linux reports ICMP admin-prohibited, which the lab's firewall sends, as EHOSTUNREACH.
        errno.EHOSTUNREACH: Failure.PROHIBITED,
        errno.ECONNREFUSED: Failure.NOT_LISTENING,
    }
)
