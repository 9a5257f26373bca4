"""A walk: a fault was provoked, and a reader follows a runbook until the model is healthy.

    walk = Walk(runbook("ModelNotFound"), shell, {"NAMESPACE": …, "NAME": …}, fault="The claim's folder is empty.")
    walk.saw("The alert SlipwayModelLoadFailing fires.")
    await walk.through("Diagnosis")      # each of its commands prints what the page shows
    await walk.through("Mitigation")
    …                                    # wait until it is healthy
    walk.saw("Serving after 7 s.")
    walk.record()                        # with RECORD_WALKS=1

`through("Mitigation", "The folder is another one")` is for a part below a heading of the third level.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from support.pages import walked
from support.pages.console import digest_of, steps_of
from support.pages.markdown import Page, read
from support.pages.placeholders import Values, checked
from support.pages.running import SETTLES_WITHIN, DiffersError, check, only_reads
from support.pages.shell import Shell
from support.repository import RUNBOOKS


def runbook(name: str) -> Page:
    return read(RUNBOOKS / f"{name}.md")


@dataclass
class Walk:
    """`fault`: what the test did, in a sentence for the table of walks."""

    page: Page
    shell: Shell
    values: Values
    fault: str
    seen: list[str] = field(default_factory=list)
    commands: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checked(self.values)

    async def through(self, *headings: str, within: float = SETTLES_WITHIN) -> list[str]:
        """Runs all commands directly below these headings; returns what they printed.

        Where some only read, the others are run as well, so that an error shows all that differs.
        """
        blocks = self.page.under(*headings)
        assert blocks, f"{self.page.path.name} has no commands below {' / '.join(headings)}"
        printed: list[str] = []
        complaints: list[str] = []
        for step in [step for block in blocks for step in steps_of(block)]:
            try:
                printed += (await asyncio.to_thread(check, step, self.shell, self.values, within=within)).lines
            except DiffersError as error:
                complaints.append(str(error))
                if not only_reads(step.command):
                    break
        if complaints:
            raise DiffersError("\n".join(complaints))
        self.commands[walked.place(*headings)] = digest_of(blocks)
        return printed

    def saw(self, words: str) -> None:
        self.seen.append(words)

    def record(self) -> None:
        """Writes it into runbooks/walked.yaml, if that is wanted."""
        assert self.commands, "nothing of the page was walked"
        walked.record(self.page.name, self.fault, self.seen, self.commands)
