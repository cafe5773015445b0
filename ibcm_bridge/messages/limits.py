"""Limits for the parts of a ConfigMgr message, and their sources.

The limits for whole bodies and their inflated sizes are in `config/roles.yaml`. No legitimate
message comes close to a limit; a message that exceeds one is an attack on resources.
"""

MAX_PARTS = 8
"""Parts of a multipart body. A request has two, a reply two or three (protocol.md §1.3, §1.7)."""

MAX_PART_HEAD = 256
"""Bytes of the head of a part: one Content-Type (§1.3)."""

MAX_HEADER = 65_536
"""Bytes of a Msg header. With signatures and a public key it has less than 8 KB (§1.4, §1.5)."""

MAX_HEADER_ELEMENTS = 1_000
"""Elements of a Msg header. The known ones are about 30, with the properties of two hooks."""

MAX_SLICES = 32
"""Body and Attachment elements. A heartbeat has three (§1.3)."""

MAX_HOOKS = 8
"""Hooks of a header. A signed and compressed message has two (§1.5)."""

MAX_PROPERTIES = 32
"""Properties of a hook. `clientauth` has eleven known ones (§1.5)."""

MAX_DEPTH = 256
"""Depth of nested elements. Every open element uses memory in expat (885 MB for 50 KB of zlib,
measured); .NET's SOAP parser allows 32 by default (XmlDictionaryReaderQuotas)."""

MAX_SOAP_DEPTH = 32
"""Depth of nested elements in SOAP: .NET's default. The deepest request of [MS-WUSP] has nine
(§2.2.2.2.4)."""

MAX_SOAP_ELEMENTS = 50_000
"""Elements of a SOAP request. A report of `MAX_EVENTS` events has about 40,000; a scan lists the
updates that a client has installed, a few thousand."""

MAX_SOAP_PIECES = 100_000
"""Lines and references of a SOAP request. The parser returns the text between them piece by piece,
which takes five times as long as one text."""

MAX_PROPFIND_ELEMENTS = 100
"""Elements of a PROPFIND. RFC 4918 §15 defines ten properties; clients request two."""

MAX_COOKIE = 4_096
"""Bytes of a WSUS cookie. It contains the client's id and name of up to 255 characters each, times,
and group names ([MS-WUSP] 2.2.3.4, 2.2.3.5, without a limit). A browser must support HTTP cookies
of this size (RFC 6265 §6.1)."""

MAX_EVENTS = 1_000
"""Events of a report. [MS-WUSP] has no limit; a client sends the events of a short interval
(3.2.4)."""

MAX_EVENT_LIST = 65_536
"""Characters of a string in MiscData or ReplacementStrings. A status event lists updates by GUID;
this is room for about 1,700 ([MS-WUSP] 2.2.2.3.1)."""

MAX_EVENT_TAG = 64
"""Characters of a tag in MiscData: the x in "x=value" ([MS-WUSP] 2.2.2.3.1, without a limit). The
longest tag observed from a Windows 11 agent, CsiErrorType, has twelve."""

MAX_EVENT_TEXT = 1_024
"""Characters of any other text of an event: models, versions, GUIDs, numbers (the same section)."""

MAX_NAMES = 8_192
"""Distinct names of elements, and of attributes, in a document. Hardware inventory has about a
thousand properties in about a hundred classes, and a report has those that its site collects."""

MAX_VALUES = 16
"""Distinct values at a place of a document; a legitimate message has one."""

MAX_VALUE = 65_536
"""Characters of such a value. A certificate in hexadecimal has about 4,000 (§3.1)."""

MAX_AT_GUID_PLACES = 10_000
"""Values, equal or not, at all places of client GUIDs in a document. A message has a few; a report
has one for each of its state messages, and a client sends a few hundred of them."""

MAX_CLIENT_GUIDS = 64
"""Distinct spellings of client GUIDs in all documents of a message; a legitimate message has one. A
worker's report has room for as many texts (`inspection.reports`)."""
