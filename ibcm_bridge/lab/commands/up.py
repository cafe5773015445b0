"""`ibcm-bridge lab up`: a complete perimeter on this machine, with a web page, until Ctrl-C.

1. It locks the user's runtime folder (one lab at a time), and removes the files of a crashed lab.
2. It creates certificates, starts the simulated site systems and the bridge, then the page. The
   first line of output is the address of the page.
3. Ctrl-C, SIGTERM and SIGHUP stop it in reverse order. Later signals are ignored.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from ibcm_bridge.lab.bridge.process import Listen
from ibcm_bridge.lab.commands.signals import SIGNALS, end_on_signals
from ibcm_bridge.lab.commands.summary import LabSummary, lab_summary
from ibcm_bridge.lab.domain.files import DomainFiles, applied
from ibcm_bridge.lab.errors import LabError, error_message, start_error
from ibcm_bridge.lab.namespaces import NO_NAMESPACES, Namespaces
from ibcm_bridge.lab.page.captures import MAX_CASE
from ibcm_bridge.lab.page.controller import Controller, PageParts
from ibcm_bridge.lab.page.playground import control_socket
from ibcm_bridge.lab.page.request_preview import LabFiles, RequestPreview
from ibcm_bridge.lab.page.server import PageServer
from ibcm_bridge.lab.page.tools import Tools
from ibcm_bridge.lab.perimeter import firewall
from ibcm_bridge.lab.perimeter.perimeter import Perimeter
from ibcm_bridge.lab.perimeter.runtime import (
    EDITED_POLICY,
    FAULTS,
    NAMESPACES,
    OTHER_FOLDER,
    Runtime,
    runtime_folder,
    runtime_parent,
)
from ibcm_bridge.lab.simulated.running_lab import DOMAIN, RunningLab
from ibcm_bridge.storage.open_files import raise_open_file_limit


def lab_up(
    *,
    listen: str | None,
    netns: bool,
    browser: bool,
    as_json: bool,
    tools: Tools,
    tour: bool = False,
    untested: bool = False,
) -> int:
    """Run a lab until a signal stops it; return the exit status. `tools`: those of the page."""
    began = time.monotonic()
    raise_open_file_limit()
    try:
        listen_on = _listen(listen, netns=netns)
        with end_on_signals(), Runtime(runtime_folder()) as runtime:
            if runtime.crashed:
                _print_message("removed the files of a crashed lab.")
            if listen_on is not None and not listen_on.address.is_loopback:
                _print_message(
                    f"WARNING: the bridge listens on {listen_on.address}, for everybody on that "
                    "network, with lab certificates. The page and the site systems stay on "
                    "loopback."
                )
            users = DomainFiles(runtime.files / DOMAIN).environment
            with _namespaces(runtime, wanted=netns) as namespaces, applied(users):
                if netns:
                    listen_on = Listen(ip_address(firewall.INTERNET_SIDE), firewall.PUBLISHED_PORTS)
                settings = _Settings(listen_on, namespaces, browser, tour, as_json, untested)
                _run(runtime, settings, tools, began)
    except KeyboardInterrupt:
        pass
    except (LabError, OSError, RuntimeError) as error:
        print(f"ibcm-bridge lab: {_error_message(error)}", file=sys.stderr)
        return 1
    _print_message("the lab has stopped.")
    return 0


def _print_message(text: str) -> None:
    print(f"ibcm-bridge lab: {text}", file=sys.stderr, flush=True)


def _listen(text: str | None, *, netns: bool) -> Listen | None:
    if text is None:
        return None
    if netns:
        raise LabError("--listen and --netns exclude each other; omit one of them")
    try:
        return Listen.read(text)
    except ValueError:
        raise LabError(
            f"{text!r} is not an IP address; use --listen 192.0.2.1, or "
            "--listen 192.0.2.1:443 to set the TLS port"
        ) from None


@dataclass(frozen=True)
class _Settings:
    """The options of `lab up`."""

    listen: Listen | None
    namespaces: Namespaces
    browser: bool
    tour: bool
    """True if the address is that of the guided tour."""
    as_json: bool
    untested: bool
    """True if the bridge also starts with a mitmproxy version that is not tested."""


@contextlib.contextmanager
def _namespaces(runtime: Runtime, *, wanted: bool) -> Iterator[Namespaces]:
    """Create the lab's namespaces, and remove them at the end. LabError if that fails."""
    if not wanted:
        yield NO_NAMESPACES
        return
    if refusal := firewall.refusal():
        raise LabError(refusal)
    if existing := firewall.existing():
        raise LabError(
            f"a network namespace named {existing[0]} already exists and does not belong to "
            f"this lab; remove it (ip netns del {existing[0]}), or omit --netns"
        )
    own: list[str] = []

    def record(names: list[str]) -> None:
        own[:] = names
        runtime.write({NAMESPACES: names})

    try:
        firewall.build(record)
        yield firewall.NAMESPACES
    finally:
        firewall.remove(own)


def _run(runtime: Runtime, settings: _Settings, tools: Tools, began: float) -> None:
    runtime.files.mkdir(mode=0o700)
    namespaces = settings.namespaces
    control = control_socket(runtime.files)
    with Perimeter(
        runtime.files,
        listen=settings.listen,
        namespaces=namespaces,
        untested=settings.untested,
        options=() if control is None else ("--control", str(control)),
        # The relays are outside of the namespaces.
        recorded=namespaces == NO_NAMESPACES,
        max_recorded=MAX_CASE,
    ) as perimeter:
        files = LabFiles(runtime.files)
        files.write(perimeter.clients)
        preview = RequestPreview(
            files,
            perimeter.comparison.senders_by_client,
            perimeter.bridge.addresses,
            namespaces.internet.command,
        )
        summary = lab_summary(perimeter, files, preview)
        clients = RunningLab.of(perimeter)

        def ready(page: str) -> None:
            page += "#tour-1" if settings.tour else ""
            runtime.write({"page": page, **clients.state(runtime.files)})
            seconds = time.monotonic() - began
            _print(page, summary, seconds, as_json=settings.as_json)
            if settings.browser and sys.stdout.isatty():
                threading.Thread(target=_open, args=(page,), daemon=True).start()

        def faults_changed(titles: list[str]) -> None:
            runtime.write({FAULTS: titles})

        def policy_changed(edited: bool) -> None:
            runtime.write({EDITED_POLICY: edited})

        page_parts = PageParts(tools, control, faults_changed, policy_changed)
        asyncio.run(_serve(perimeter, preview, summary, ready, page_parts))


async def _serve(
    perimeter: Perimeter,
    preview: RequestPreview,
    summary: LabSummary,
    ready: Callable[[str], None],
    parts: PageParts,
) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    server = PageServer(summary, loop)
    for signal_number in SIGNALS:
        with contextlib.suppress(NotImplementedError):  # not supported on Windows
            loop.add_signal_handler(signal_number, stopped.set)
    with Controller(perimeter, preview, server.streams.publish, parts) as controller:
        serving = asyncio.create_task(server.serve(controller, stopped))
        # The server accepts connections from the next turn of the loop on.
        await asyncio.sleep(0)
        ready(server.address)
        await serving


def _print(page: str, summary: LabSummary, seconds: float, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"page": page, **summary, "seconds": round(seconds, 2)}), flush=True)
        return
    print(page)
    print("\n".join(_lines(summary, seconds)), flush=True)


def _lines(summary: LabSummary, seconds: float) -> Iterator[str]:
    yield f"The lab is up after {seconds:.1f} s. It is for learning and tests, not for production."
    yield "Open the address above in a browser. To stop: Ctrl-C, or ibcm-bridge lab down"
    yield ""
    for name in summary["names"]:
        roles = ", ".join(name["roles"])
        yield f"  {name['address']:<22} {name['mode']:<8} {name['name']:<33} {roles}".rstrip()
    yield ""
    for what, path in summary["files"].items():
        yield f"  {what:<22} {path}"
    for line in summary["curl"]:
        yield ""
        yield f"# {line['purpose']}"
        yield line["powershell"] if sys.platform == "win32" else line["line"]
    yield ""


def _open(page: str) -> None:
    """Open a browser. This runs in a thread because it can take long; failure is not an error."""
    with contextlib.suppress(webbrowser.Error, OSError):
        browser = webbrowser.get()
        kind = type(browser)
        # A text browser would take over the terminal.
        if kind is not webbrowser.GenericBrowser and browser.open(page):
            return
    _print_message("could not open a browser; open the address above yourself.")


def _error_message(error: Exception) -> str:
    why = start_error(str(error))
    reason = why.partition("; ")[0]
    if "not an address of this machine" in reason:
        return "the bridge cannot listen there; use an address of this machine in --listen"
    if "already in use" in reason:
        if reason.partition(" ")[0].endswith((":8531", ":8080")):
            return f"{reason}; stop the program that uses it: only the TLS port can be changed"
        return f"{reason}; stop the program that uses it, or use --listen ADDRESS:PORT"
    if why and ";" not in why:
        return f"{why}; correct this, or omit --listen"
    return error_message(error, runtime_parent(), OTHER_FOLDER)
