"""Redaction: takes secrets out of whatever leaves the process as telemetry or as the text of an error, in every mode.

A secret is known by its form (a bearer token, a key of a known vendor, a private key, a password in a URL), by the
name beside it (`password=…`, `"api_key": …`), or because it is the value of one of our own secret settings.
"""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import re2  # type: ignore[import-untyped]

REDACTED = "[redacted]"
MIN_SECRET_CHARS = 4
"""A shorter secret setting would take ordinary words apart."""

_SECRET_NAME = r"(?:passw(?:or)?d|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|authorization)"
_NAME = rf"(?i:[\w.-]*{_SECRET_NAME}(?:[_-]?(?:key|value))?)"
_QUOTED = r"""(?:"(?:[^"\\]|\\.)*(?:"|\z)|\\+"(?:[^"\\]|\\[^"])*(?:\\+"|\z)|'(?:[^'\\]|\\.)*(?:'|\z))"""
"""In quotes, in quotes within quotes, or cut short within them."""
_VALUE = rf"""(?i:(?:bearer|basic|digest|token)\s+)?(?:{_QUOTED}|[^\s"',;&}})\]\\]+)"""
# re2 works in linear time on whatever a prompt may hold, and is twenty times as fast here as `re`
_BY_NAME = re2.compile(rf"""({_NAME}\\*["']?\s*[:=]\s*)({_VALUE})""")
_BY_FORM = re2.compile(
    "|".join(
        (
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|\z)",
            r"(?i:\bbearer\s+)[\w.~+/:-]{8,}=*",
            r"\bBasic\s+[\w+/]{6,}={1,2}",
            r"\b(?:sk|pk|rk)[-_][\w-]{8,}",
            r"\b(?:AKIA|ASIA)[0-9A-Z]{12,}\b",
            r"\b(?:gh[pousr]_|github_pat_|glpat-|hf_|xox[abprs]-)[\w-]{8,}",
            r"\bAIza[\w-]{30,}",
            r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*",
        )
    )
)
_IN_URL = re2.compile(r"(\b[a-zA-Z][\w+.-]*://[^\s/@:]*:)([^\s/@]+)@")
_ANY = re2.compile("|".join(f"(?:{each.pattern})" for each in (_BY_FORM, _IN_URL, _BY_NAME)))
_IS_SECRET_NAME = re2.compile(rf"^{_NAME}$")
_PLAIN_NAMES = ("page_token", "next_page_token")
"""Named like secrets, and none."""
_PLAIN_VALUES = frozenset(("none", "null", "true", "false"))


class Redactor:
    """Takes secrets out of texts and attributes. `secrets` are values that must not appear, whatever they look like."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = {secret for secret in secrets if len(secret) >= MIN_SECRET_CHARS}
        forms = {form for secret in known for form in (secret, json.dumps(secret)[1:-1], quote(secret, safe=""))}
        self._secrets = tuple(sorted(forms, key=len, reverse=True))

    def text(self, text: str) -> str:
        """The text without secrets."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, REDACTED)
        if not _ANY.search(text):
            return text
        text = _BY_FORM.sub(REDACTED, text)
        text = _IN_URL.sub(rf"\1{REDACTED}@", text)
        return str(_BY_NAME.sub(_without_value, text))

    def attributes(self, values: Mapping[str, Any] | None) -> dict[str, Any]:
        """Attributes without secrets: by their names, and in the texts of their values, however deep."""
        return {name: self._named(name, value) for name, value in (values or {}).items()}

    def is_clean(self, texts: Sequence[str]) -> bool:
        """Whether no text can hold a secret. One look at all of them, since nearly all have none."""
        joined = "\n".join(texts)
        return not any(secret in joined for secret in self._secrets) and not _ANY.search(joined)

    def _named(self, name: str, value: Any) -> Any:
        if isinstance(value, str | bytes | list | tuple | Mapping) and is_secret_name(name):
            return REDACTED if value else value
        return self._value(value)

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return self.attributes(value)
        if isinstance(value, list | tuple):
            return type(value)(self._value(item) for item in value)
        return value


@lru_cache(maxsize=4_096)
def is_secret_name(name: str) -> bool:
    """Whether what goes by this name is a secret."""
    return bool(_IS_SECRET_NAME.search(name)) and not name.endswith(_PLAIN_NAMES)


def _without_value(match: Any) -> str:
    name, value = match.group(1), match.group(2)
    is_plain = name.rstrip(" \t:=\"'\\").endswith(_PLAIN_NAMES) or value.lower() in _PLAIN_VALUES
    quote_mark = value[: len(value) - len(value.lstrip("\\"))] + value.lstrip("\\")[:1]
    if is_plain or value.lstrip("\\\"'").startswith(REDACTED[:-1]):
        return str(match.group(0))
    if quote_mark[-1:] not in ("'", '"'):
        return f"{name}{REDACTED}"
    return f"{name}{quote_mark}{REDACTED}{quote_mark}"  # JSON stays JSON


_of_process = Redactor()


def redactor() -> Redactor:
    """The process's redactor."""
    return _of_process


def hide(secrets: Iterable[str]) -> None:
    """Make the process's redactor one that knows these secrets, and no others."""
    global _of_process
    _of_process = Redactor(secrets)


def redacted(text: str) -> str:
    """The text without secrets, as the process's redactor sees it."""
    return _of_process.text(text)


class RedactingFilter(logging.Filter):
    """Takes secrets out of a log record: its message with the arguments, its exception and its stack."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record; each one passes."""
        if getattr(record, "is_redacted", False):
            return True
        try:
            message = record.getMessage()
        except Exception:  # a log call with the wrong arguments must not end what it tells of
            message = f"{record.msg} {record.args}"
        record.msg, record.args = redacted(message), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        record.exc_text = redacted(record.exc_text) if record.exc_text else record.exc_text
        record.stack_info = redacted(record.stack_info) if record.stack_info else record.stack_info
        record.is_redacted = True
        return True
