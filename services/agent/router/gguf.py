"""A GGUF file in this process as a chat model, for a generative router without a model server."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, cast

import llama_cpp

from shared.errors import DeadlineExceeded, ModelCorrupt, ModelMissing, ModelUnavailable
from shared.models.chat import ChatDelta, ChatMessage, ChatUsage, Completion

CONTEXT_TOKENS = 4_096


class GgufChatModel:
    """A `ChatModel` on llama-cpp-python. Calls take turns.

    Raises ModelMissing when there is no file, ModelCorrupt when llama.cpp cannot read it.
    """

    def __init__(self, path: Path, *, threads: int = 2, context_tokens: int = CONTEXT_TOKENS) -> None:
        if not path.is_file():
            raise ModelMissing(f"There is no model file {path}.", remedy="Check the setting, or pull a model.")
        self.model = path.stem
        self._turn = threading.Lock()
        try:
            self._llama = llama_cpp.Llama(str(path), n_ctx=context_tokens, n_threads=threads, verbose=False)
        except ValueError as error:
            raise ModelCorrupt(f"llama.cpp cannot read {path} as a model: {error}.") from error

    def close(self) -> None:
        """Free the model."""
        with self._turn:
            self._llama.close()

    async def complete(
        self,
        messages: Sequence[ChatMessage],
        *,
        schema: dict[str, Any] | None = None,
        max_tokens: int = 512,
        temperature: float = 0.0,
        timeout: float | None = None,
    ) -> Completion:
        """See `ChatModel.complete`. A call that times out stops at its next token."""
        stop = threading.Event()
        work = asyncio.to_thread(self._compute, messages, schema, max_tokens, temperature, stop)
        try:
            async with asyncio.timeout(timeout):
                return await work
        except TimeoutError:
            raise DeadlineExceeded(f"The model {self.model} took longer than {timeout} s.") from None
        finally:
            stop.set()

    async def stream(
        self,
        messages: Sequence[ChatMessage],
        *,
        schema: dict[str, Any] | None = None,
        max_tokens: int = 512,
        temperature: float = 0.0,
        timeout: float | None = None,
    ) -> AsyncIterator[ChatDelta]:
        """See `ChatModel.stream`. The reply comes in one piece: a router's answer is a dozen tokens."""
        completion = await self.complete(
            messages, schema=schema, max_tokens=max_tokens, temperature=temperature, timeout=timeout
        )
        yield ChatDelta(completion.text)
        yield ChatDelta(usage=completion.usage)

    def _compute(
        self,
        messages: Sequence[ChatMessage],
        schema: dict[str, Any] | None,
        max_tokens: int,
        temperature: float,
        stop: threading.Event,
    ) -> Completion:
        with self._turn:
            started = time.perf_counter()
            chunks = self._llama.create_chat_completion(
                messages=cast(Any, [{"role": message.role, "content": message.content} for message in messages]),
                response_format=cast(Any, {"type": "json_object", "schema": schema}) if schema else None,
                max_tokens=max_tokens,
                temperature=temperature,
                stream=True,
            )
            pieces: list[str] = []
            try:
                for chunk in cast(Any, chunks):
                    pieces.append(chunk["choices"][0]["delta"].get("content") or "")
                    if stop.is_set():
                        break
            except ValueError as error:  # llama-cpp-python's way of saying that the prompt exceeds the context
                raise ModelUnavailable(f"The model {self.model} cannot read the prompt: {error}.") from error
            usage = ChatUsage(self.model, output_tokens=len(pieces), duration_s=time.perf_counter() - started)
            return Completion("".join(pieces), usage)
