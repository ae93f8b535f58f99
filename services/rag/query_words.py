"""The words of a question: those to search for, and those that carry its meaning."""

import re

MAX_WORDS = 128
"""A longer query is searched by its first so many different words."""

_STOP_WORDS = """
    a about above according after again all also am an and any are as at be because been before being below
    between both but by can could did do docs document documents does doing down during each few find for from
    further give had has have having he her here hers him his how i if in into is it its itself just let me
    more most my no nor not now of off on once only or other our out over own please same say says shall she
    should show so some such tell than that the their them then there these they this those through to too
    under until up us very was we were what when where which while who whom whose why will with would you your
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
_WORD = re.compile(r"[^\W_]+")
_SUFFIX = re.compile(r"(?:ing|edly|ed|ies|es|s|ly|al|ation|ations|ment|ments)$")
_STEM_LENGTH = 4


def query_words(query: str) -> list[str]:
    """The different words to search for; stop words only when there are no others."""
    words = list(dict.fromkeys(word.lower() for word in _WORD.findall(query)))
    return ([word for word in words if word not in STOP_WORDS] or words)[:MAX_WORDS]


def content_stems(text: str) -> set[str]:
    """Rough stems of the words that carry meaning, to compare a question with a passage."""
    return {_stem(word) for word in (item.lower() for item in _WORD.findall(text)) if word not in STOP_WORDS}


def _stem(word: str) -> str:
    shorter = _SUFFIX.sub("", word)
    return shorter if len(shorter) >= _STEM_LENGTH else word
