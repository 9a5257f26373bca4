"""The command line `slipway-runtime`: the command of a model's container."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from slipway_runtime.contract.pod import ENGINE_PORT, MODEL_FOLDER, RUNTIME_PORT, TERMINATION_LOG
from slipway_runtime.contract.tasks import Task
from slipway_runtime.versions import version_of

CACHE_LIMIT = 10 << 30  # bytes


def main(argv: Sequence[str] | None = None) -> int:
    ours, flags = _divided(list(sys.argv[1:] if argv is None else argv))
    arguments = parser().parse_args(ours)
    arguments.flags = flags
    exit_code: int = arguments.run(arguments)
    return exit_code


def _divided(argv: list[str]) -> tuple[list[str], list[str]]:
    """Returns our arguments, and those after the first `--`, which are the engine's."""
    end = argv.index("--") if "--" in argv else len(argv)
    return argv[:end], argv[end + 1 :]


def _version(_: argparse.Namespace) -> int:
    sys.stdout.write(f"slipway-runtime {version_of('slipway-runtime')}\n")
    return 0


def _inspect(arguments: argparse.Namespace) -> int:
    from slipway_runtime import models  # noqa: PLC0415 - serving imports it on its own

    if arguments.report:
        return models.report_command(arguments.path, arguments.report)
    return models.inspect_command(arguments.path)


def _serve(arguments: argparse.Namespace) -> int:
    from slipway_runtime import serving  # noqa: PLC0415 - the commands above need no engine

    return serving.serve(arguments)


def _preflight(arguments: argparse.Namespace) -> int:
    from slipway_runtime import serving  # noqa: PLC0415 - as above

    return serving.check(arguments)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="slipway-runtime", description="Process 1 of a model's pod.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_serving(
        commands.add_parser("serve", help="serve a model", description="Serves a model over the OpenAI API."),
        run=_serve,
        only_warm=False,
    )
    _add_serving(
        commands.add_parser(
            "warm",
            help="start the engine once, and exit when it is ready and what it has compiled is published",
            description="Fills the compile cache; exits with 0 only if it has what was compiled. For Jobs.",
        ),
        run=_serve,
        only_warm=True,
    )
    _add_serving(
        commands.add_parser(
            "preflight",
            help="check whether the model could be served, and exit",
            description="Runs all checks that `serve` runs before it starts the engine.",
        ),
        run=_preflight,
        only_warm=False,
    )
    inspect = commands.add_parser(
        "inspect",
        help="print the facts of a model as JSON",
        description="Prints what a model's files say about it, as JSON.",
    )
    inspect.add_argument("path", type=Path, metavar="PATH", help="a .gguf file, or a folder that contains a model")
    inspect.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="also write a compressed report, or why there is none, for the termination message of a Job",
    )
    inspect.set_defaults(run=_inspect)
    version = commands.add_parser("version", help="print the version", description="Prints the version.")
    version.set_defaults(run=_version)
    return parser


def _add_serving(parser: argparse.ArgumentParser, **defaults: object) -> None:
    engines = parser.add_subparsers(title="engines", metavar="ENGINE", required=True)
    for name, help_, description in (
        ("llamacpp", "a GGUF model on CPUs", "After `--`: parameters of llama.cpp, as --NAME=VALUE."),
        ("vllm", "a checkpoint on GPUs or CPUs", "After `--`: vLLM's own flags. They override what is chosen here."),
    ):
        engine = engines.add_parser(
            name,
            help=help_,
            description=description,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
            allow_abbrev=False,
        )
        for add in (_add_common, _add_timeouts, _add_access, _add_reports):
            add(engine)
        if name == "vllm":
            _add_vllm(engine)
            if defaults["only_warm"]:
                _add_push(engine)
        else:
            _add_llamacpp(engine)
        engine.set_defaults(engine=name, **defaults)


def _add_common(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", type=Path, default=MODEL_FOLDER, metavar="PATH", help="the model, or a folder that contains it")
    add(
        "--served-name",
        metavar="NAME",
        help="the model name that requests use; by default the name of the model's file",
    )
    add("--host", default="0.0.0.0", help="the address to listen on")  # noqa: S104 - a pod is reached from outside
    add("--port", type=_positive, default=ENGINE_PORT, metavar="N", help="the port of the OpenAI API")
    add(
        "--management-port",
        type=_positive,
        default=RUNTIME_PORT,
        metavar="N",
        help="the port of probes, /info and /metrics",
    )
    add(
        "--mode",
        choices=("Latency", "Balanced", "Throughput"),
        default="Balanced",
        help="what to optimize: the latency of a single request, the throughput of all, or a balance",
    )
    for name, what in (("--tool-calls", "calls of tools are"), ("--reasoning", "the reasoning is")):
        add(
            name,
            default="Auto",
            metavar="PARSER",
            help=f"how {what} found in what the model writes: Auto, by its chat template; None, not at all; or the "
            "name of a parser of vLLM",
        )
    add(
        "--task",
        choices=[*Task],
        help="what the model is for; by default what its files say",
    )


def _add_timeouts(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--start-timeout",
        type=_seconds,
        default=1740,
        metavar="S",
        help="seconds for the start, after which it counts as failed",
    )
    add(
        "--endpoints-delay",
        type=_seconds,
        default=3,
        metavar="S",
        help="seconds after SIGTERM in which requests are still accepted",
    )
    add(
        "--drain-limit",
        type=_seconds,
        default=120,
        metavar="S",
        help="seconds after that for the requests in flight to finish",
    )
    add(
        "--stuck-after",
        type=_seconds,
        default=24,
        metavar="S",
        help="seconds without progress after which the engine counts as stuck",
    )


def _add_access(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--api-keys",
        type=Path,
        metavar="PATH",
        help="the folder of a mounted Secret with one file per key, named after the key's owner",
    )
    add("--requests-per-minute", type=_positive, metavar="N", help="requests that each key may send per minute")
    add(
        "--tokens-per-minute",
        type=_positive,
        metavar="N",
        help="tokens of prompts and responses that each key may use per minute",
    )
    add(
        "--max-in-flight",
        type=_positive,
        metavar="N",
        help="requests that are accepted at a time; further ones get 503 with Retry-After",
    )


def _add_reports(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--traces-endpoint",
        type=_traces_endpoint,
        metavar="URL",
        help="an OpenTelemetry collector that accepts OTLP over HTTP",
    )
    add(
        "--traces-sample-ratio",
        type=_ratio,
        default=0.1,
        metavar="R",
        help="the share of requests that are traced, where the client has not decided it",
    )
    add(
        "--termination-log",
        type=Path,
        default=Path(TERMINATION_LOG),
        metavar="PATH",
        help="the file that the pod writes the reason of a failure to",
    )


def _add_llamacpp(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--context-length", type=_positive, metavar="N", help="tokens of one request, prompt and response together")
    add(
        "--parallel",
        type=_positive,
        metavar="N",
        help="requests that are answered at the same time; by default what the mode says",
    )
    add(
        "--batched-tokens",
        type=_positive,
        metavar="N",
        help="tokens that one step computes; by default llama.cpp's 512",
    )


def _add_vllm(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    devices = "what the engine computes on; by default the accelerator that is there, else what vLLM was built for"
    add("--device", choices=("cuda", "rocm", "cpu"), help=devices)
    add(
        "--allow",
        action="append",
        default=[],
        metavar="NAME",
        help="a flag or variable that is otherwise refused, such as trust-remote-code; may be repeated",
    )
    add(
        "--start",
        choices=("fast", "ordinary"),
        default="fast",
        help="fast: engine core and API server start in parallel, where this vLLM is known; ordinary: as vLLM starts",
    )
    add(
        "--cache",
        type=Path,
        metavar="PATH",
        help="the store of the compile cache: a folder for compiled code that later starts find, on any node",
    )
    add(
        "--cache-limit",
        type=_positive,
        default=CACHE_LIMIT,
        metavar="N",
        help="bytes for that; if they don't suffice, what no start has used for the longest time is removed",
    )
    add(
        "--kv-cache-bytes",
        type=_positive,
        metavar="N",
        help="the planned size of the KV cache on each device; without it, vLLM measures what is left",
    )
    add(
        "--weights-bytes",
        type=_positive,
        metavar="N",
        help="the weights on each device next to which that was planned; if the files have more, it is not used",
    )


def _add_push(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--push",
        metavar="REGISTRY/REPOSITORY:TAG",
        help="also push what was compiled as an image, which pods on other nodes mount as their store",
    )
    add(
        "--push-secret",
        type=Path,
        metavar="PATH",
        help="the folder of a mounted Secret with credentials for that registry, as `.dockerconfigjson`, and with "
        "certificates to trust, as `ca.crt`; either may be missing",
    )
    add("--push-plain-http", action="store_true", help="push without TLS; passwords can be read on the way")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _ratio(text: str) -> float:
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return ratio


def _traces_endpoint(text: str) -> str:
    from slipway_runtime.tracing import collector  # noqa: PLC0415 - most pods have no collector

    try:
        return collector.endpoint(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 86400 * 7:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds
