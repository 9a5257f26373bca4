"""The longest allowed `wakeOn` list with the longest request targets: the cost of one request is bounded."""

from __future__ import annotations

from collections import Counter

import pytest
from slipway.activator.http1.heads import LONGEST_TARGET
from slipway.activator.shared import request_line
from slipway.activator.shared.request_line import LinePattern
from slipway.activator.shared.request_rules import RequestRules
from support.programs.activator import activated, connected

PATTERNS = tuple(f"GET {'/*' * 125}/{number}" for number in range(32))
TARGETS = {"parts": b"/a", "empty parts": b"/", "escapes": b"/%41", "invalid escapes": b"/%%%%"}
REQUESTS = 7


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts how often a target was parsed, a pattern was parsed, and the two were compared."""
    counted: Counter[str] = Counter()

    def counting(what: str, owner: object) -> None:
        original = getattr(owner, what)

        def counts(*args: object, **kwargs: object) -> object:
            counted[what] += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, what, counts)

    counting("line", request_line)
    counting("pattern", request_line)
    counting("fits", LinePattern)
    return counted


@pytest.mark.parametrize("piece", TARGETS.values(), ids=TARGETS.keys())
@pytest.mark.parametrize("method", [b"GET", b"OPTIONS"])
async def test_a_target_is_parsed_and_matched_once_for_each_request(
    done: Counter[str], piece: bytes, method: bytes
) -> None:
    async with (
        activated(rules=RequestRules(engine="own", wake_on=PATTERNS)) as activator,
        connected(activator) as client,
    ):
        for number in range(REQUESTS):
            target = b"/%d" % number + piece * ((LONGEST_TARGET - 2) // len(piece))
            client.send(b"%b %b HTTP/1.1\r\nHost: a\r\n\r\n" % (method, target))
        for _ in range(REQUESTS):
            await client.answer()
    assert done == {"line": REQUESTS, "pattern": len(PATTERNS), "fits": REQUESTS * len(PATTERNS)}


def test_no_more_parts_of_a_path_are_matched_than_a_pattern_may_have() -> None:
    line = request_line.line("GET", "/a" * 4000)
    assert len(line.parts) == request_line.MOST_PARTS
    assert not any(request_line.pattern(each).fits(line) for each in PATTERNS)
