"""A scene: one sentence of the planning page, and the actions of clients that show it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from random import Random

from ibcm_bridge.lab.domain.domain import Domain
from ibcm_bridge.lab.domain.files import applied
from ibcm_bridge.lab.errors import LabError
from ibcm_bridge.lab.scenes.refusals import BridgeRefusal, Refusals
from ibcm_bridge.lab.scenes.time_limit import TimeLimit
from ibcm_bridge.lab.simulated.client import ActionResult, Result, SimulatedClient
from ibcm_bridge.lab.simulated.failure import Cause
from ibcm_bridge.lab.simulated.installation import Installation, Mode, NotInstallable
from ibcm_bridge.lab.simulated.network import Network
from ibcm_bridge.lab.simulated.running_lab import INSTALLATION_OPTIONS, RunningLab
from ibcm_bridge.lab.simulated.user import BOTH_ON, ClientSettings


class CannotShow(Exception):
    """Why this lab cannot show a scene, and what to do."""


@dataclass
class Stage:
    """A running lab, and the clients of one scene.

    Leaving it closes their connections, and ends the domain of their users.
    """

    lab: RunningLab
    random: Random
    own_key: bool = False
    mode: Mode = Mode.BOTH
    """The mode of the client, in a scene that shows any."""
    settings: ClientSettings = BOTH_ON
    limit: TimeLimit = field(default_factory=TimeLimit)
    _cleanup: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self._refusals = Refusals(self.lab.audit)

    def must_fail(
        self, cause: Cause | BridgeRefusal, actions: Iterable[ActionResult]
    ) -> Iterator[ActionResult]:
        """Turn a failure with this cause into success, and any other result into a failure."""
        tried = False
        for action in actions:
            tried = True
            found = self._refusals.find(action.reference) if action.reference else None
            yield _required(action, cause, found or action.cause)
        if not tried:
            yield said("an action that must not succeed", "nothing was tried", Result.FAILED)

    def domain(self) -> Domain:
        """Create a domain, which ends with the scene. CannotShow."""
        if self.lab.domain is None:
            raise CannotShow("this lab has no folder for a domain; use ibcm-bridge lab up")
        domain = Domain(self.lab.domain)
        try:
            self._cleanup.enter_context(domain)
        except LabError as why:
            raise CannotShow(str(why)) from None
        self._cleanup.enter_context(applied(domain.files.environment))
        return domain

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def client(
        self, mode: Mode, network: Network | None = None, *, in_domain: bool = True
    ) -> SimulatedClient:
        """Create a client in a network; on the Internet by default."""
        return self.installed(
            Installation(mode, INSTALLATION_OPTIONS[mode], in_domain=in_domain), network
        )

    def installed(
        self, installation: Installation, network: Network | None = None
    ) -> SimulatedClient:
        """Create a client with this installation. TooLong."""
        self.limit.check()
        number = f"{self.random.randrange(16**6):06x}"
        is_mobile = installation.is_mobile
        name = f"user-{number}@corp.example" if is_mobile else f"pc-{number}.corp.example"
        client = self.lab.installed(name, installation, self.random, own_key=self.own_key)
        self._cleanup.enter_context(closing(client))
        if network is not None:
            client.move(network)
        return client


@dataclass(frozen=True)
class Scene:
    """What a class sees."""

    name: str
    title: str
    requirement: str
    sentence: str
    """The sentence of the planning page, restated."""
    play: Callable[[Stage], Iterator[ActionResult]]
    drawing: str = ""
    """The networks of the scene, as text of at most 76 columns."""
    other_requirements: tuple[str, ...] = ()
    """Other requirements that the scene shows."""

    @property
    def requirements(self) -> tuple[str, ...]:
        """The ids of all requirements that it shows."""
        return self.requirement, *self.other_requirements

    def actions(self, stage: Stage) -> Generator[ActionResult]:
        """Play the scene. TooLong after the limit of the stage.

        Closing the generator ends all parts that the scene has started.
        """
        actions = self.play(stage)
        try:
            while True:
                with stage.limit.counted():
                    action = next(actions, None)
                if action is None:
                    return
                yield action
                stage.limit.check()
        finally:
            if isinstance(actions, Generator):
                actions.close()


def _required(
    action: ActionResult, cause: Cause | BridgeRefusal, found: Cause | BridgeRefusal | None
) -> ActionResult:
    if action.result is not Result.FAILED:
        return replace(action, result=Result.FAILED, text="succeeded, but must fail")
    if found == cause:
        return replace(action, result=Result.AS_REQUIRED)
    text = f"failed for the wrong reason. Required: {_words(cause)}. Found: {_words(found)}."
    return replace(action, text=text)


def _words(cause: Cause | BridgeRefusal | None) -> str:
    if cause is None:
        return "none"
    return f"status {cause}" if isinstance(cause, int) else str(cause)


def must_use(names: Collection[str], actions: Iterable[ActionResult]) -> Iterator[ActionResult]:
    """Turn the success of an action into a failure if it used another site system."""
    for action in actions:
        if action.result is Result.FAILED or action.site_system in names:
            yield action
        else:
            text = f"this must use {' or '.join(names)}"
            yield replace(action, result=Result.FAILED, text=text)


def installation(install: Callable[[], object], what: str) -> ActionResult:
    """Install a client; return how that ends."""
    action = f"installation {what}"
    try:
        install()
    except NotInstallable as why:
        return replace(said(action, str(why), Result.FAILED), cause=why.failure)
    return said(action, "accepted", Result.GOOD)


def said(action: str, response: str, result: Result, site_system: str = "") -> ActionResult:
    """Return a result without a request, such as a count."""
    return ActionResult("", site_system, action, response, result, 0.0)


def changed(network: str, what: str) -> ActionResult:
    """Return the line before a change that explains the results after it."""
    return ActionResult(network, "", what, "", Result.GOOD, 0.0)
