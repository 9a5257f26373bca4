"""How long both engines take from the start of their process to the first token with the demo model, on CPUs: as they
are and through Slipway, alternately.

    PYTHONPATH=tests .venv/bin/python benchmarks/cpu_starts.py --rounds 5

What vLLM compiles is kept in the cache of the devcluster, so that only the first run compiles, for minutes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from machine import tidy_up_when_told_to_end
from slipway_devcluster import model
from slipway_devcluster.paths import default_cache
from slipway_devcluster.progress import Steps
from support.programs import vllm_environment

HERE = Path(__file__).parent
FLAGS = ("--max-model-len=1024", "--max-num-seqs=4")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--output", type=Path, help="file for vLLM's results, as JSON; compressed if it ends in .gz")
    options = parser.parse_args()
    tidy_up_when_told_to_end()
    of_vllm(options.rounds, options.output)
    subprocess.run([sys.executable, HERE / "llamacpp_start.py", f"--rounds={options.rounds}"], check=True)


def of_vllm(rounds: int, output: Path | None) -> None:
    """`stock` is vLLM's own server, `fast` slipway-runtime's default."""
    cache = default_cache()
    steps = Steps(cache)
    python = vllm_environment.ensure(cache, steps)
    folder = cache.root / f"starts-{python.parents[1].name}"
    has_compiled = folder / "has-compiled"
    own = [f"--model={model.ensure_hf(cache, steps)}", f"--starts={rounds}", "--kinds=stock,fast", f"--folder={folder}"]
    kept = ["--no-warm" if has_compiled.exists() else "--warm", "--kill", *([f"--output={output}"] if output else [])]
    environment = {**vllm_environment.environment(python), "HF_HUB_OFFLINE": "1"}
    subprocess.run([python, HERE / "vllm_start.py", *own, *kept, "--", *FLAGS], env=environment, check=True)
    has_compiled.touch()


if __name__ == "__main__":
    main()
