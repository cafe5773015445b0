"""Certificates, authorities and revocation lists of both legs."""

from __future__ import annotations

from typing import Literal

from ibcm_bridge.policy_file.rows.values import (
    Because,
    CipherSetting,
    Duration,
    FetchUrl,
    HighestTls,
    Row,
    optional,
    required,
)

_PAIR = {"chain": "bridge.pem", "key": "bridge.key"}
_TRUST = {"anchors": ["root.pem"], "crls": ["root.crl"]}
_FETCH = {"urls": ["http://pki.corp.example/issuing.crl"], "folder": "lists"}


class PassphraseRow(Row, examples=[{"file": "bridge.pass"}, {"environment": "BRIDGE_PASS"}]):
    """A passphrase, in a file or an environment variable, never in the policy itself."""

    file: str | None = optional(None, "file with the passphrase in its first line")
    environment: str | None = optional(None, "environment variable with the passphrase")


class CertificateRow(Row, examples=[_PAIR, {"pfx": "bridge.pfx"}]):
    """A certificate with its intermediates, and its private key: two PEM files, or a PFX file."""

    chain: str | None = optional(None, "PEM file: the certificate, followed by its intermediates")
    key: str | None = optional(None, "PEM file: the private key")
    pfx: str | None = optional(
        None, "PFX file with certificate, key and intermediates, instead of chain and key"
    )
    passphrase: PassphraseRow | None = optional(
        None,
        "the passphrase of the key or PFX file",
        title="keys and values, never the passphrase itself",
    )


class FetchRow(Row, examples=[_FETCH]):
    """Revocation lists to download. They are signed and need no TLS (RFC 5280 §8)."""

    urls: list[FetchUrl] = required(
        "http:// URLs of revocation lists", min_length=1, examples=[_FETCH["urls"]]
    )
    every: Duration = optional("1h", "the interval, such as 1h")
    folder: str = required("existing folder for the downloaded lists")


class WithoutCrlRow(Row, examples=[{"authority": "issuing.pem", "because": "no list exists"}]):
    """A CA that publishes no revocation list."""

    authority: str = required("file with its certificate, or its subject as shown by check")
    because: Because


class TrustRow(Row, examples=[_TRUST]):
    """Trust anchors, issuing CAs, and their revocation lists: PEM or DER files."""

    anchors: list[str] = required(
        "files with self-signed root certificates", min_length=1, examples=[["root.pem"]]
    )
    issuing: list[str] = optional([], "files with intermediate CAs", examples=[["issuing.pem"]])
    crls: list[str] = optional(
        [],
        "files or folders with the revocation lists of all these CAs",
        examples=[["root.crl"]],
    )
    fetch: FetchRow | None = optional(None, "revocation lists to download over HTTP")
    warn_before: Duration = optional("1d", "how long before the expiry of a list to warn")
    grace: Duration = optional("0s", "how long an expired list is still accepted")
    without_crl: list[WithoutCrlRow] = optional([], "CAs that publish no list, each with a reason")


Resumption = Literal["allow", "refuse"]


class ClientsRow(Row, examples=[{"trust": _TRUST}]):
    """Accepted client certificates: their kind, and their CAs."""

    certificate: Literal["computer", "user", "either", "optional", "none"] | None = optional(
        None, "the kind of client certificate; if omitted, the default of the roles"
    )
    trust: TrustRow | None = optional(
        None, "CAs of client certificates; not with certificate: none"
    )
    ca_names: Literal["send", "omit"] = optional(
        "omit", "whether the handshake sends the names of the CAs to clients"
    )
    highest_tls: HighestTls = optional(
        "1.3", "highest TLS version with clients; 1.2 for TPMs without PSS"
    )
    tls: CipherSetting = optional("standard", "cipher suites with clients in TLS 1.2")
    resumption: Resumption = optional(
        "refuse", "whether clients may resume TLS sessions; their cache can use 160 MB of memory"
    )


class SiteSystemsRow(Row, examples=[{"certificate": _PAIR, "trust": _TRUST}]):
    """The bridge's certificate for site systems, and the CAs of site systems."""

    certificate: CertificateRow = required("the bridge's client certificate (clientAuth)")
    trust: TrustRow = required("CAs of the site systems' certificates")
    resumption: Resumption = optional("allow", "whether new legs resume TLS sessions")
