"""slipway-fetch: see README.md for what it promises, and `--help` for its flags."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from slipway_fetcher.fetching import Fetching, Options
from slipway_fetcher.flags import TERMINATION_LOG, parser
from slipway_fetcher.folder.target import Target
from slipway_fetcher.problem import FetchError, Reason
from slipway_fetcher.progress import Progress
from slipway_fetcher.reporting import report_failure, report_success
from slipway_fetcher.request import Request
from slipway_fetcher.serving import served
from slipway_fetcher.settings import AUTHORITY, Settings
from slipway_fetcher.signals import end_at_once
from slipway_fetcher.sources.schemes import source_of
from slipway_fetcher.web.call import shown
from slipway_fetcher.web.client import Client
from slipway_fetcher.web.gates import Gates
from slipway_fetcher.web.repeating import Patience


def main() -> None:
    end_at_once()
    os.umask(0o022)  # the engine may run as another user
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str], environment: Mapping[str, str] = os.environ, output: TextIO | None = None) -> int:
    """Returns the exit code."""
    progress, termination_log = Progress("", output=output), Path(TERMINATION_LOG)
    try:
        given = parser().parse_args(arguments)
        termination_log = given.termination_log
        progress = Progress(_shown(given.uri), every=given.progress_every, output=output)
        if given.progress_file:
            progress.write_to(given.progress_file)
        request = Request(given.uri, given.revision, tuple(given.files), given.endpoint)
        settings = Settings(environment, given.credentials, given.anonymous)
        stop = threading.Event()
        gates = Gates(given.give_up_after, stop, progress.waits)
        client = Client(gates, authority=settings.file(AUTHORITY), connections=given.connections)
        patience = Patience(given.give_up_after, stop)
        fetching = Fetching(
            request,
            Target(given.folder),
            progress,
            Options(
                given.connections,
                given.refresh,
                given.replace or given.refresh,
                remove_others=given.remove_others,
                keep=tuple(given.keep),
            ),
            client=client,
            patience=patience,
            stop=stop,
            source=lambda: source_of(request, settings, client, patience),
        )
        with progress.reported(), served(progress, given.port):
            record = fetching.run()
        report_success(record, given.folder, termination_log)
    except FetchError as error:
        return report_failure(error, progress, termination_log)
    except Exception:
        traceback.print_exc()
        bug = FetchError(Reason.INTERNAL, "The fetcher failed.", "Read its log, and report this bug.")
        return report_failure(bug, progress, termination_log)
    return 0


def _shown(uri: str) -> str:
    """A URL's query may be a signature."""
    return shown(uri) if uri.startswith("https://") else uri


if __name__ == "__main__":
    main()
