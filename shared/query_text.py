"""What a query may be: text, of a bounded size."""

import unicodedata

from shared.errors import InvalidInput

PERMITTED_CONTROLS = frozenset("\t\n\r")


def check_query(query: str, max_bytes: int) -> None:
    """Raise `InvalidInput`, naming the limit, for a query that is empty, too long or not text."""
    size = len(query.encode("utf-8", errors="surrogatepass"))
    if not query.strip() or size > max_bytes:
        raise InvalidInput(
            f"The query has {size} bytes{'' if query.strip() else ' and no text'}; "
            f"1 to {max_bytes} bytes of text are possible.",
            field="query",
            limit=f"{max_bytes} bytes",
        )
    for position, character in enumerate(query):
        if unicodedata.category(character) in ("Cc", "Cs") and character not in PERMITTED_CONTROLS:
            raise InvalidInput(
                f"The query has the control character U+{ord(character):04X} at position {position}.",
                remedy="Send text; tab and newlines are fine.",
                field="query",
            )
