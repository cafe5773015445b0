"""Who may use a directory of a site system: computers by their certificate, and users."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from ibcm_bridge.lab.site_systems.user_authentication import NobodyAccepted, UserAuthentication


def forbidden(certificate: x509.Certificate | None, revoked: Collection[int]) -> bytes:
    """Return why a directory refuses this client certificate; empty if it accepts it.

    `revoked`: serial numbers.
    """
    if certificate is None:
        return b"Client certificate required"
    if certificate.serial_number in revoked:
        return b"Client certificate revoked"
    now = datetime.now(UTC)
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        return b"Client certificate expired or not yet valid"
    # OpenSSL refuses another purpose, but accepts a certificate without extKeyUsage.
    try:
        uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    if ExtendedKeyUsageOID.CLIENT_AUTH in uses:
        return b""
    return b"Client certificate without extended key usage"


def verified_users() -> UserAuthentication:
    """Verify users with pyspnego, which is optional and slow to import; else accept nobody."""
    try:
        from ibcm_bridge.lab.site_systems.windows_authentication import (  # noqa: PLC0415
            WindowsAuthentication,
        )
    except ImportError:
        return NobodyAccepted()
    return WindowsAuthentication()
