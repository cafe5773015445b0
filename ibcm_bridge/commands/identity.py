"""`ibcm-bridge identity`: manages the client GUID bindings."""

from __future__ import annotations

import argparse
import base64
import contextlib
import datetime
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ibcm_bridge.commands.common import (
    EXIT_PROBLEM,
    EXIT_USAGE,
    Subcommands,
    add_config,
    counted,
    read_policy,
)
from ibcm_bridge.commands.shared_registry import shared_registry
from ibcm_bridge.identity.bindings import Binding, Source
from ibcm_bridge.messages.client_guid import read_guid
from ibcm_bridge.os_errors import cannot_write
from ibcm_bridge.storage.binding_registry import Registry, RegistryError, no_registry
from ibcm_bridge.storage.device_list import ListError, read_list, write_list
from ibcm_bridge.storage.stores import BindingStore, Imported

if TYPE_CHECKING:
    from ibcm_bridge.policy.message_policy import MessagePolicy
    from ibcm_bridge.policy.policy import StateDatabase
    from ibcm_bridge.storage.postgresql_stores import SharedRegistry

_MAX_LISTED = 20
"""The maximum number of kept bindings that an import lists."""


def add(commands: Subcommands) -> None:
    parser = commands.add_parser(
        "identity",
        help="show and change client GUID bindings",
        description="Show and change the client GUID bindings. A binding assigns a client GUID to "
        "a client certificate. The bindings are in the file that messages.bindings names in the "
        "policy, or in the database that state names. A change applies to a running bridge "
        "immediately. Exit status: 0 done, 1 not found or failed, 2 usage error.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    def action(name: str, act: _Act, text: str) -> argparse.ArgumentParser:
        made = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        add_config(made)
        made.set_defaults(run=_run, act=act)
        return made

    action("init", _init, "create the file or the tables of bindings, without bindings")
    listing = action("list", _list, "list all bindings")
    listing.add_argument(
        "--json", action="store_true", help="print one JSON object per client GUID"
    )
    show = action("show", _show, "show the binding of a client GUID")
    forget = action("forget", _forget, "remove the binding of a client GUID")
    for parser_ in (show, forget):
        parser_.add_argument(
            "guid", type=_guid, metavar="GUID", help="client GUID, with or without the prefix GUID:"
        )
    import_ = action(
        "import", _import, "import bindings from a CSV file: all lines, or none if one is invalid"
    )
    import_.add_argument(
        "file", type=Path, metavar="FILE", help="CSV file with a header line, such as SMSID,Name"
    )
    import_.add_argument("--replace", action="store_true", help="replace existing bindings")
    export = action(
        "export", _export, "export all bindings as CSV, in the format that import reads"
    )
    export.add_argument(
        "--output", type=Path, metavar="FILE", help="write to FILE instead of standard output"
    )


def _run(options: argparse.Namespace) -> int:
    policy = read_policy(options.config)
    if policy is None:
        return EXIT_PROBLEM
    messages = policy.messages
    if policy.state is not None:
        place: _Place = _Database(policy.state)
    elif messages.bindings_file is not None:
        place = _File(messages.bindings_file)
    else:
        _complain("the policy names no file for bindings; add one, for example:")
        print("messages:\n  bindings: bindings.sqlite", file=sys.stderr)
        return EXIT_PROBLEM
    act: _Act = options.act
    try:
        return act(options, messages, place, datetime.datetime.now(datetime.UTC))
    except RegistryError as error:
        _complain(str(error))
        return EXIT_PROBLEM


class _Place(Protocol):
    """Where the bindings are."""

    def create(self) -> bool:
        """Create an empty place. Return False if it exists, which changes nothing."""

    def opened(self) -> contextlib.AbstractContextManager[BindingStore]:
        """Open the place, which is created if necessary."""

    def existing(self) -> contextlib.AbstractContextManager[BindingStore]:
        """Open an existing place."""


class _File:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    def create(self) -> bool:
        if no_registry(self._path) is None and self._path.exists():
            return False
        Registry(self._path).close()
        return True

    def opened(self) -> Registry:
        return Registry(self._path)

    def existing(self) -> Registry:
        return _existing(self._path)


class _Database:
    """A database, which its administrator creates. The place is its schema."""

    def __init__(self, state: StateDatabase) -> None:
        self._state = state

    def __str__(self) -> str:
        return self._state.address

    def create(self) -> bool:
        with self.opened() as registry:
            return registry.created

    def opened(self) -> SharedRegistry:
        return shared_registry(self._state, creates=True)

    def existing(self) -> SharedRegistry:
        return shared_registry(self._state)


type _Act = Callable[[argparse.Namespace, MessagePolicy, _Place, datetime.datetime], int]


def _init(_: argparse.Namespace, messages: MessagePolicy, place: _Place, __: object) -> int:
    if not place.create():
        with place.opened() as registry:
            count = sum(1 for _ in registry.all())
        _complain(f"{place} already exists, with {counted(count, 'binding')}; nothing was changed")
        return EXIT_PROBLEM
    print(f"{place} was created, without bindings.")
    print(_AFTER_INIT[str(messages.identity), str(messages.unknown_guids)])
    return 0


_AFTER_INIT = {
    ("enforce", "learn"): "Each client GUID will be bound to the first client for which a "
    "management point accepts it.",
    ("enforce", "refuse"): "Requests with a client GUID are refused (unknown_guids: refuse) until "
    "it is imported.",
    ("observe", "learn"): "Bindings are report-only (identity: observe).",
    ("observe", "refuse"): "Bindings are report-only (identity: observe).",
}
"""The meaning of a registry without bindings, by `identity` and `unknown_guids`."""


def _list(options: argparse.Namespace, _: MessagePolicy, place: _Place, __: object) -> int:
    with place.existing() as registry:
        lines = _records(registry) if options.json else _table([*registry.all()])
        for line in lines:
            print(line)
    return 0


def _records(registry: BindingStore) -> Iterator[str]:
    for binding in registry.all():
        yield json.dumps(
            {
                "client_guid": binding.guid,
                "name": binding.name,
                "source": binding.source,
                "since": binding.since.isoformat(),
                "key_sha256": binding.key,
                "certificate_sha256": binding.certificate,
                "signing_key": base64.b64encode(binding.signing_key).decode("ascii"),
            }
        )


def _table(bindings: Sequence[Binding]) -> Iterator[str]:
    """Columns of equal width. 16 digits of a key distinguish it from others."""
    rows = [("CLIENT GUID", "NAME", "SOURCE", "SINCE", "KEY")]
    for binding in bindings:
        rows.append(
            (
                binding.guid,
                binding.name or "-",
                binding.source,
                _time(binding),
                binding.key[:16] or "-",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _show(options: argparse.Namespace, _: MessagePolicy, place: _Place, __: object) -> int:
    with place.existing() as registry:
        binding = registry.find(options.guid)
    if binding is None:
        return _unknown(options.guid)
    signing_key = base64.b64encode(binding.signing_key).decode("ascii")
    for title, text in (
        ("client GUID", binding.guid),
        ("name", binding.name or "unknown"),
        ("certificate SHA-256", binding.certificate or "unknown"),
        ("key SHA-256", binding.key or _NOT_BOUND_YET),
        ("signing key", signing_key or "unknown"),
        ("source", f"{binding.source}: {_SOURCES[binding.source]}"),
        ("since", _time(binding)),
    ):
        print(f"{title:<20} {text}")
    return 0


_NOT_BOUND_YET = (
    "not bound yet; will bind to the first client that matches the name or certificate above"
)
_SOURCES = {
    Source.REGISTRATION: "a management point accepted its registration",
    Source.POLICY: "a management point returned policy for a message that it signed",
    Source.IMPORT: "an administrator imported it",
    Source.RENEWAL: "it presented another certificate with the same name, which the policy allows",
}


def _forget(options: argparse.Namespace, messages: MessagePolicy, place: _Place, _: object) -> int:
    with place.existing() as registry:
        if not registry.forget(options.guid):
            return _unknown(options.guid)
    print("Binding removed.")
    print(_AFTER_FORGET[str(messages.identity), str(messages.unknown_guids)])
    return 0


_NEXT_BINDING = "It will be bound to the first client for which a management point accepts it"
_REPORT_ONLY = "Bindings are report-only (identity: observe)."
_AFTER_FORGET = {
    ("enforce", "learn"): f"{_NEXT_BINDING}.",
    ("enforce", "refuse"): "Requests with this GUID are refused (unknown_guids: refuse) until it "
    "is imported.",
    ("observe", "learn"): f"{_NEXT_BINDING}. {_REPORT_ONLY}",
    ("observe", "refuse"): f"{_NEXT_BINDING}. {_REPORT_ONLY}",
}
"""What happens next with the client GUID, by `identity` and `unknown_guids`."""


def _import(
    options: argparse.Namespace, _: MessagePolicy, place: _Place, now: datetime.datetime
) -> int:
    try:
        listed = read_list(options.file.read_bytes(), now)
    except OSError as error:
        _complain(f"{options.file} cannot be read: {error.strerror}")
        return EXIT_USAGE
    except ListError as error:
        for problem in error.problems:
            print(f"{options.file}: {problem}", file=sys.stderr)
        _complain(f"{counted(len(error.problems), 'problem')}; nothing was imported")
        return EXIT_PROBLEM
    with place.opened() as registry:
        done = registry.import_all(listed.bindings, replace=options.replace)
    for kept, listed_as in done.kept[:_MAX_LISTED]:
        print(f"kept: {kept.guid} is bound to {_label(kept)}, the file has {_label(listed_as)}")
    if len(done.kept) > _MAX_LISTED:
        print(f"kept: {len(done.kept) - _MAX_LISTED} more")
    if listed.unread:
        print(f"ignored columns: {', '.join(map(ascii, listed.unread))}")
    print(_summary(done, listed.skipped))
    if done.kept:
        print("Use --replace to replace the kept bindings.")
    return 0


def _summary(done: Imported, skipped: int) -> str:
    counts = {
        "imported": done.added,
        "replaced": done.replaced,
        "unchanged": done.unchanged,
        "kept": len(done.kept),
        "skipped": skipped,
    }
    always = ("imported", "kept", "skipped")
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count or word in always)


def _label(binding: Binding) -> str:
    if binding.name:
        return binding.name
    if binding.certificate:
        return f"certificate {binding.certificate[:16]}"
    return f"key {binding.key[:16]}"


def _export(options: argparse.Namespace, _: MessagePolicy, place: _Place, __: object) -> int:
    with place.existing() as registry:
        lines = (line.encode() for line in write_list(registry.all()))
        if options.output is None:
            # As bytes: an import needs UTF-8, whatever the encoding of standard output is.
            sys.stdout.flush()
            sys.stdout.buffer.writelines(lines)
            sys.stdout.buffer.flush()
            return 0
        try:
            _write(options.output, lines)
        except OSError as error:
            _complain(cannot_write(error, options.output, "name another FILE"))
            return EXIT_PROBLEM
    return 0


def _write(path: Path, lines: Iterator[bytes]) -> None:
    """Write a file atomically, with permissions for its owner only.

    A device, a pipe or a link such as /dev/stdout is not replaced but written to.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        with path.open("wb") as file:
            file.writelines(lines)
        return
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    part.touch(0o600, exist_ok=False)
    try:
        with part.open("wb") as file:
            file.writelines(lines)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _existing(path: Path) -> Registry:
    """Open the existing file. A file created here could belong to the wrong user."""
    try:
        is_there = path.exists()
    except OSError as error:
        raise RegistryError(
            f"{path} cannot be opened: {error.strerror}; run this as a user with access"
        ) from error
    if not is_there:
        raise RegistryError(f"{path} does not exist yet; identity init or an import creates it")
    return Registry(path)


def _guid(text: str) -> str:
    guid = read_guid(text)
    if guid is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a client GUID")
    return guid


def _unknown(guid: str) -> int:
    _complain(f"{guid} has no binding")
    return EXIT_PROBLEM


def _time(binding: Binding) -> str:
    return f"{binding.since:%Y-%m-%d %H:%M:%S} UTC"


def _complain(text: str) -> None:
    print(f"ibcm-bridge identity: {text}", file=sys.stderr)
