"""The lines of an engine's output without what stands around the words, and which of them say something. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

COLOURS = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
PREFIXES = re.compile(
    r"^(?:\((?:EngineCore|Worker|ApiServer|APIServer|DPCoordinator)\w* (?:rank=\d+ )?pid=\d+\) *"  # vLLM's processes
    r"|(?:CRITICAL|ERROR|WARNING|INFO|DEBUG) \d\d-\d\d \d\d:\d\d:\d\d (?:\[[^\]]*\] ?)?"  # vLLM's log
    r"|\d+\.\d\d\.\d{3}\.\d{3} [EWID] (?:(?:srv|cmn|slot) +\w+: )?)"  # llama.cpp's log
)
TELLS_NOTHING = re.compile(
    r"See root cause above|Engine core initialization failed|please check the input params|exiting due to "
    r"|cleaning up before exit|main loop exit|Traceback \(most recent call last\)|^ *File \"|^[\s^~]*$|resource_tracker"
    r"|During handling of the above exception|The above exception was the direct cause|^EngineCore failed to start"
    r"|For further information visit https://errors.pydantic.dev|warnings\.warn|Process EngineCore"
)
QUOTES_CLIENTS = re.compile(
    r'\{"time":"[^"]*","event":"(?:request|failure)"'  # the guard's own lines
    r"|got exception: \{"  # llama.cpp, of what it answers with an error
    r"|Error with model error=|fields were present in the request|(?:Received request|Generated response) "  # vLLM
    r'|- "[A-Z]+ \S* HTTP/\d'  # uvicorn's log of requests
)
EXCEPTION = re.compile(r"^(?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception|Exit|Interrupt|Warning)\b(?:: |$)")


def plain(line: str) -> str:
    """Without colours, and without who said it when."""
    line = COLOURS.sub("", line).rstrip()
    while found := PREFIXES.match(line):
        line = line[found.end() :]
    return line


def quotes_clients(line: str) -> bool:
    """Whether a line has words in it that a client chose: they are no cause of anything, and no news of the engine."""
    return bool(QUOTES_CLIENTS.search(line))


def telling(lines: Iterable[str]) -> list[str]:
    """Plain lines that say something by themselves, in their order."""
    return [line for line in map(plain, lines) if not TELLS_NOTHING.search(line)]


def last_words(lines: Iterable[str]) -> str:
    """The last exception that was told; where there is none, the last line that says something."""
    said = telling(lines)
    exceptions = [line for line in said if EXCEPTION.match(line)]
    return (exceptions or said or [""])[-1].strip()
