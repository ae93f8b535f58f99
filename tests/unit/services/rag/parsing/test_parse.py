import io
from dataclasses import dataclass

import pypdf
import pytest

from services.rag.document import ParsedDocument
from services.rag.parsing.parse import media_type_of, parse
from services.rag.parsing.pdf import parse_pdf
from shared.errors import BadDocument


def pdf(*pages: str) -> bytes:
    """A small PDF with one line of text a page."""
    kids = " ".join(f"{3 + 2 * number} 0 R" for number in range(len(pages)))
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>"]
    font = "<< /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
    for number, text in enumerate(pages):
        stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET"
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources {font} /Contents {4 + 2 * number} 0 R >>",
            f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
        ]
    out, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    trailer = f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(out)}\n%%EOF"
    return out + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{trailer}".encode()


def encrypted_pdf() -> bytes:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf("secret")))
    writer.encrypt("password", algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def only(source: str, content: bytes) -> ParsedDocument:
    documents = parse(source, content).documents
    assert len(documents) == 1
    return documents[0]


def test_markdown_sections_know_their_headings_and_lines() -> None:
    text = "---\ntitle: Guide\n---\n# Start\n\nHello.\n\n## Keys\nRotate them.\n\n```sh\n# not a heading\n\nls\n```\n"
    document = only("a.md", text.encode())
    assert document.title == "Guide"
    assert [(item.heading, item.start_line, item.end_line) for item in document.segments] == [
        ("Start", 4, 6),
        ("Start › Keys", 8, 9),
        ("Start › Keys", 11, 15),
    ]


def test_html_is_read_without_scripts_and_finds_its_lines() -> None:
    text = (
        "<html><head><title>T &amp; Co</title><style>p {}</style></head>\n<body><script>evil()</script>\n"
        "<h1>Pumps</h1>\n\n<p>Fill with <b>clean</b>\nwater.</p><ul><li>a &lt; b</li>\n<li>last</li></ul></body></html>"
    )
    document = only("a.html", text.encode())
    assert document.title == "T & Co"
    assert [(item.text, item.start_line) for item in document.segments] == [
        ("Pumps", 3),
        ("Fill with clean water.", 5),
        ("a < b", 6),
        ("last", 7),
    ]
    assert {item.heading for item in document.segments} == {"Pumps"}


def test_html_in_the_encoding_it_declares() -> None:
    content = '<meta charset="iso-8859-1"><p>Größe</p>'.encode("latin-1")
    assert only("a.html", content).segments[0].text == "Größe"


def test_source_code_knows_the_definition_it_stands_in() -> None:
    text = "import os\n\n\ndef first():\n    pass\n\n    return 1\n\n\nclass Second:\n    x = 1\n"
    segments = only("a.py", text.encode()).segments
    assert [(item.heading, item.start_line) for item in segments] == [
        ("", 1),
        ("def first()", 4),
        ("def first()", 7),
        ("class Second", 10),
    ]


def test_text_in_utf_16_with_windows_line_ends() -> None:
    document = only("a.txt", "one\r\n\r\ntwo".encode("utf-16"))
    assert [(item.text, item.start_line) for item in document.segments] == [("one", 1), ("two", 3)]


def test_pdf_pages_are_known() -> None:
    document = only("a.pdf", pdf("First page", "Second page"))
    assert [(item.text, item.page) for item in document.segments] == [("First page", 1), ("Second page", 2)]


def test_a_pdf_reader_that_takes_too_long_is_ended() -> None:
    with pytest.raises(BadDocument, match="longer than"):
        parse_pdf(pdf("x"), timeout_s=0.001)


def test_jsonl_rows_are_documents_and_bad_lines_are_named() -> None:
    lines = ['{"_id": "a", "title": "T", "text": "one"}', "{broken", "", '{"_id": 7, "text": "two"}', "[1]"]
    lines += ['{"_id": "a", "text": "again"}', '{"_id": "b", "text": 5}', '{"text": "no id"}']
    parsed = parse("rows.jsonl", "\n".join(lines).encode())
    assert [(item.key, item.title, item.segments[0].start_line) for item in parsed.documents] == [
        ("a", "T", 1),
        ("7", "", 4),
    ]
    assert [problem.split(":")[0] for problem in parsed.problems] == ["Line 2", "Line 5", "Line 6", "Line 7", "Line 8"]


@dataclass(frozen=True)
class Bad:
    name: str
    source: str
    content: bytes
    says: str


BAD = (
    Bad("binary named txt", "a.txt", bytes(range(256)), "binary"),
    Bad("control characters", "a.txt", b"\x01\x02\x03\x04 abc", "binary"),
    Bad("wrong encoding", "a.md", "Größe".encode("latin-1"), "UTF-8"),
    Bad("blank", "a.txt", b" \n\n ", "no text"),
    Bad("html without text", "a.html", b"<script>x()</script>", "no text"),
    Bad("unknown declared encoding", "a.html", b'<meta charset="klingon"><p>x</p>', "KLINGON"),
    Bad("malformed pdf", "a.pdf", b"%PDF-1.4\nrubbish", "PDF"),
    Bad("cut pdf", "a.pdf", pdf("x")[:200], "PDF"),
    Bad("no pdf at all", "a.pdf", b"hello", "PDF"),
    Bad("encrypted pdf", "a.pdf", encrypted_pdf(), "encrypted"),
    Bad("pdf without text", "a.pdf", pdf(""), "no text"),
    Bad("jsonl without rows", "a.jsonl", b"{}\n[]\n", "No line"),
    Bad("deeply nested json", "a.jsonl", b"[" * 100_000, "No line"),
)


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
def test_a_bad_document_is_refused_with_a_reason(case: Bad) -> None:
    with pytest.raises(BadDocument, match=case.says):
        parse(case.source, case.content)


def test_lone_surrogates_and_nul_in_json_do_no_harm() -> None:
    document = parse("a.jsonl", b'{"_id": "x", "text": "a\\u0000b \\ud800 c"}').documents[0]
    assert document.segments[0].text == "a b ? c"


def test_the_declared_type_wins_over_the_ending_unless_it_says_nothing() -> None:
    assert media_type_of("a.md") == "text/markdown"
    assert media_type_of("a.md", "text/html; charset=utf-8") == "text/html"
    assert media_type_of("a.md", "application/octet-stream") == "text/markdown"
    assert media_type_of("rows", "application/x-ndjson") == "application/jsonl"
    assert media_type_of("Makefile") == "text/plain"
