"""The command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

from slipway_fetcher.problem import FetchError, Reason

TERMINATION_LOG = "/dev/termination-log"


class Parser(argparse.ArgumentParser):
    """Reports mistakes as this program reports everything that fails."""

    def error(self, message: str) -> NoReturn:
        raise FetchError(Reason.INVALID, f"The arguments are invalid: {message}.", "See --help.")


def parser() -> Parser:
    made = Parser(
        prog="slipway-fetch",
        description="Brings the files of a model into a folder, which appears once it is complete.",
        allow_abbrev=False,
    )
    made.add_argument(
        "uri", metavar="URI", help="where the files are, such as hf://ORGANIZATION/MODEL or s3://BUCKET/PATH"
    )
    made.add_argument("folder", metavar="FOLDER", type=Path, help="where to bring them; a folder in a mounted volume")
    made.add_argument("--revision", default="", help="commit, tag or branch of a Hugging Face repository (main)")
    made.add_argument(
        "--files",
        action="append",
        default=[],
        metavar="PATTERN",
        help="only files whose path matches, such as '*Q4_K_M.gguf'; may be repeated",
    )
    made.add_argument("--endpoint", default="", metavar="URL", help="a mirror, or a server other than the usual one")
    made.add_argument(
        "--credentials", type=Path, metavar="FOLDER", help="a mounted Secret; before environment variables"
    )
    made.add_argument("--anonymous", action="store_true", help="without credentials, although there are some")
    made.add_argument(
        "--refresh", action="store_true", help="see whether there is another version, and replace this one"
    )
    made.add_argument("--replace", action="store_true", help="replace a folder that has something else")
    made.add_argument(
        "--remove-others",
        type=_seconds,
        metavar="SECONDS",
        help="remove other models next to FOLDER that no run has wanted for so long, to make room",
    )
    made.add_argument("--keep", action="append", default=[], metavar="NAME", help="but not this one; may be repeated")
    made.add_argument("--connections", type=number, default=8, metavar="N", help="downloads at the same time (8)")
    made.add_argument(
        "--give-up-after", type=number, default=900, metavar="SECONDS", help="without a single byte (900)"
    )
    made.add_argument("--progress-every", type=number, default=5, metavar="SECONDS", help="between two lines (5)")
    made.add_argument(
        "--port", type=port, default=0, metavar="PORT", help="of /info and /metrics while it runs (0: none)"
    )
    made.add_argument("--progress-file", type=Path, metavar="FILE", help="has the newest of these lines")
    made.add_argument(
        "--termination-log", type=Path, default=Path(TERMINATION_LOG), metavar="FILE", help=f"({TERMINATION_LOG})"
    )
    return made


def _seconds(text: str) -> int:
    return 0 if text == "0" else number(text)


def port(text: str) -> int:
    found = int(text)
    if not 0 <= found <= 65535:
        raise argparse.ArgumentTypeError(f"{text} isn't between 0 and 65535")
    return found


def number(text: str) -> int:
    found = int(text)
    if not 1 <= found <= 10**6:
        raise argparse.ArgumentTypeError(f"{text} isn't between 1 and 1,000,000")
    return found
