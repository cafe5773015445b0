"""Hypothesis strategies for XML: relevant names, in every spelling and at every place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from xml.sax.saxutils import escape, quoteattr

from hypothesis import strategies as st

from ibcm_bridge.messages.document_values import Place
from ibcm_bridge.messages.guid_places import GuidPlace, GuidPlaces, GuidUse

GUIDS = (
    "GUID:5E2B7C1A-94D0-4B6E-8F3A-0C1D2E3F4A5B",
    "GUID:11111111-2222-4333-8444-555555555555",
)
VALUES = st.sampled_from(
    (*GUIDS, GUIDS[0].lower(), " ", "", "0", "00ff", "a&b", "<x/>", "\n", "é", "clientid ")
)
"""Values of texts and attributes, unescaped."""

GUID_PLACES = GuidPlaces(
    (
        GuidPlace(GuidUse.OWN, "ClientID"),
        GuidPlace(GuidUse.OWN, "Machine/ClientID"),
        GuidPlace(GuidUse.OWN_IN_TEXT, "Topic/ID"),
        GuidPlace(GuidUse.OTHER, "PreviousClientID"),
    ),
    data=("instance",),
)
_NAMES = sorted(
    {part.removeprefix("@") for place in Place for part in place.split("/")}
    | {part for place in GUID_PLACES.places for part in place.label.split("/")}
    | {"Report", "Property", "Instance", "User", "Identification", "Name", "Value", "a"}
)
Encode = Callable[[str], str]
ENCODED: tuple[Encode, ...] = (
    escape,
    lambda text: "<![CDATA[{}]]>".format(text.replace("]]>", "]]]]><![CDATA[>")),
    lambda text: "".join(f"&#{ord(letter)};" for letter in text),
    lambda text: f"<!-- {GUIDS[1]} -->{escape(text)}<?pi {GUIDS[1]}?>",
)
"""Notations of a text."""
_AS_TEXT = st.builds(lambda encode, text: encode(text), st.sampled_from(ENCODED), VALUES)


def spelt(name: str) -> st.SearchStrategy[str]:
    """A name unchanged, in another case, or with a prefix."""
    return st.sampled_from((name, name, name.lower(), name.upper(), f"x:{name}", f"y:{name}"))


_SPELT = st.sampled_from(_NAMES).flatmap(spelt)


def _distinct(attributes: Iterable[tuple[str, str]]) -> str:
    # Both prefixes have the same namespace, so x:a and y:a would be a duplicate attribute.
    by_name = {name.replace("y:", "x:"): (name, value) for name, value in attributes}
    return "".join(f" {name}={quoteattr(value)}" for name, value in by_name.values())


def _element(name: str, attributes: Iterable[tuple[str, str]], inner: Iterable[str]) -> str:
    return f"<{name}{_distinct(attributes)}>{''.join(inner)}</{name}>"


def _at(place: Place, inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """An element with a value at a place, among other elements."""
    parent, _, name = place.partition("/")
    more = st.lists(inner, max_size=2)
    attributes = st.lists(st.tuples(_SPELT, VALUES), max_size=2)
    if name.startswith("@"):
        own = st.tuples(spelt(name[1:]), VALUES)
        both = st.builds(lambda one, others: [*others, one, *others[:1]], own, attributes)
        return st.builds(_element, spelt(parent), both, more)
    child = st.builds(_element, spelt(name), attributes, more)
    among = st.builds(lambda before, one, after: [*before, one, *after], more, child, more)
    return st.builds(_element, spelt(parent), attributes, among)


def _elements(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    any_other = st.builds(_element, _SPELT, st.just(()), st.lists(inner, max_size=4))
    return st.one_of(any_other, *(_at(place, inner) for place in Place))


def _declared(document: str) -> str:
    """Add the namespace declarations to the root element."""
    end = min(at for at in (document.find(" "), document.find(">")) if at > 0)
    return f'{document[:end]} xmlns:x="urn:u" xmlns:y="urn:u"{document[end:]}'


DOCUMENTS = _elements(st.recursive(_AS_TEXT, _elements, max_leaves=16)).map(_declared)
"""Well-formed documents with values at any place, repeatedly, or almost at a place."""

_CHILDREN = ("TargetEndpoint", "SourceID", "ReplyTo", "Body", "Hooks", "Payload", "SourceHost")
_ENDPOINTS = st.sampled_from(("MP_HinvEndpoint", " MP_HinvEndpoint\n", "MP_LocationManager", ""))
_SLICES = (
    *('Offset="0" Length="20"', 'Offset="0" Length="20" offset="2"', 'Length="20"', ""),
    'Offset="0" Length="20" x:Offset="2"',
)
_HOOKS = (
    '<Hook3 Name="zlib-compress"/>',
    '<Hook2 Name="clientauth"><Property Name="Token">00</Property></Hook2>',
    '<Hook2 Name="clientauth"><Property Name="Token">01</Property><Property>02</Property></Hook2>',
    '<Hook2 Name="CLIENTAUTH"/>',
    '<Hook3 Name="zlib-compress" name="encrypt"/>',
    '<Hook3 Name="zlib-compress" x:Name="encrypt"/>',
    '<hook2 Name="clientauth"><property Name="Token">03</property></hook2>',
    '<x:Hook2 x:Name="clientauth"><Property Name="token">04</Property></x:Hook2>',
    '<Hook2 Name="clientauth"><Property name="Token">05</Property></Hook2>',
    '<Hook2 Name="clientauth"><Property Name="a" x:name="Token">06</Property></Hook2>',
    '<Hook2 Name="clientauth"><Property Name="a"><Property Name="Token"/></Property></Hook2>',
    '<Hook2 Name="clientauth"><x:hook2 Name="encrypt"/></Hook2>',
)
_PAYLOADS = ("", 'Type="inline"', 'Type="Http"', 'type="Http"', 'Type="inline" x:Type="Http"')
_ATTRIBUTES = {"Body": st.sampled_from(_SLICES), "Payload": st.sampled_from(_PAYLOADS)}
_CHILD_TEXTS = {
    "TargetEndpoint": st.builds(lambda enc, text: enc(text), st.sampled_from(ENCODED), _ENDPOINTS),
    "Body": st.just(""),
    "Payload": st.just(""),
    "Hooks": st.lists(st.sampled_from(_HOOKS), max_size=2).map("".join),
}


def _child(name: str, spelling: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    attributes = _ATTRIBUTES.get(name, st.just(""))
    return st.builds(
        lambda spelling, attributes, text: f"<{spelling} {attributes}>{text}</{spelling}>",
        *(spelling, attributes, _CHILD_TEXTS.get(name, _AS_TEXT)),
    )


def _plain(name: str) -> st.SearchStrategy[str]:
    return _child(name, st.just(name))


def _odd(name: str) -> st.SearchStrategy[str]:
    return _child(name, spelt(name))


def _header(children: Iterable[str]) -> str:
    return _declared(f"<Msg >{''.join(children)}</Msg>")


_BODY = f"<Body {_SLICES[0]}/>"
_ANY_ODD = st.sampled_from(_CHILDREN).flatmap(_odd)
_WITHIN = st.builds(
    lambda outer, child: f"<{outer}>{child}</{outer}>",
    *(st.sampled_from(("Property", "SourceHost")), _ANY_ODD),
)
HEADERS = st.builds(
    lambda once, more, order: _header(order.sample([*once, *more], len(once) + len(more))),
    st.tuples(*map(_plain, ("TargetEndpoint", "SourceID", "ReplyTo", "Hooks")), st.just(_BODY)),
    st.lists(st.one_of(_plain("SourceHost"), _plain("Payload"), _WITHIN, _ANY_ODD), max_size=2),
    st.randoms(use_true_random=False),
)
"""Msg elements; many have content that another parser reads as another message."""
