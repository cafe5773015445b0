"""Finds the role and the resources that a request names."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.observing import Observation
from ibcm_bridge.policy.publications import HttpPublication, PublishedRole
from ibcm_bridge.policy.resources import Directory, Resource
from ibcm_bridge.policy.roles import NeverPublished, RoleProfile
from ibcm_bridge.request.head import RequestHead
from ibcm_bridge.request.target import RequestTarget


def requested_resources(
    profile: RoleProfile, target: RequestTarget, head: RequestHead, observation: Observation
) -> list[Resource] | Deny:
    """Return the rows of the role's table that match the request, or a refusal."""
    if (refusal := _check_extensions(profile, target)) is not None:
        return refusal
    directory = profile.directories[target.directory]
    path = target.below
    query = target.query_text
    rule = rules.ROLE_DIRECTORY.of(profile.name, directory.name)
    found = [resource for resource in directory.resources if resource.matches(path, query)]
    if not found:
        detail = f"/{directory.name}/{path[:128]} {_unpublished(directory, path, query)}"
        return Deny(Reason.RESOURCE, rule, detail)
    refused = next((resource.refused for resource in found if resource.refused), "")
    if refused:
        return Deny(Reason.RESOURCE, rule, "not published for Internet clients", refused)
    if (refusal := _check_dots(profile, target, found)) is not None:
        return refusal
    methods = frozenset[bytes]().union(*(resource.methods for resource in found))
    # A verb that the role does not list is only observed: a policy would add it to all resources.
    if head.method in methods or head.method not in profile.bodies:
        return found
    verb = head.method.decode("ascii")
    refusal = observation.enforce(
        Deny(
            Reason.VERB,
            rule,
            f"{verb[:32]} is not allowed for this resource",
            profile.verbs_requirement,
            method_names(methods),
            names=(target.segments[0], re.escape(path), verb),
        )
    )
    return found if refusal is None else refusal


def _unpublished(directory: Directory, path: str, query: str | None) -> str:
    """The unpublished part, the path or the query. The query is not quoted: it may be secret."""
    resources = [resource for resource in directory.resources if resource.publishes(path)]
    if not resources:
        return "is not published"
    if query is None:
        return "is published, but not without a query"
    if all(resource.query is None for resource in resources):
        return "is published, but not with a query"
    return "is published, but not with this query"


def _check_extensions(profile: RoleProfile, target: RequestTarget) -> Deny | None:
    # Every extension of every segment: path info follows a file name, and some servers use the
    # first extension (x.asp.cab).
    for name in target.segments:
        for extension in name.lower().split(".")[1:]:
            if f".{extension}" in profile.denied_extensions:
                rule = rules.ROLE_DENIED_EXTENSIONS.of(profile.name)
                detail = f"a file name has the extension .{extension}"
                return Deny(Reason.RESOURCE, rule, detail, profile.verbs_requirement)
    return None


def _check_dots(
    profile: RoleProfile, target: RequestTarget, rows: Iterable[Resource]
) -> Deny | None:
    *directories, name = (segment.count(".") for segment in target.segments)
    allowed = name <= 1 or any(row.dots for row in rows)
    if profile.dots_in_path or (allowed and not any(directories)):
        return None
    rule = rules.ROLE_DOTS_IN_PATH.of(profile.name)
    detail = "the path has a dot elsewhere than before the extension"
    return Deny(Reason.RESOURCE, rule, detail, profile.verbs_requirement)


def method_names(methods: Iterable[bytes]) -> tuple[str, ...]:
    return tuple(sorted(method.decode("ascii") for method in methods))


def published_role(
    publication: HttpPublication, target: RequestTarget, never: NeverPublished
) -> PublishedRole | Deny:
    """Return the role that publishes the virtual directory of a request, or a refusal.

    The directory is the whole first path segment: `/ccm_system` is a prefix of directories that
    require no certificate (protocol.md §1.1).
    """
    directory = target.directory
    if directory in never.directories:
        return Deny(
            Reason.BYPASS_DIRECTORY,
            rules.ROLES_BYPASS_DIRECTORIES,
            f"/{directory} requires no client certificate",
        )
    role = publication.directories.get(directory)
    if role is None or directory in never.explained:
        return Deny(
            Reason.DIRECTORY,
            rules.DIRECTORIES.of(publication.name),
            f"/{directory[:64]} is not published",
            never.explained.get(directory, ""),
        )
    # No policy can add these: the content library lists and serves all content.
    library = next((segment for segment in target.segments if segment.lower() in never.below), None)
    if library is not None:
        return Deny(Reason.RESOURCE, rules.ROLES_NEVER_BELOW, f"/{library} is never published")
    return role
