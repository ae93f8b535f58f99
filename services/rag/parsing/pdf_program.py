"""Reads a PDF on standard input and prints its pages as JSON; run as a program of its own, so that it can be ended.

A hostile PDF may loop or eat memory: this process has a memory limit, and its starter a clock.
"""

import contextlib
import io
import json
import logging
import resource
import sys

import pypdf
from pypdf.errors import PyPdfError

MEMORY_BYTES = 1_500_000_000
MAX_PAGES = 5_000


def read_pages(content: bytes) -> dict[str, object]:
    """`title` and `pages` (a text each), or `problem`, a sentence."""
    try:
        reader = pypdf.PdfReader(io.BytesIO(content))
        if reader.is_encrypted and not reader.decrypt(""):
            return {"problem": "The PDF is encrypted."}
        if len(reader.pages) > MAX_PAGES:
            return {"problem": f"The PDF has {len(reader.pages):,} pages; {MAX_PAGES:,} are possible."}
        title = (reader.metadata.title if reader.metadata else "") or ""
        return {"title": str(title), "pages": [page.extract_text() for page in reader.pages]}
    except MemoryError:
        return {"problem": "The PDF needs too much memory."}
    except (PyPdfError, ImportError, RecursionError) as error:
        return {"problem": f"The PDF cannot be read: {error or type(error).__name__}."}
    except Exception as error:  # pypdf meets malformed files with whatever happens to break
        return {"problem": f"The PDF is malformed ({type(error).__name__})."}


def main() -> None:
    """Read, parse, print."""
    logging.disable(logging.CRITICAL)
    with contextlib.suppress(ValueError, OSError):  # macOS knows no such limit
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    print(json.dumps(read_pages(sys.stdin.buffer.read())))


if __name__ == "__main__":
    main()
