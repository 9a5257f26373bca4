"""Commands of runbooks can be run as they are written."""

from __future__ import annotations

import pytest
from support.pages.console import LANGUAGE, steps_of
from support.pages.index import pages
from support.pages.markdown import Page
from support.pages.placeholders import unknown_in

each_page = pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)


@each_page
def test_its_commands_can_be_read_and_name_known_placeholders_only(page: Page) -> None:
    steps = [step for block in page.blocks if block.language == LANGUAGE for step in steps_of(block)]
    unknown = {step.place: found for step in steps if (found := unknown_in(step.command))}
    assert not unknown
