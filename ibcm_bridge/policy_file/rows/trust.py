"""Certificates, authorities and revocation lists; whom the bridge lets in, what it presents."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ibcm_bridge.policy_file.rows.values import Because, Duration, FetchUrl, Row, optional, required


class PassphraseRow(Row):
    """Where a passphrase is: a file that holds it, or an environment variable. Never in here."""

    file: str | None = optional(None, "file whose first line is the passphrase")
    environment: str | None = optional(None, "environment variable that holds the passphrase")


class CertificateRow(Row):
    """PEM files: the certificate followed by its intermediates, and its key. Or one PFX file."""

    chain: str | None = optional(None, "PEM file: the certificate, followed by its intermediates")
    key: str | None = optional(None, "PEM file: the private key")
    pfx: str | None = optional(None, "PFX file with all of them, instead of chain and key")
    passphrase: PassphraseRow | None = optional(None, "where the passphrase of the key or PFX is")


class FetchRow(Row):
    """Revocation lists over HTTP. They are signed, and so need no TLS (RFC 5280 §8)."""

    urls: list[FetchUrl] = required("http:// addresses of revocation lists", min_length=1)
    every: Duration = optional("1h", "how often, such as 1h")
    folder: str = required("existing folder that keeps what was fetched")


class WithoutCrlRow(Row):
    """An authority that publishes no list: its certificate as a file, or its subject."""

    authority: str = required("file with its certificate, or its subject as check shows it")
    because: Because


class TrustRow(Row):
    """Files, PEM or DER: trust anchors, issuing authorities, and the revocation lists of all."""

    anchors: list[str] = required("files with self-signed root certificates", min_length=1)
    issuing: list[str] = optional([], "files with the authorities in between")
    crls: list[str] = optional(
        [], "files or folders with a revocation list of every authority above"
    )
    fetch: FetchRow | None = optional(None, "revocation lists to fetch over HTTP")
    warn_before: Duration = optional("1d", "how long before its end a new list is asked for")
    grace: Duration = optional("0s", "how long a list is accepted after its end")
    without_crl: list[WithoutCrlRow] = optional([], "authorities that publish no list, and why")


class ClientsRow(Row):
    """Whom the bridge lets in: which certificates it asks for, and which authorities issue them."""

    certificate: Literal["computer", "user", "either", "optional", "none"] | None = Field(
        default=None,
        description="whom client certificates name; left out: what the roles want",
    )
    trust: TrustRow | None = Field(
        default=None, description="who issues client certificates; not with certificate: none"
    )
    ca_names: Literal["send", "omit"] = optional(
        "omit", "whether clients are told the names of the authorities"
    )
    highest_tls: Literal["1.2", "1.3"] = optional(
        "1.3", "highest TLS version with clients; 1.2 where their TPMs cannot sign PSS"
    )


class SiteSystemsRow(Row):
    """What the bridge presents to its site systems, and how it knows them."""

    certificate: CertificateRow = required("the bridge's client certificate (clientAuth)")
    trust: TrustRow = required("who issues the site systems' certificates")
