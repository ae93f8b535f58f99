"""Fixed replies from a script instead of a model, for tests over the real wire; on by explicit setting only."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from services.models.backend import Piece
from services.models.chat_request import ChatRequest
from shared.errors import InvalidInput, WaystationError


class ScriptedFailure(WaystationError):
    """The script says that this request fails."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.http_status = status


@dataclass
class Rule:
    """One rule of a script; the first that fits answers."""

    match: str = ""
    """A regular expression that is searched for."""
    where: Literal["all", "last"] = "all"
    """In all messages joined by newlines, or in the last message of the user."""
    schema_name: str = ""
    """A regular expression the name of the wanted JSON Schema must match; empty fits requests with and without one."""
    model: str = ""
    """A regular expression the requested model's name must match."""
    reply: Any = ""
    """The text, or a JSON value that is written as text."""
    delay_ms: float = 0.0
    """Waited before each token."""
    fail: int = 0
    """An HTTP status to answer instead."""
    hang: bool = False
    """Whether nothing is answered until the client leaves."""
    times: int = -1
    """How often the rule answers before it is used up; -1 is always."""
    used: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._match = re.compile(self.match)
        self._schema_name = re.compile(self.schema_name)
        self._model = re.compile(self.model)
        text = self.reply if isinstance(self.reply, str) else json.dumps(self.reply, ensure_ascii=False)
        self.tokens = tuple(re.findall(r"\s*\S+|\s+", text))

    def fits(self, request: ChatRequest) -> bool:
        """Whether the rule answers this request."""
        if 0 <= self.times <= self.used:
            return False
        text = request.last_user_text if self.where == "last" else request.full_text
        return bool(
            self._match.search(text)
            and self._model.search(request.model)
            and (not self.schema_name or (request.is_json and self._schema_name.search(request.schema_name)))
        )


class ScriptedBackend:
    """Answers by rules, the first that fits; a request that fits none fails loudly."""

    def __init__(self, rules: list[Rule]) -> None:
        self._rules = rules

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """See `Backend.running`."""
        yield

    def model_states(self) -> Mapping[str, str]:
        """See `Backend.model_states`."""
        return {"scripted": "ready"}

    def resolve(self, name: str) -> str:
        """Every name is known."""
        return name

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """See `Backend.chat`. Raises ScriptedFailure with 500 when no rule fits."""
        rule = self._rule_for(request)
        rule.used += 1
        if rule.hang:
            await asyncio.Event().wait()
        if rule.fail:
            raise ScriptedFailure(rule.fail, f"The script answers {rule.match!r} with HTTP {rule.fail}.")
        tokens = rule.tokens[: request.max_tokens]
        for token in tokens:
            if rule.delay_ms:
                await asyncio.sleep(rule.delay_ms / 1000)
            yield Piece({"content": token})
        read = len(request.full_text.split())
        usage = {
            "prompt_tokens": read,
            "completion_tokens": len(tokens),
            "total_tokens": read + len(tokens),
            "prompt_tokens_details": {"cached_tokens": 0},
        }
        yield Piece({}, "length" if len(tokens) < len(rule.tokens) else "stop", usage)

    def _rule_for(self, request: ChatRequest) -> Rule:
        for rule in self._rules:
            if rule.fits(request):
                return rule
        wanted = f", schema {request.schema_name!r}" if request.is_json else ""
        raise ScriptedFailure(
            500, f"No rule of the script fits the request (model {request.model!r}{wanted}): {request.last_user_text!r}"
        )


def load_script(path: Path | None) -> ScriptedBackend:
    """Read a script: a JSON list of rules, or an object with the list under `rules`.

    Raises InvalidInput, which names the file and the rule, when it cannot be read or a rule is wrong.
    """
    if path is None:
        raise InvalidInput(
            "The scripted backend needs a script.", remedy="Set WAYSTATION_MODELS_SCRIPT to a JSON file of rules."
        )
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"The script {path} cannot be read: {error}.", setting="WAYSTATION_MODELS_SCRIPT") from None
    rows = document.get("rules") if isinstance(document, dict) else document
    if not isinstance(rows, list):
        raise InvalidInput(f"The script {path} has no list of rules.", setting="WAYSTATION_MODELS_SCRIPT")
    return ScriptedBackend([_rule(row, f"{path}, rule {number}") for number, row in enumerate(rows, 1)])


def _rule(row: object, where: str) -> Rule:
    known = {each.name for each in fields(Rule) if each.init}
    if not isinstance(row, dict) or not set(row) <= known:
        raise InvalidInput(f"{where}: a rule is an object with some of {', '.join(sorted(known))}.")
    try:
        return Rule(**row)
    except (re.error, TypeError) as error:
        raise InvalidInput(f"{where}: {error}.") from None
