"""The command line `slipway-runtime`: what a model's container runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from slipway_runtime.contract.pod import ENGINE_PORT, MODEL_FOLDER, RUNTIME_PORT, TERMINATION_LOG
from slipway_runtime.versions import version_of


def main(argv: Sequence[str] | None = None) -> int:
    ours, flags = _divided(list(sys.argv[1:] if argv is None else argv))
    arguments = parser().parse_args(ours)
    arguments.flags = flags
    exit_code: int = arguments.run(arguments)
    return exit_code


def _divided(argv: list[str]) -> tuple[list[str], list[str]]:
    """What is for us, and after the first `--` what is for the engine."""
    end = argv.index("--") if "--" in argv else len(argv)
    return argv[:end], argv[end + 1 :]


def _version(_: argparse.Namespace) -> int:
    sys.stdout.write(f"slipway-runtime {version_of('slipway-runtime')}\n")
    return 0


def _inspect(arguments: argparse.Namespace) -> int:
    from slipway_runtime.models import inspect_command  # noqa: PLC0415 - serving has its own use for it

    return inspect_command(arguments.path)


def _serve(arguments: argparse.Namespace) -> int:
    from slipway_runtime import serving  # noqa: PLC0415 - what is printed and done needs no engine

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
            "warm", help="start once and end when ready", description="Fills the engine's caches: for images and Jobs."
        ),
        run=_serve,
        only_warm=True,
    )
    _add_serving(
        commands.add_parser(
            "preflight", help="only check whether it could be served", description="Checks all that serving checks."
        ),
        run=_preflight,
        only_warm=False,
    )
    inspect = commands.add_parser(
        "inspect", help="the facts of a model as JSON", description="Prints what a model's files tell, as JSON."
    )
    inspect.add_argument("path", type=Path, metavar="PATH", help="a .gguf file, or a folder with a model in it")
    inspect.set_defaults(run=_inspect)
    version = commands.add_parser("version", help="print the version", description="Prints the version.")
    version.set_defaults(run=_version)
    return parser


def _add_serving(parser: argparse.ArgumentParser, **defaults: object) -> None:
    engines = parser.add_subparsers(title="engines", metavar="ENGINE", required=True)
    for name, help_, description in (
        ("llamacpp", "a GGUF model on CPUs", "After `--`, parameters of llama.cpp: --NAME=VALUE."),
        ("vllm", "a checkpoint on GPUs or CPUs", "After `--`, vLLM's own flags, which win over what is chosen here."),
    ):
        engine = engines.add_parser(
            name,
            help=help_,
            description=description,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
            allow_abbrev=False,
        )
        _add_common(engine)
        if name == "vllm":
            _add_vllm(engine)
        else:
            _add_llamacpp(engine)
        engine.set_defaults(engine=name, **defaults)


def _add_common(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", type=Path, default=MODEL_FOLDER, metavar="PATH", help="the model, or a folder that has it within")
    add("--served-name", metavar="NAME", help="the name that requests ask for; by default the model's file's")
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
        help="what counts most: the single answer, or all together",
    )
    add("--start-timeout", type=_seconds, default=1740, metavar="S", help="seconds to load, until that is a failure")
    add("--endpoints-delay", type=_seconds, default=3, metavar="S", help="seconds to serve on after SIGTERM")
    add("--drain-limit", type=_seconds, default=120, metavar="S", help="seconds after that for what is in flight")
    add("--stuck-after", type=_seconds, default=24, metavar="S", help="seconds without progress until it is a failure")
    add("--api-keys", type=Path, metavar="PATH", help="a mounted Secret: a file for each key, named as its owner")
    add("--requests-per-minute", type=_positive, metavar="N", help="requests that each key may send in a minute")
    add(
        "--tokens-per-minute",
        type=_positive,
        metavar="N",
        help="tokens of each key in a minute, asked and answered",
    )
    add("--max-in-flight", type=_positive, metavar="N", help="requests taken at a time; more are told to come back")
    add("--traces-endpoint", type=_traces_endpoint, metavar="URL", help="an OpenTelemetry collector, over HTTP")
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
        help="the file in which the pod says why it failed",
    )


def _add_llamacpp(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--context-length", type=_positive, metavar="N", help="tokens that one request may use in all")
    add("--parallel", type=_positive, metavar="N", help="requests answered at the same time; by default the mode's")


def _add_vllm(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    devices = "what it computes on; by default what is there, and without any what vLLM was built for"
    add("--device", choices=("cuda", "rocm", "cpu"), help=devices)
    add(
        "--allow",
        action="append",
        default=[],
        metavar="NAME",
        help="a flag or variable that is refused otherwise, such as trust-remote-code; may be repeated",
    )
    add("--start", choices=("fast", "ordinary"), default="fast", help="side by side where that is known, or in a row")
    add("--cache", type=Path, metavar="PATH", help="a folder that keeps what is compiled, for the starts to come")


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
    from slipway_runtime.tracing import collector  # noqa: PLC0415 - few have one

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
