"""Trust anchors, issuing authorities and revocation lists of a policy file."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509

from ibcm_bridge.authentication.certification_path import is_self_signed
from ibcm_bridge.authentication.revocation_list import MALFORMED, key_of, read_list
from ibcm_bridge.decisions.rules import Rule
from ibcm_bridge.policy.trust import Authority, CrlFetch, Revocation, Trust
from ibcm_bridge.policy_file import yaml_tree
from ibcm_bridge.policy_file.addresses import host_port, read_address
from ibcm_bridge.policy_file.crl_files import read_crl_files
from ibcm_bridge.policy_file.folders import is_file, is_folder
from ibcm_bridge.policy_file.reading import Reading, duration
from ibcm_bridge.policy_file.rows.trust import FetchRow, TrustRow


def read_trust(reading: Reading, where: yaml_tree.Place, row: TrustRow, rule: Rule) -> Trust | None:
    """Return the trust of one side. `rule` is the rule of its refusals."""
    anchors = _anchors(reading, where, row)
    issuing = _issuing(reading, where, row, anchors)
    authorities = (*anchors, *issuing)
    without = _without_crl(reading, where, row, authorities)
    fetch = _fetch(reading, (*where, "fetch"), row.fetch)
    sources = [reading.relative(name) for name in row.crls]
    found = _LoadedLists()
    unread = not (sources or fetch or without)
    if unread:
        text = "no revocation lists; write crls, fetch or without_crl"
        reading.report((*where, "crls"), text)
    for index, source in enumerate(sources):
        problems = found.read(source)
        for problem in problems:
            unread = True
            reading.report((*where, "crls", index), problem)
    if fetch is not None:
        found.read(fetch.folder)
        sources.append(fetch.folder)
    with_base = found.with_base(authorities)
    awaited: list[x509.Name] = []
    for certificate in () if unread else authorities:
        if key_of(certificate) in with_base or key_of(certificate) in without:
            continue
        # protocol.md §9.2: without a list, certificates count as revoked. Report that at the start.
        if fetch is not None:
            awaited.append(certificate.subject)
            continue
        subject = certificate.subject.rfc4514_string()
        text = f"no revocation list of {subject}; add it, or write fetch or without_crl"
        reading.report((*where, "crls"), text)
    revocation = Revocation(
        sources=tuple(sources),
        fetch=fetch,
        warn_before=duration(row.warn_before),
        grace=duration(row.grace),
        without_crl=without,
    )
    return Trust(
        tuple(anchors),
        tuple(issuing),
        tuple(found.lists),
        revocation,
        unread_files=tuple(found.unread_files),
        awaited=tuple(awaited),
        rule=rule,
    )


@dataclass(slots=True)
class _LoadedLists:
    """Revocation lists, and the problems of files in folders."""

    lists: list[x509.CertificateRevocationList] = field(default_factory=list)
    unread_files: list[str] = field(default_factory=list)

    def read(self, source: Path) -> list[str]:
        """Read a file or folder. Return the problems of a file.

        Problems of files in a folder are not errors: a folder may have unrelated files.
        """
        read = read_crl_files([source])
        self.lists += (crl for _, crl in read.lists)
        if not is_folder(source):
            return read.problems
        self.unread_files += read.problems
        return []

    def with_base(self, authorities: Sequence[x509.Certificate]) -> set[Authority]:
        """Return the authorities with a base list."""
        found: set[Authority] = set()
        for crl in self.lists:
            revocation_list = read_list(crl, authorities)
            if not isinstance(revocation_list, str) and revocation_list.base_number is None:
                found.add(revocation_list.authority)
        return found


def _without_crl(
    reading: Reading,
    where: yaml_tree.Place,
    row: TrustRow,
    authorities: Sequence[x509.Certificate],
) -> dict[Authority, str]:
    """Return authorities by name and key, with the reasons. Each must be trusted here."""
    found: dict[Authority, str] = {}
    for index, exempt in enumerate(row.without_crl):
        here = (*where, "without_crl", index, "authority")
        named = [
            key_of(authority)
            for authority in authorities
            if _is_named(reading, here, exempt.authority, authority)
        ]
        if not named:
            text = f"{exempt.authority} is not in anchors or issuing; write a file or subject"
            reading.report(here, text)
        found |= dict.fromkeys(named, exempt.because)
    return found


def _is_named(
    reading: Reading, where: yaml_tree.Place, name: str, authority: x509.Certificate
) -> bool:
    if authority.subject.rfc4514_string() == name:
        return True
    if "=" in name or not is_file(reading.relative(name)):
        return False
    data = reading.read(where, name)
    try:
        return data is not None and authority == _certificates(data)[0]
    except (ValueError, IndexError):
        return False


def _fetch(reading: Reading, where: yaml_tree.Place, row: FetchRow | None) -> CrlFetch | None:
    if row is None:
        return None
    folder = reading.relative(row.folder)
    if not is_folder(folder):
        reading.report((*where, "folder"), f"there is no folder {folder}; create it")
    for index, url in enumerate(row.urls):
        read_address(reading, (*where, "urls", index), host_port(url))
    every = duration(row.every)
    if every < _LEAST_EVERY:
        reading.report((*where, "every"), "less than a minute; write at least 1m")
    return CrlFetch(tuple(row.urls), every, folder)


_LEAST_EVERY = datetime.timedelta(minutes=1)


def _anchors(reading: Reading, where: yaml_tree.Place, row: TrustRow) -> list[x509.Certificate]:
    return [found for _, found in _read_certificates(reading, (*where, "anchors"), row.anchors)]


def _issuing(
    reading: Reading,
    where: yaml_tree.Place,
    row: TrustRow,
    anchors: Sequence[x509.Certificate],
) -> list[x509.Certificate]:
    """Return the issuing authorities. Report those that OpenSSL would use as trust anchors.

    OpenSSL has one store for both keys, and ends a path at any self-signed certificate in it.
    """
    found = _read_certificates(reading, (*where, "issuing"), row.issuing)
    for here, certificate in found:
        if certificate not in anchors and is_self_signed(certificate):
            name = certificate.subject.rfc4514_string()[:200]
            text = f"{name} is self-signed and not in anchors; add it there, or remove it here"
            reading.report(here, text)
    return [certificate for _, certificate in found]


def _read_certificates(
    reading: Reading, where: yaml_tree.Place, names: list[str]
) -> list[tuple[yaml_tree.Place, x509.Certificate]]:
    """Return the certificates of files, each with the place of its file."""
    found: list[tuple[yaml_tree.Place, x509.Certificate]] = []
    for index, name in enumerate(names):
        data = reading.read((*where, index), name)
        if data is None:
            continue
        try:
            certificates = _certificates(data)
        except (ValueError, x509.InvalidVersion):
            reading.report((*where, index), f"{name} contains no certificate")
            continue
        unreadable = [certificate for certificate in certificates if not _is_readable(certificate)]
        for certificate in unreadable:
            subject = certificate.subject.rfc4514_string()[:200]
            reading.report((*where, index), f"{subject} has an unreadable extension")
        found += [
            ((*where, index), certificate)
            for certificate in certificates
            if certificate not in unreadable
        ]
    return found


def _is_readable(certificate: x509.Certificate) -> bool:
    """Return whether all extensions can be parsed (`certification_path` and `check` use them)."""
    try:
        return len(certificate.extensions) >= 0
    except MALFORMED:
        return False


def _certificates(data: bytes) -> list[x509.Certificate]:
    if b"-----BEGIN" in data:
        return x509.load_pem_x509_certificates(data)
    return [x509.load_der_x509_certificate(data)]
