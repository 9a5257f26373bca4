"""The command line `slipway-runtime`: what a model's container runs."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from slipway_runtime import llamacpp
from slipway_runtime.model_files import ModelFilesError, find_gguf


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        exit_code: int = arguments.run(arguments)
    except ModelFilesError as error:
        sys.stderr.write(f"slipway-runtime: {error}\n")
        return 2
    return exit_code


def _version(_: argparse.Namespace) -> int:
    from importlib.metadata import version  # noqa: PLC0415 - slow to import, and serving has no use for it

    sys.stdout.write(f"slipway-runtime {version('slipway-runtime')}\n")
    return 0


def _serve_llamacpp(arguments: argparse.Namespace) -> int:
    return llamacpp.serve(
        llamacpp.Settings(
            model=find_gguf(arguments.model),
            host=arguments.host,
            port=arguments.port,
            context_length=arguments.context_length,
            parallel=arguments.parallel,
        )
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="slipway-runtime", description="Runs the engine of a model's pod.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    version = commands.add_parser("version", help="print the version", description="Prints the version.")
    version.set_defaults(run=_version)
    serve = commands.add_parser("serve", help="serve a model", description="Serves a model over the OpenAI API.")
    engines = serve.add_subparsers(title="engines", metavar="ENGINE", required=True)
    _add_llamacpp(engines)
    return parser


def _add_llamacpp(engines: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = engines.add_parser(
        "llamacpp",
        help="a GGUF model on CPUs",
        description="Serves a GGUF model on CPUs: /v1/completions, /v1/chat/completions, /health, /metrics. "
        "Exits with 0 when it is told to stop, 1 when the engine fails, 2 when there is nothing to serve.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--model", type=Path, default=Path("/mnt/models"), metavar="PATH", help="the .gguf file, or a folder with one")
    add("--host", default="0.0.0.0", help="the address to listen on")  # noqa: S104 - a pod is reached from outside
    add("--port", type=_positive, default=8080, metavar="N", help="the port to listen on")
    add("--context-length", type=_positive, default=4096, metavar="N", help="tokens that one request may use in all")
    add("--parallel", type=_positive, default=4, metavar="N", help="requests answered at the same time")
    parser.set_defaults(run=_serve_llamacpp)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
