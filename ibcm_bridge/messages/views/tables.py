"""Tables in views: assigned policies, and management points, one line each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ibcm_bridge.messages.views.page import Page
from ibcm_bridge.messages.views.tree import Element

MAX_CELL = 96
"""Characters to which cells are padded; a longer cell shifts only its own line."""

MAX_DIGITS = 9

POLICY_FLAGS = {
    1: "TaskSequence",
    2: "RequiresAuth",
    4: "Secret",
    8: "IntranetOnly",
    16: "PersistWholePolicy",
    32: "AuthorizedDynamicDownload",
    64: "Compressed",
}
"""protocol.md §3.2."""

SSL_STATE = {
    1: "Enabled",
    2: "Required",
    4: "ClientAuthEnabled",
    8: "ClientAuthRequired",
    16: "128Bit",
    32: "CrlChecking",
    64: "AllowHttpFallback",
    128: "UseSslWhenEnabled",
    256: "AllowPkiCertReRegistration",
}
"""protocol.md §3.4."""


def show_table(root: Element, page: Page) -> None:
    """Add the table of a document, if it has one."""
    made = _TABLES.get(root.local)
    rows = (
        [tuple(page.value(cell.strip()) for cell in row) for row in made[1](root)] if made else []
    )
    if made and rows:
        show_rows((made[0], *rows), page)
        page.line()


def show_rows(rows: Sequence[Sequence[str]], page: Page) -> None:
    """Add rows with aligned columns."""
    widths = [
        max(min(len(cell), MAX_CELL) for cell in column) for column in zip(*rows, strict=True)
    ]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        page.line("  ".join(cells).rstrip(), 1)


def named_bits(text: str, names: dict[int, str]) -> str:
    """A number and the names of its bits; other texts unchanged."""
    text = text.strip()
    if not (text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS):
        return text
    number = int(text)
    found = [name for bit, name in names.items() if number & bit]
    unknown = number & ~sum(names)
    found += [f"{unknown} (unknown)"] if unknown else []
    return f"{number}: {', '.join(found)}" if found else text


def _assignments(root: Element) -> Iterator[tuple[str, ...]]:
    for assignment in root.children():
        for policy in assignment.children():
            if policy.local == "policy":
                location = policy.child("policylocation")
                yield (
                    policy.attribute("policyid"),
                    policy.attribute("policyversion"),
                    policy.attribute("policytype"),
                    location.text if location else "",
                    named_bits(policy.attribute("policyflags"), POLICY_FLAGS),
                )


def _management_points(root: Element) -> Iterator[tuple[str, ...]]:
    for point in root.children():
        version, capabilities = point.child("version"), point.child("capabilities")
        yield (
            point.attribute("name"),
            point.attribute("fqdn"),
            point.attribute("sitecode"),
            version.text if version else "",
            _ssl_state(capabilities) if capabilities else "",
        )


def _ssl_state(capabilities: Element) -> str:
    for capability in capabilities.children():
        if capability.attribute("name").lower() == "sslstate":
            return named_bits(capability.attribute("value"), SSL_STATE)
    return ""


_TABLES = {
    "replyassignments": (("PolicyID", "Version", "Type", "Location", "Flags"), _assignments),
    "mplist": (("Name", "FQDN", "Site", "Version", "SSLState"), _management_points),
}
"""Root element -> the column names, and the function that yields the rows."""
