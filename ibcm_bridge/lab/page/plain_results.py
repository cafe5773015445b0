"""The third path of the page's cases: through a plain reverse proxy with the policy of the lab.

The proxy starts with the first case, unless its result would mislead: then it is a recorded one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from ibcm_bridge.lab.cases.case import Case
from ibcm_bridge.lab.comparison.outcomes import PlainResult
from ibcm_bridge.lab.comparison.plain_proxy import (
    PathOnDemand,
    PlainPath,
    RecordedPath,
    plain_path,
)
from ibcm_bridge.lab.perimeter.perimeter import Perimeter

# A fault, such as expired CRLs, would become that of the proxy when it starts.
_WITH_FAULT = "a fault is on, which is for the bridge"
_WITH_OTHER_POLICY = "only the bridge has the edited policy"
_IN_NAMESPACES = "the lab has network namespaces"


class PlainResults:
    """A context manager: the proxy ends with it."""

    def __init__(self, perimeter: Perimeter) -> None:
        self._perimeter = perimeter
        self._path = PathOnDemand(self._running)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._path.__exit__()

    def result(self, case: Case, *, fault: bool, edited_policy: bool) -> PlainResult | None:
        """Return the result of a case; `fault`: one is on. `edited_policy`: of the bridge."""
        if fault or edited_policy:
            return RecordedPath(_WITH_FAULT if fault else _WITH_OTHER_POLICY).result(case)
        return self._path.result(case)

    @contextmanager
    def _running(self) -> Iterator[PlainPath]:
        perimeter = self._perimeter
        if perimeter.namespaces.perimeter.own:
            yield RecordedPath(_IN_NAMESPACES)
            return
        with plain_path(
            perimeter.directory, perimeter.pki.root, perimeter.clients, perimeter.site
        ) as path:
            yield path
