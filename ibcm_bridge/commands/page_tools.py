"""The functions of `explain`, `check` and `reload` for the page of the lab."""

from __future__ import annotations

from pathlib import Path

from ibcm_bridge.lab.page.tools import Explained, Question, Report, Tools


def page_tools() -> Tools:
    """Return the commands. Each loads its modules when it is used."""
    return Tools(_explain, _check, _reload)


def _explain(policy_file: Path, question: Question) -> Explained:
    from ibcm_bridge.commands.explain.command import printable
    from ibcm_bridge.commands.explain.environment import environment
    from ibcm_bridge.commands.explain.explain import explain
    from ibcm_bridge.commands.explain.typed import read_certificates, read_typed
    from ibcm_bridge.policy_file import PolicyError, load_policy
    from ibcm_bridge.storage.binding_registry import RegistryError

    to = (question.scheme, (question.name, question.port))
    certificates = read_certificates(question.certificate)
    request, typed = read_typed(question.line, question.fields, to, certificates, question.body)
    try:
        policy = load_policy(policy_file)
        explanation = explain(policy, request, environment(policy))
    except (PolicyError, RegistryError) as error:
        raise ValueError(str(error)) from error
    return Explained(
        request.method,
        request.url.target,
        request.version,
        typed,
        tuple(map(printable, explanation.steps)),
        printable(explanation.verdict),
    )


def _check(policy_file: Path, source: bytes) -> Report:
    from ibcm_bridge.commands.check.command import check_source

    lines, good = check_source(policy_file, source)
    return Report(tuple(lines), good)


def _reload(control: Path) -> Report:
    from ibcm_bridge.commands.reload import reload

    lines, good = reload(control)
    return Report(tuple(lines), good)
