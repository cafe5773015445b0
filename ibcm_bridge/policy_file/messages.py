"""The policy for ConfigMgr messages: the row `messages` -> `MessagePolicy`."""

from __future__ import annotations

from collections.abc import Sequence

from ibcm_bridge.policy.message_policy import (
    CertificateRenewal,
    Enforcement,
    MessagePolicy,
    UnknownGuids,
)
from ibcm_bridge.policy.publications import (
    HttpPublication,
    Listener,
    PlaintextListener,
    published,
)
from ibcm_bridge.policy_file.reading import Reading, database_file, duration
from ibcm_bridge.policy_file.rows.settings import MessagesRow


def read_messages(
    reading: Reading,
    row: MessagesRow,
    listeners: Sequence[Listener | PlaintextListener],
    *,
    shared: bool,
) -> MessagePolicy:
    """Return the rules. `listeners` determine the default of the internal domains.

    `shared` is true if the bindings are in a database that several machines share.
    """
    identity = Enforcement(row.identity)
    if identity is Enforcement.ENFORCE and row.bindings is None and not shared:
        text = (
            "enforce requires a file for bindings, because a restart would lose them; "
            "write bindings: bindings.sqlite"
        )
        reading.report(("messages", "identity"), text)
    domains = frozenset(map(str.lower, row.internal_domains))
    return MessagePolicy(
        identity=identity,
        unknown_guids=UnknownGuids(row.unknown_guids),
        renewal=CertificateRenewal(row.renewal),
        bindings_file=database_file(reading, ("messages", "bindings"), row.bindings),
        signatures=Enforcement(row.signatures),
        clock_skew=duration(row.clock_skew),
        host_names=Enforcement(row.host_names),
        intranet_only=Enforcement(row.intranet_only),
        internal_domains=domains or _domains_of_site_systems(listeners),
        encrypted_because=row.encrypted.because if row.encrypted else None,
    )


def _domains_of_site_systems(
    listeners: Sequence[Listener | PlaintextListener],
) -> frozenset[str]:
    """Return the domains of the site systems' names, without the domains of publications.

    If the Internet and the intranet share a domain, a name does not show where its host is.
    """
    publications = [publication for _, publication in published(listeners)]
    domains = {
        domain
        for publication in publications
        if isinstance(publication, HttpPublication)
        for role in publication.directories.values()
        for site_system in role.site_systems.listed
        if (domain := _parent(site_system.name)) is not None
    }
    return frozenset(
        domain
        for domain in domains
        if not any(_is_in(publication.name, domain) for publication in publications)
    )


def _parent(name: str) -> str | None:
    """Return the labels after the first; None for an IP address, and if fewer than two remain."""
    parent = name.partition(".")[2]
    # RFC 1123 section 2.1: the last label of a name is never all digits.
    return parent if "." in parent and not parent.rpartition(".")[2].isdigit() else None


def _is_in(name: str, domain: str) -> bool:
    return name == domain or name.endswith(f".{domain}")
