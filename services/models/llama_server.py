"""llama.cpp's own server for one model file, in this process, on a loopback port that only we have the key to."""

import secrets
from dataclasses import dataclass
from pathlib import Path

import xllamacpp

SILENT = -1
CPU_ONLY = 0


@dataclass(frozen=True)
class LlamaOptions:
    """How a model is run."""

    slots: int
    context_tokens: int
    """Per slot."""
    prompt_batch_tokens: int
    threads: int


class LlamaServer:
    """Loads the model while it is built, which takes seconds, and serves until `close`."""

    def __init__(self, path: Path, options: LlamaOptions) -> None:
        self.key = secrets.token_urlsafe(32)
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_parallel = options.slots
        params.n_ctx = options.slots * options.context_tokens
        # Half the memory of 16 bits (0.6 GB for both models) at the same speed.
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_Q8_0
        # A batch is neither interrupted nor shared fairly: small ones keep cancelling and other requests quick.
        params.n_batch = params.n_ubatch = options.prompt_batch_tokens
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
        params.n_gpu_layers = CPU_ONLY
        params.fit_params = False
        params.cache_ram_mib = 0
        params.api_keys = [self.key]
        params.cors_origins = ""
        params.ui = False
        params.endpoint_slots = False
        params.verbosity = SILENT
        self._server: xllamacpp.Server | None = xllamacpp.Server(params)
        self.url: str = self._server.listening_address

    def close(self) -> None:
        """Stop serving and free the model; may be called twice."""
        self._server = None
