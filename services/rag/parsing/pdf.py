"""PDF: the text of each page, read by a process of its own within a time limit."""

import json
import re
import subprocess
import sys

from services.rag.document import Segment
from services.rag.parsing import pdf_program
from services.rag.parsing.plain import paragraphs
from shared.errors import BadDocument

TIMEOUT_S = 60.0

_HYPHENATED = re.compile(r"(?<=[a-z])-\n(?=[a-z])")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\ud800-\udfff]")


def parse_pdf(content: bytes, timeout_s: float = TIMEOUT_S) -> tuple[str, tuple[Segment, ...]]:
    """The title from the PDF's metadata and a segment for each paragraph. Blocks for up to `timeout_s`.

    Raises `BadDocument`: encrypted, malformed, no text, too slow.
    """
    try:
        done = subprocess.run(
            [sys.executable, pdf_program.__file__], input=content, capture_output=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise BadDocument(f"The PDF took longer than {timeout_s:g} s to read.") from None
    if done.returncode != 0:
        raise BadDocument(f"The PDF could not be read; its reader ended with {done.returncode}.")
    report = json.loads(done.stdout)
    if "problem" in report:
        raise BadDocument(report["problem"])
    segments = [
        Segment("\n".join(lines), page=number)
        for number, page in enumerate(report["pages"], 1)
        for _, lines in paragraphs(_HYPHENATED.sub("", _UNPRINTABLE.sub("", page)))
    ]
    if not segments:
        raise BadDocument("The PDF holds no text; perhaps its pages are pictures.", remedy="Run it through OCR.")
    return " ".join(_UNPRINTABLE.sub("", report["title"]).split()), tuple(segments)
