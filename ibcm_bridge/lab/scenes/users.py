r"""Users who sign in, and the forests of their accounts (USER-WINDOWS-AUTH).

Each scene has its own domain, whose controllers run only while it plays (`lab.domain`). The
management point accepts its tickets and its users; without a scene, it accepts nobody.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from ibcm_bridge.lab.clients.life_cycle import POLICY_REQUEST, REGISTRATION
from ibcm_bridge.lab.domain.controller import Controller
from ibcm_bridge.lab.domain.domain import Domain
from ibcm_bridge.lab.errors import LabError
from ibcm_bridge.lab.scenes.scene import Scene, Stage, changed
from ibcm_bridge.lab.simulated.client import ActionResult, Result, SimulatedClient
from ibcm_bridge.lab.simulated.failure import Failure
from ibcm_bridge.lab.simulated.installation import Installation, Mode
from ibcm_bridge.lab.simulated.known_site_systems import KnownSiteSystems
from ibcm_bridge.lab.simulated.user import ClientSettings, UserAccount, request_user_policy
from ibcm_bridge.lab.site_systems.published import SIGN_IN, SIGN_IN_INSIDE

CORP, PERIMETER = "CORP.EXAMPLE", "PERIMETER.EXAMPLE"
_DOMAIN = "domain"
"""The network of an action between a user and a domain controller."""

_KNOWS = KnownSiteSystems(
    intranet_management_points=(SIGN_IN_INSIDE,), internet_management_points=(SIGN_IN,)
)


@dataclass(frozen=True)
class _Users:
    """The users of a scene, their domain, and a registered client."""

    stage: Stage
    domain: Domain
    client: SimulatedClient
    settings: ClientSettings
    passwords: dict[str, str] = field(default_factory=lambda: _passwords("alice", "bob"))

    def signs_in(self, user: str, realm: str) -> tuple[ActionResult, Path | None]:
        """Let a user sign in to Windows; the tickets are None if no controller accepts it."""
        name = f"{user}@{realm}"
        tickets: list[Path] = []

        def sign_in() -> str:
            tickets.append(self.domain.signed_in(name, self.passwords[user]))
            return "a ticket"

        return self._act(f"sign-in of {name}", sign_in), next(iter(tickets), None)

    def ticket(self, tickets: Path, host: str) -> ActionResult:
        """Let a user get a ticket for a site system."""

        def get() -> str:
            self.domain.get_ticket(tickets, host)
            return "from the domain controller"

        return self._act(f"ticket for {host}", get)

    def path(self, tickets: Path) -> Iterator[ActionResult]:
        """Show the tickets that a user has."""
        for number, service in enumerate(self.domain.services(tickets), 1):
            yield ActionResult(_DOMAIN, "", f"ticket {number}", service, Result.GOOD, 0.0)

    def policy(
        self,
        user: str,
        *,
        by: str | None,
        tickets: Path | None = None,
        password: str | None = None,
    ) -> Iterator[ActionResult]:
        """Request user policy on a separate connection."""
        account = UserAccount(f"CORP\\{user}", password, tickets)
        first, *others = request_user_policy(self.client, account, self.settings, by)
        yield replace(first, text=f"{user}, {self._has(user, tickets, password)}")
        yield from others

    def no_policy(
        self, user: str, *, tickets: Path | None = None, password: str | None = None
    ) -> Iterator[ActionResult]:
        """Request user policy in vain; then the client still gets computer policy."""
        asked = self.policy(user, by=None, tickets=tickets, password=password)
        requested = not self.settings.why_not(on_internet=self.client.network.on_internet)
        yield from self.stage.must_fail(401, asked) if requested else asked
        yield from self.client.run(POLICY_REQUEST)

    def _has(self, user: str, tickets: Path | None, password: str | None) -> str:
        """Return in words what a user has to authenticate."""
        if password is not None:
            return (
                "with the password" if password == self.passwords[user] else "with a wrong password"
            )
        return "with a ticket" if tickets else "without a ticket"

    def _act(self, action: str, act: Callable[[], str]) -> ActionResult:
        began = time.perf_counter()
        try:
            response, result, cause = act(), Result.GOOD, None
        except LabError as why:
            response, result, cause = str(why), Result.FAILED, _failure(str(why))
        seconds = time.perf_counter() - began
        return ActionResult(_DOMAIN, "", action, response, result, seconds, cause=cause)


def _failure(message: str) -> Failure:
    """Return the failure in a message of kinit or kvno: their exit status is always 1."""
    found = (failure for words, failure in _MESSAGES.items() if re.search(words, message))
    return next(found, Failure.DOMAIN)


_MESSAGES = {
    r"Client '\S+' not found in Kerberos database$": Failure.UNKNOWN_USER,
    r"Server \S+ not found in Kerberos database$": Failure.UNKNOWN_SERVICE,
}
"""MIT's texts of KDC_ERR_C_PRINCIPAL_UNKNOWN and KDC_ERR_S_PRINCIPAL_UNKNOWN (RFC 4120 7.5.9)."""


def _begin(stage: Stage) -> _Users:
    """Create the client, and an empty domain. Controllers take time: the client registers first."""
    client = stage.installed(Installation(Mode.BOTH, _KNOWS))
    return _Users(stage, stage.domain(), client, stage.settings)


def _corp(users: _Users, *hosts: str) -> Controller:
    """Create the forest of the users, with these site systems."""
    controller = users.domain.add_realm(CORP, users.passwords)
    for host in hosts:
        users.domain.add_service(controller, host)
    return controller


def _passwords(*users: str) -> dict[str, str]:
    return {user: secrets.token_urlsafe() for user in users}


def _sign_in(stage: Stage) -> Iterator[ActionResult]:
    users = _begin(stage)
    yield from users.client.run(REGISTRATION)
    controller = _corp(users, SIGN_IN, SIGN_IN_INSIDE)
    controller.start()
    users.domain.accept_by_ntlm({f"CORP\\{user}": own for user, own in users.passwords.items()})

    users.client.move(stage.lab.intranet)
    signed_in, tickets = users.signs_in("alice", CORP)
    yield signed_in
    if tickets is None:
        return
    yield from users.policy("alice", by="Kerberos", tickets=tickets)
    yield users.ticket(tickets, SIGN_IN)

    # Only tickets from before.
    yield changed(_DOMAIN, "on the Internet, no domain controller is in reach")
    controller.stop()
    users.client.move(stage.lab.internet)
    yield from users.policy("alice", by="Kerberos", tickets=tickets)
    password = users.passwords["bob"]
    yield from users.policy("bob", by="NTLM", tickets=tickets.with_name("none"), password=password)
    yield from users.no_policy("bob", password="not the password of bob")


def _settings(stage: Stage) -> Iterator[ActionResult]:
    users = _begin(stage)
    yield from users.client.run(REGISTRATION)
    _corp(users, SIGN_IN, SIGN_IN_INSIDE).start()
    signed_in, tickets = users.signs_in("alice", CORP)
    yield signed_in
    if tickets is None:
        return
    for settings in (ClientSettings(user_policy=False), ClientSettings(internet_user_policy=False)):
        user = replace(users, settings=settings)
        for network in (stage.lab.intranet, stage.lab.internet):
            user.client.move(network)
            yield from user.policy("alice", by="Kerberos", tickets=tickets)
    yield from users.client.run(POLICY_REQUEST)


def _read_only(stage: Stage) -> Iterator[ActionResult]:
    users = _begin(stage)
    yield from users.client.run(REGISTRATION)
    writable = _corp(users, SIGN_IN)
    read_only = users.domain.add_read_only(writable, ("alice", f"HTTP/{SIGN_IN}"))
    writable.start()
    read_only.start()
    signed_in, _ = users.signs_in("bob", CORP)
    yield signed_in

    yield changed(_DOMAIN, "the firewall now blocks the writable domain controller")
    writable.stop()
    signed_in, tickets = users.signs_in("alice", CORP)
    yield signed_in
    if tickets is None:
        return
    yield from users.policy("alice", by="Kerberos", tickets=tickets)
    refused, nothing = users.signs_in("bob", CORP)
    yield from stage.must_fail(Failure.UNKNOWN_USER, [refused])
    yield from users.no_policy("bob", tickets=nothing)


def _one_way_trust(stage: Stage) -> Iterator[ActionResult]:
    users = _begin(stage)
    yield from users.client.run(REGISTRATION)
    corp = _corp(users, SIGN_IN_INSIDE)
    perimeter = users.domain.add_realm(PERIMETER, {"alice": users.passwords["alice"]})
    users.domain.add_service(perimeter, SIGN_IN)
    users.domain.add_trust(perimeter, corp)
    corp.start()
    perimeter.start()
    signed_in, tickets = users.signs_in("alice", CORP)
    yield signed_in
    if tickets is None:
        return
    yield from users.policy("alice", by="Kerberos", tickets=tickets)
    yield from users.path(tickets)

    # The other direction: a user of the perimeter, a site system of the intranet.
    signed_in, others = users.signs_in("alice", PERIMETER)
    yield signed_in
    if others is not None:
        yield from stage.must_fail(Failure.UNKNOWN_SERVICE, [users.ticket(others, SIGN_IN_INSIDE)])

    # Without trust, the site system still works, but authenticates nobody (SITE-DOMAIN).
    yield changed(_DOMAIN, f"{PERIMETER} no longer trusts {CORP}")
    users.domain.end_trust(perimeter, corp)
    signed_in, tickets = users.signs_in("alice", CORP)
    yield signed_in
    yield from users.no_policy("alice", tickets=tickets)


_PUBLISHED_FOREST = """\
Internet          .  perimeter            .  intranet: forest CORP.EXAMPLE
                  .                       .
client of alice --.-- ibcm-bridge --------.-- management point
                  .   a leg for each      .        |
                  .   client connection   .   domain controller: alice, bob
"""

_READ_ONLY = """\
Internet          .  perimeter                  .  intranet
                  .                             .  forest CORP.EXAMPLE
client of alice --.-- ibcm-bridge               .
                  .        |                    .
                  .   management point          .
                  .        |                    .
                  .   read-only domain <--------.-- domain controller:
                  .   controller: alice         .   alice, bob
"""

_TRUST = """\
Internet          .  perimeter                  .  intranet
                  .  forest PERIMETER.EXAMPLE   .  forest CORP.EXAMPLE
client of alice --.-- ibcm-bridge               .
                  .        |                    .
                  .   management point          .
                  .        |                    .
                  .   domain controller --trusts--> domain controller: alice
                  .                             .
                  .   management point <-accepts-- alice of CORP
                  .   alice of PERIMETER --refused--> site system of CORP
"""

USERS = (
    Scene(
        "user-sign-in",
        "A user signs in at an Internet management point",
        "USER-WINDOWS-AUTH",
        "User policy needs Windows authentication: Kerberos, and NTLM automatically if Kerberos "
        "fails. If both fail, the client gets computer policy only. The management point and the "
        "accounts are in one forest, and a proxy publishes it.",
        _sign_in,
        _PUBLISHED_FOREST,
        ("NO-USER-DEPLOYMENT",),
    ),
    Scene(
        "user-settings",
        "The two client settings for user policy",
        "USER-WINDOWS-AUTH",
        'A client requests no user policy if "Enable user policy on clients" is No, and none on '
        'the Internet if "Enable user policy requests from Internet clients" is No.',
        _settings,
    ),
    Scene(
        "read-only-dc",
        "A read-only domain controller in the perimeter",
        "USER-WINDOWS-AUTH",
        "It authenticates the users whose accounts are replicated to it. For the others, the "
        "firewall must allow Active Directory packets to the intranet.",
        _read_only,
        _READ_ONLY,
    ),
    Scene(
        "one-way-trust",
        "Two forests with a one-way trust",
        "USER-WINDOWS-AUTH",
        "The forest of the management point trusts the forest of the users, not the reverse. "
        "Without trust, the management point works, but gives computer policy only.",
        _one_way_trust,
        _TRUST,
        ("SITE-DOMAIN",),
    ),
)
