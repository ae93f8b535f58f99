"""Bytes to text, strictly: what is not text is refused, so that no rubbish gets into the index."""

import codecs

from shared.errors import BadDocument

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MAX_CONTROL_SHARE = 0.01
_LAYOUT = "\t\n\f\x1b"


def decode(content: bytes, encoding: str = "") -> str:
    """The text, with line feeds only. `encoding` is what the document declares; otherwise UTF-8 or its mark's.

    Raises `BadDocument` for binary content or a wrong encoding.
    """
    marked = next((name for mark, name in _MARKS if content.startswith(mark)), "")
    name = marked or encoding or "utf-8"
    try:
        text = content.decode(name)
    except (UnicodeDecodeError, LookupError) as error:
        if b"\0" in content[:8192]:
            raise BadDocument("It is binary, not text.") from None
        where = f" (byte {error.start:,})" if isinstance(error, UnicodeDecodeError) else ""
        raise BadDocument(f"It is not {name.upper()} text{where}.", remedy="Save it as UTF-8.") from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    controls = sum(character < " " and character not in _LAYOUT for character in text)
    if "\0" in text or controls > _MAX_CONTROL_SHARE * len(text):
        raise BadDocument("It is binary, not text.")
    return text
