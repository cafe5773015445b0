"""Assigns each request that arrives at a site system to the check that sent it.

A check that runs beside others has a marker, which is a part of each of its targets, or of the head
of what it does not finish. All other requests belong to the check that runs alone. Bytes that are
not a complete request also belong to one check, and only once.
"""

from __future__ import annotations

import sys
import threading
from datetime import datetime

from ibcm_bridge.conformance.evidence import Evidence
from ibcm_bridge.lab.site_systems.records import ReceivedRequest

_END = sys.maxsize
"""A position after the last record."""


class Arrivals:
    """The records of the site systems since the start, in lanes. Any thread can use it."""

    def __init__(self, evidence: Evidence) -> None:
        """LabError if the records cannot be read."""
        self._evidence = evidence
        self._lock = threading.Lock()
        self._alone = Lane(self, "")
        self._marked: list[Lane] = []
        # Records of an earlier run belong to none of these checks.
        earlier, self._position = evidence.since(_END)
        self._taken = {_connection_and_time(request) for request in earlier}
        """The unfinished requests that a check has."""

    def alone(self) -> Lane:
        """Return the lane of the checks that run one after the other."""
        return self._alone

    def beside(self, marker: str) -> Lane:
        """Return the lane of a check that runs beside others.

        It lasts until the end of the run: its late requests do not belong to another check.
        """
        lane = Lane(self, marker)
        with self._lock:
            self._marked.append(lane)
        return lane

    def take(self, lane: Lane) -> tuple[ReceivedRequest, ...]:
        """Return the requests of a lane that were not returned before. LabError."""
        with self._lock:
            new, self._position = self._evidence.since(self._position)
            for request in new:
                owner = self._owner(request)
                if request.ended or owner is lane:
                    self._add(request, owner)
            taken = tuple(lane.waiting)
            lane.waiting.clear()
        return taken

    def _add(self, request: ReceivedRequest, owner: Lane) -> None:
        if not request.complete:
            key = _connection_and_time(request)
            if key in self._taken:
                return
            self._taken.add(key)
        owner.waiting.append(request)

    def _owner(self, request: ReceivedRequest) -> Lane:
        # An unfinished request has its head in `body`.
        head = "" if request.complete else request.body.decode("latin-1")
        owner = (each for each in self._marked if each.marker in request.target + head)
        return next(owner, self._alone)


class Lane:
    """The requests of one check, or of all checks that run alone."""

    def __init__(self, arrivals: Arrivals, marker: str) -> None:
        self._arrivals = arrivals
        self.marker = marker
        self.waiting: list[ReceivedRequest] = []
        """Those that `new` returns next."""

    def new(self) -> tuple[ReceivedRequest, ...]:
        """Return the requests since the last call. LabError."""
        return self._arrivals.take(self)


def _connection_and_time(request: ReceivedRequest) -> tuple[str, int, datetime]:
    """Return what an unfinished request and its record have in common."""
    return request.site_system, request.peer_port, request.time
