"""How much there may be of each thing in a ConfigMgr message, and where the number comes from.

Sizes of whole bodies and of what they inflate to stand with the kinds of bodies in
`config/roles.yaml`. What no message comes near is refused: it is there to cost something.
"""

MAX_PARTS = 8
"""Parts of a multipart body. A request has two, a reply two or three (protocol.md §1.3, §1.7)."""

MAX_PART_HEAD = 256
"""Bytes of the head of a part: one Content-Type (§1.3)."""

MAX_HEADER = 65_536
"""Bytes of a Msg header. With signatures and a public key it is under 8 KB (§1.4, §1.5)."""

MAX_SLICES = 32
"""Body and Attachment elements. A heartbeat has three (§1.3)."""

MAX_HOOKS = 8
"""Hooks of a header. A signed and compressed message has two (§1.5)."""

MAX_PROPERTIES = 32
"""Properties of one hook. Of `clientauth` eleven are known (§1.5)."""

MAX_DEPTH = 256
"""Elements within each other. Every open element costs expat memory (885 MB for 50 KB of zlib,
measured); .NET's reader of SOAP messages takes 32 by default (XmlDictionaryReaderQuotas)."""

MAX_SOAP_DEPTH = 32
"""The same in SOAP: what .NET reads. The deepest request of [MS-WUSP] has nine (§2.2.2.2.4)."""

MAX_COOKIE = 4_096
"""Bytes of a cookie of WSUS. It holds the client's id and name of up to 255 characters each, times,
and names of groups ([MS-WUSP] 2.2.3.4, 2.2.3.5), and has no limit there; a browser need not keep
more in one of HTTP's (RFC 6265 §6.1)."""

MAX_EVENTS = 1_000
"""Events of one report. [MS-WUSP] has no number; a client sends what a short wait has gathered
(3.2.4)."""

MAX_EVENT_LIST = 65_536
"""Characters of one string of MiscData or ReplacementStrings. A status event lists updates by GUID,
some 1,700 of them ([MS-WUSP] 2.2.2.3.1)."""

MAX_EVENT_TAG = 64
"""Characters of a tag of MiscData, in "x=value" the x ([MS-WUSP] 2.2.2.3.1, which has no number).
The longest that an agent of Windows 11 was seen to send, CsiErrorType, has twelve."""

MAX_EVENT_TEXT = 1_024
"""Characters of any other text of an event: names of models and versions, GUIDs, numbers (same)."""

MAX_NAMES = 8_192
"""Different names of elements in one document. Hardware inventory knows some thousand properties
of some hundred classes, and a report has those of its own site."""

MAX_VALUES = 16
"""Different values at one place of a document; a message in order has one."""

MAX_VALUE = 65_536
"""Characters of such a value. A certificate in hexadecimal has about 4,000 (§3.1)."""

MAX_CLIENT_GUIDS = 64
"""Different client GUIDs, as they are written, in all documents of a message; a message in order
has one. What a worker reports has room for as many texts (`inspection.reports`)."""
