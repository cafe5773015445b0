"""All rules by which the bridge refuses or allows.

A rule is a check of the bridge (`head.host`), or a line of the policy file or of a role's table
(`management-point.verbs`). The audit and `explain` show it, and operators search for it.

Only this file makes a `Rule`. `inspection.reports` restores one from a worker's report, and
`commands.explain.recorded_findings` one from an audit record, to judge that request again.
docs/refusals.md has the meaning and the reasons of each rule; tests/repository/test_rules.py
compares that list with this one.
"""

from __future__ import annotations

import re
from typing import NewType

Rule = NewType("Rule", str)

_NAME = re.compile(r"\{[a-z_]+\}")


class RuleOf:
    """Rules that differ in a name, such as that of a role, a publication or a body rule."""

    __slots__ = ("_form", "_made", "pattern")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._form = _NAME.sub("%s", pattern)
        self._made = re.compile(".+".join(map(re.escape, _NAME.split(pattern))))

    def of(self, *names: str) -> Rule:
        """The rule with `names` in place of the braces, in order. TypeError for another number."""
        return Rule(self._form % names)

    def made(self, rule: Rule) -> bool:
        """Return whether a rule has this pattern, with any names, and is none of the constants."""
        return rule not in _CONSTANTS and self._made.fullmatch(rule) is not None


# The listener
LISTENER = Rule("listener")
LISTENER_PLAINTEXT = Rule("listener.plaintext")
LISTENER_PROXY_PROTOCOL = Rule("listener.proxy_protocol")
LISTENER_PUBLICATIONS = Rule("listener.publications")
LISTENER_TLS = Rule("listener.tls")

# The client's certificate
CLIENT_CERTIFICATE = Rule("client.certificate")
CLIENT_PUBLICATION = Rule("client.publication")
CLIENTS = Rule("clients")
CLIENTS_OF = RuleOf("{publication}.clients")
CLIENTS_TRUST = Rule("clients.trust")

# The request head
HEAD_AUTHORIZATION = Rule("head.authorization")
HEAD_CONNECTION = Rule("head.connection")
HEAD_CONTENT_LENGTH = Rule("head.content-length")
HEAD_END = Rule("head.end")
HEAD_EXPECT = Rule("head.expect")
HEAD_FIELD_NAME = Rule("head.field-name")
HEAD_FIELD_VALUE = Rule("head.field-value")
HEAD_HOST = Rule("head.host")
HEAD_LINE_END = Rule("head.line-end")
HEAD_METHOD = Rule("head.method")
HEAD_RANGE = Rule("head.range")
HEAD_REPEATED = Rule("head.repeated")
HEAD_REQUEST_LINE = Rule("head.request-line")
HEAD_TARGET = Rule("head.target")
HEAD_TRANSFER_ENCODING = Rule("head.transfer-encoding")
HEAD_VERSION = Rule("head.version")

# The request target
TARGET_DEVICE = Rule("target.device")
TARGET_ENCODING = Rule("target.encoding")
TARGET_ESCAPE = Rule("target.escape")
TARGET_FRAGMENT = Rule("target.fragment")
TARGET_ORIGIN_FORM = Rule("target.origin-form")
TARGET_PATH = Rule("target.path")
TARGET_QUERY = Rule("target.query")
TARGET_QUERY_NAME = Rule("target.query-name")
TARGET_SEGMENT = Rule("target.segment")
TARGET_SEPARATOR = Rule("target.separator")
TARGET_SHORT_NAME = Rule("target.short-name")

# Publications and roles
DIRECTORIES = RuleOf("{publication}.directories")
ROLE_DENIED_EXTENSIONS = RuleOf("{role}.denied_extensions")
ROLE_DIRECTORY = RuleOf("{role}.directories.{directory}")
ROLE_DOTS_IN_PATH = RuleOf("{role}.dots_in_path")
ROLE_HEADERS = RuleOf("{role}.headers")
ROLE_VERB = RuleOf("{role}.verbs.{verb}")
"""The rule of an allowed request: `Authorized.rule`."""
ROLE_VERBS = RuleOf("{role}.verbs")
ROLES_BYPASS_DIRECTORIES = Rule("roles.bypass_directories")
ROLES_NEVER_BELOW = Rule("roles.never_below")

# Bodies; {body} is a row of the roles' table
BODIES_LENGTH = Rule("bodies.length")
BODY = RuleOf("bodies.{body}")
BODY_CHARSET = RuleOf("bodies.{body}.charset")
BODY_CONTENT_ENCODING = RuleOf("bodies.{body}.content-encoding")
BODY_DEPTHS = RuleOf("bodies.{body}.depths")
BODY_ESCAPES = RuleOf("bodies.{body}.escapes")
BODY_JSON = RuleOf("bodies.{body}.json")
BODY_LIMIT = RuleOf("bodies.{body}.limit")
BODY_MEDIA_TYPES = RuleOf("bodies.{body}.media_types")
BODY_PARAMETERS = RuleOf("bodies.{body}.parameters")
ENGINE = RuleOf("engines.{engine}")
INSPECTION_UPLOAD = Rule("inspection.upload")
INSPECTION_WORKERS = Rule("inspection.workers")

# Documents; {document} is a body, or a part of a message
DOCUMENT_ACTION = RuleOf("{document}.action")
DOCUMENT_DEPTH = RuleOf("{document}.depth")
DOCUMENT_DOCUMENTS = RuleOf("{document}.documents")
DOCUMENT_DTD = RuleOf("{document}.dtd")
DOCUMENT_ELEMENT = RuleOf("{document}.{element}")
DOCUMENT_ENCODING = RuleOf("{document}.encoding")
DOCUMENT_ENVELOPE = RuleOf("{document}.envelope")
DOCUMENT_EVENTS = RuleOf("{document}.events")
DOCUMENT_LIMITS = RuleOf("{document}.limits")
DOCUMENT_PROPFIND = RuleOf("{document}.propfind")
DOCUMENT_SERIALIZED = RuleOf("{document}.serialized")
DOCUMENT_XML = RuleOf("{document}.xml")
ARCHIVE_DEFLATE = RuleOf("{document}.archive.deflate")
ARCHIVE_DEPTH = RuleOf("{document}.archive.depth")
ARCHIVE_ENCRYPTED = RuleOf("{document}.archive.encrypted")
ARCHIVE_GZIP = RuleOf("{document}.archive.gzip")
ARCHIVE_MEMBERS = RuleOf("{document}.archive.members")
ARCHIVE_METHOD = RuleOf("{document}.archive.method")
ARCHIVE_RATIO = RuleOf("{document}.archive.ratio")
ARCHIVE_UNPACKED = RuleOf("{document}.archive.unpacked")
ARCHIVE_ZIP = RuleOf("{document}.archive.zip")

# Messages
MULTIPART_BOUNDARY = Rule("multipart.boundary")
MULTIPART_CLOSE = Rule("multipart.close")
MULTIPART_DELIMITER = Rule("multipart.delimiter")
MULTIPART_PART_HEAD = Rule("multipart.part-head")
MULTIPART_PARTS = Rule("multipart.parts")
MULTIPART_PREAMBLE = Rule("multipart.preamble")
CCM_HEADER = Rule("ccm.header")
CCM_HEADER_CHILDREN = Rule("ccm.header.children")
CCM_HEADER_ENDPOINT = Rule("ccm.header.endpoint")
CCM_HEADER_ROOT = Rule("ccm.header.root")
CCM_HEADER_SLICES = Rule("ccm.header.slices")
CCM_HOOKS = Rule("ccm.hooks")
CCM_INFLATED_LIMIT = Rule("ccm.inflated_limit")
CCM_LIMITS = Rule("ccm.limits")
CCM_PARTS = Rule("ccm.parts")
CCM_PAYLOAD = Rule("ccm.payload")
CCM_SLICES = Rule("ccm.slices")
CCM_ZLIB = Rule("ccm.zlib")
ENDPOINT_ENCRYPTED = RuleOf("endpoints.{endpoint}.encrypted")
ENDPOINT_ROOTS = RuleOf("endpoints.{endpoint}.roots")
ENDPOINTS = Rule("endpoints.endpoints")
"""The key `endpoints` of config/endpoints.yaml."""
ENDPOINTS_REFUSED = Rule("endpoints.refused")
SOAP_ACTIONS_AGREEMENT = Rule("soap_actions.agreement")
SOAP_ACTIONS_OF = RuleOf("soap_actions.{service}")
SOAP_ACTIONS_REFUSED = Rule("soap_actions.refused")
SOAP_ACTIONS_SERVICES = Rule("soap_actions.services")

# Client GUIDs and signatures
IDENTITY = RuleOf("identity.{place}")
MESSAGES_BINDINGS = Rule("messages.bindings")
MESSAGES_CLOCK_SKEW = Rule("messages.clock_skew")
MESSAGES_ENCRYPTED = Rule("messages.encrypted")
MESSAGES_IDENTITY = Rule("messages.identity")
MESSAGES_UNKNOWN_GUIDS = Rule("messages.unknown_guids")
SIGNATURE = RuleOf("signatures.{signature}")

# Uploads
UPLOADS_ACKNOWLEDGED = Rule("uploads.acknowledged")
UPLOADS_CLOSE = Rule("uploads.close")
UPLOADS_FIELD = RuleOf("uploads.{field}")
UPLOADS_GAP = Rule("uploads.gap")
UPLOADS_MAX_BYTES = Rule("uploads.max_bytes")
UPLOADS_MAX_TOTAL_BYTES = Rule("uploads.max_total_bytes")
UPLOADS_OVERLAP = Rule("uploads.overlap")
UPLOADS_PATH = Rule("uploads.path")
UPLOADS_SESSION = Rule("uploads.session")
UPLOADS_SESSIONS = Rule("uploads.sessions")
UPLOADS_SPOOL = Rule("uploads.spool")
UPLOADS_TOTAL = Rule("uploads.total")

# The site-system leg
GATE = Rule("gate")
SITE_SYSTEM = Rule("site_system")
SITE_SYSTEM_CERTIFICATE = Rule("site_system.certificate")
SITE_SYSTEM_CONTENT_RANGE = Rule("site_system.content-range")
SITE_SYSTEM_KEPT_CONNECTION = Rule("site_system.kept_connection")
SITE_SYSTEM_LOCATION = Rule("site_system.location")
SITE_SYSTEM_TRUST = Rule("site_system.trust")
SITE_SYSTEM_WINDOWS_AUTHENTICATION = Rule("site_system.windows_authentication")
SITE_SYSTEMS_CERTIFICATE = Rule("site_systems.certificate")

# Inspected responses
CCM_REPLY_DOCUMENTS = Rule("ccm_reply.documents")
CCM_REPLY_HEADER = Rule("ccm_reply.header")
CCM_REPLY_HEADER_ROOT = Rule("ccm_reply.header.root")
CCM_REPLY_HOOKS = Rule("ccm_reply.hooks")
CCM_REPLY_LIMIT = Rule("ccm_reply.limit")
CCM_REPLY_PARTS = Rule("ccm_reply.parts")
CCM_REPLY_PAYLOAD = Rule("ccm_reply.payload")
MESSAGES_HOST_NAMES = Rule("messages.host_names")
MESSAGES_INTRANET_ONLY = Rule("messages.intranet_only")
REPLIES_CONTENT_ENCODING = Rule("replies.content-encoding")
REPLIES_LIMIT = Rule("replies.limit")
REPLIES_PARTS = Rule("replies.parts")
REPLIES_STATUS = Rule("replies.status")
REPLIES_WHOLE = Rule("replies.whole")

# Limits
LIMITS_BODY_BYTES_PER_SECOND = Rule("limits.body_bytes_per_second")
LIMITS_BODY_SECONDS = Rule("limits.body_seconds")
LIMITS_BUFFERED_BYTES = Rule("limits.buffered_bytes")
LIMITS_CLIENT_HELLO = Rule("limits.client_hello")
LIMITS_CONNECTIONS = Rule("limits.connections")
LIMITS_CONNECT_SECONDS = Rule("limits.connect_seconds")
LIMITS_HANDSHAKE_SECONDS = Rule("limits.handshake_seconds")
LIMITS_HEAD_SECONDS = Rule("limits.head_seconds")
LIMITS_HEADER_FIELDS = Rule("limits.header_fields")
LIMITS_INSPECTION_WORKERS = Rule("limits.inspection_workers")
LIMITS_PER_SOURCE_CONNECTIONS = Rule("limits.per_source.connections")
LIMITS_PER_SOURCE_HANDSHAKES = Rule("limits.per_source.handshakes_per_minute")
LIMITS_REQUEST_HEAD = Rule("limits.request_head")
LIMITS_RESPONSE_SECONDS = Rule("limits.response_seconds")

# The bridge itself
DEFECT_IN = RuleOf("{part}")
EXCHANGE = Rule("exchange")
EXCHANGE_AHEAD = Rule("exchange.ahead")
TLS_VERIFY = Rule("tls.verify")

_CONSTANTS = frozenset(
    value for name, value in globals().items() if name.isupper() and isinstance(value, str)
)
"""Some have the pattern of another rule: `soap_actions.refused` is not the rule of a service."""
