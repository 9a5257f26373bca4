"""Commands of runbooks can be run as they are written, and those that were walked are still as they were."""

from __future__ import annotations

import pytest
from support.pages import walked
from support.pages.console import LANGUAGE, steps_of
from support.pages.index import pages
from support.pages.markdown import Page
from support.pages.placeholders import unknown_in

WALKED = walked.walks()
each_page = pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)


@each_page
def test_its_commands_can_be_read_and_name_known_placeholders_only(page: Page) -> None:
    steps = [step for block in page.blocks if block.language == LANGUAGE for step in steps_of(block)]
    unknown = {step.place: found for step in steps if (found := unknown_in(step.command))}
    assert not unknown


@pytest.mark.parametrize("page", [each for each in pages() if each.name in WALKED], ids=lambda page: page.name)
def test_what_was_walked_is_still_as_it_was(page: Page) -> None:
    assert not walked.complaints_about(page, WALKED, walked.reasons_not_walked())
