"""HTML: the readable text, block by block, with headings and the lines of the source it stands on."""

import re

from selectolax.lexbor import LexborHTMLParser, LexborNode

from services.rag.document import Segment

_UNREAD = "script, style, noscript, template, svg, nav, iframe, object, head > meta, head > link"
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCK_NAMES = """
    address article aside blockquote body br caption dd details div dl dt fieldset figcaption figure footer form hr
    header li main ol p pre section summary table td th tr ul
"""
_BLOCKS = {*_BLOCK_NAMES.split(), *_HEADINGS}
_CHARSET = re.compile(rb"<meta[^>]+charset\s*=\s*[\"']?([\w-]+)", re.IGNORECASE)
_NEEDLE = 40


def declared_encoding(content: bytes) -> str:
    """The encoding that the document names in its first bytes; empty when it names none."""
    match = _CHARSET.search(content[:2048])
    return match[1].decode("ascii") if match else ""


def parse_html(text: str) -> tuple[str, tuple[Segment, ...]]:
    """The title and the segments."""
    tree = LexborHTMLParser(text)
    title_node = tree.css_first("title")
    title = " ".join(title_node.text().split()) if title_node else ""
    for node in tree.css(_UNREAD):
        node.decompose()
    reader = _Reader(text)
    if tree.body is not None:
        for node in tree.body.traverse(include_text=True):
            reader.read(node)
    reader.flush()
    return title or reader.first_heading, tuple(reader.segments)


class _Reader:
    """Gathers text nodes into blocks; finds each again in the source to know its line."""

    def __init__(self, source: str) -> None:
        self.segments: list[Segment] = []
        self.first_heading = ""
        self._source, self._position, self._line = source, 0, 1
        self._headings: list[tuple[int, str]] = []
        self._held: list[str] = []
        self._start = self._end = 1
        self._level = 0
        self._block = 0

    def read(self, node: LexborNode) -> None:
        """Take the next node in document order."""
        if node.tag == "-text":
            self._read_text(node)
        elif node.tag in _BLOCKS:
            self.flush()
            self._level = _HEADINGS.get(node.tag, 0)

    def _read_text(self, node: LexborNode) -> None:
        text = node.text_content or ""
        words = " ".join(text.split())
        if not words:
            return
        block = _block_of(node)
        if self._held and block != self._block:  # the block before has ended without another one's start
            self.flush()
        self._block = block
        self._seek(text)
        if not self._held:
            self._start = self._line
        self._held.append(words)
        self._end = self._line + text.strip("\n").count("\n")

    def _seek(self, text: str) -> None:
        """Go on to the line on which `text` starts. What entities hide is not found; the line before then stands."""
        needle = re.split(r"[&<>\u00a0\"']", text.strip(), maxsplit=1)[0][:_NEEDLE]
        found = self._source.find(needle, self._position) if needle.strip() else -1
        if found >= 0:
            self._line += self._source.count("\n", self._position, found)
            self._position = found

    def flush(self) -> None:
        """End the block that is being gathered."""
        if self._held:
            text = " ".join(self._held)
            if self._level:
                self.first_heading = self.first_heading or text
                self._headings = [item for item in self._headings if item[0] < self._level] + [(self._level, text)]
            heading = " › ".join(name for _, name in self._headings)
            self.segments.append(
                Segment(text, self._start, self._end, heading=heading, starts_section=bool(self._level))
            )
        self._held, self._level = [], 0


def _block_of(node: LexborNode) -> int:
    """An id of the nearest block around the node."""
    parent = node.parent
    while parent is not None and parent.tag not in _BLOCKS:
        parent = parent.parent
    return parent.mem_id if parent is not None else 0
