"""The authorities of a lab as files, so that a later process issues from the same ones."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import (
    Authority,
    LabCredential,
    issuing_authority,
    root_authority,
)


class AuthorityFilesError(Exception):
    """The files are missing or of another kind. The message is one sentence with a solution."""


def write_authorities(pki: LabPki, folder: Path) -> None:
    """Write NAME.pem and NAME.key of each authority to a new folder."""
    folder.mkdir(mode=0o700)
    for name, authority in pki.authorities.items():
        LabCredential(authority.certificate, authority.key, ()).write(folder, name)


def read_authorities(folder: Path, now: datetime) -> LabPki:
    """Read `root` and `issuing`; make the foreign authorities if the folder has none.

    AuthorityFilesError.
    """
    foreign_root = _foreign(folder, "foreign-root") or root_authority("Lab Foreign Root CA", now)
    foreign_issuing = _foreign(folder, "foreign-issuing") or issuing_authority(
        "Lab Foreign Issuing CA", foreign_root, now
    )
    return LabPki(
        now=now,
        root=_authority(folder, "root"),
        issuing=_authority(folder, "issuing"),
        foreign_root=foreign_root,
        foreign_issuing=foreign_issuing,
    )


def _foreign(folder: Path, name: str) -> Authority | None:
    return _authority(folder, name) if (folder / f"{name}.pem").exists() else None


def _authority(folder: Path, name: str) -> Authority:
    files = f"{folder / name}.pem and {name}.key"
    try:
        read = LabCredential.read(folder, name)
    except OSError as error:
        raise AuthorityFilesError(
            f"{error.filename}: {error.strerror}; the folder needs {files}"
        ) from error
    except (ValueError, TypeError, AssertionError) as error:
        raise AuthorityFilesError(f"{files} are not PEM files without a password") from error
    if not isinstance(read.key, ec.EllipticCurvePrivateKey):
        raise AuthorityFilesError(f"the key in {folder / name}.key is not an EC key; make one")
    if read.certificate.public_key() != read.key.public_key():
        raise AuthorityFilesError(f"{files} do not belong together")
    return Authority(read.certificate, read.key)
