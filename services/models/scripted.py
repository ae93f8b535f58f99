"""A backend that answers from a script, over the same HTTP API: for tests and for measuring the mesh alone.

The script is a JSON list of rules; the first that fits answers. A rule has `match` (a regular expression looked for in
all messages, joined by newlines), and may have `schema_name` (expression for the requested schema's name; without it a
rule fits any), `reply` (text, or JSON to be sent as text), `delay_ms` before each token, `fail` (an HTTP status),
`hang` (never answers), `times` (how often it may be used). A request that no rule fits gets status 500.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from services.models.backend import Refused, Reply
from shared.errors import InvalidInput

MODEL = "scripted"
TOKEN = re.compile(r"\s*\S+\s*")


class Rule(BaseModel):
    """One rule of a script."""

    model_config = ConfigDict(extra="forbid")

    match: str = ""
    schema_name: str | None = None
    reply: Any = ""
    delay_ms: float = 0
    fail: int = 0
    hang: bool = False
    times: int = -1
    """-1: without end."""

    @property
    def text(self) -> str:
        """The reply as text."""
        return self.reply if isinstance(self.reply, str) else json.dumps(self.reply)

    def fits(self, prompt: str, schema_name: str | None) -> bool:
        """Whether this rule answers the request."""
        wants_schema = self.schema_name is not None
        if wants_schema and (schema_name is None or not re.search(self.schema_name or "", schema_name)):
            return False
        return self.times != 0 and re.search(self.match, prompt) is not None


def load_script(path: Path | None) -> list[Rule]:
    """Read a script. Raises `InvalidInput` that names the file."""
    if path is None:
        raise InvalidInput("The scripted backend has no script.", remedy="Set WAYSTATION_MODELS_SCRIPT to one.")
    try:
        return TypeAdapter(list[Rule]).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise InvalidInput(f"The script {path} is not usable: {error}", path=path) from None


class ScriptedBackend:
    """Answers by rules."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules

    def models(self) -> Sequence[str]:
        """Any name is answered."""
        return [MODEL]

    @asynccontextmanager
    async def chat(self, body: Mapping[str, Any]) -> AsyncIterator[Reply]:
        """Answer by the first rule that fits."""
        prompt = "\n".join(str(message["content"]) for message in body["messages"])
        rule = self._rule(prompt, body)
        if rule.hang:
            await asyncio.Event().wait()
        if rule.fail:
            raise Refused(rule.fail, "scripted", "The script says so.")
        if body.get("stream"):
            yield Reply(200, "text/event-stream", _stream(rule, prompt))
        else:
            yield Reply(200, "application/json", _whole(rule, prompt))

    def _rule(self, prompt: str, body: Mapping[str, Any]) -> Rule:
        schema = (body.get("response_format") or {}).get("json_schema") or {}
        for rule in self._rules:
            if rule.fits(prompt, schema.get("name")):
                rule.times -= rule.times > 0
                return rule
        raise Refused(500, "no_rule", f"No rule of the script fits {prompt[-200:]!r}.")


def _usage(rule: Rule, prompt: str) -> dict[str, int]:
    read, written = len(prompt.split()), len(TOKEN.findall(rule.text))
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


async def _stream(rule: Rule, prompt: str) -> AsyncIterator[bytes]:
    for token in TOKEN.findall(rule.text):
        if rule.delay_ms:
            await asyncio.sleep(rule.delay_ms / 1e3)
        yield _event({"choices": [{"index": 0, "delta": {"content": token}, "finish_reason": None}]})
    yield _event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    yield _event({"choices": [], "usage": _usage(rule, prompt)})
    yield b"data: [DONE]\n\n"


async def _whole(rule: Rule, prompt: str) -> AsyncIterator[bytes]:
    message = {"role": "assistant", "content": rule.text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    yield json.dumps({"object": "chat.completion", "choices": [choice], "usage": _usage(rule, prompt)}).encode()


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps({"object": "chat.completion.chunk", "model": MODEL, **chunk}).encode() + b"\n\n"
