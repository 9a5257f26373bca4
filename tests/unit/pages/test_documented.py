"""Each block of docs/ and the README is executed by a test, or is in a list with the reason why it isn't."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from support.pages import documented
from support.pages.documented import COMMANDS, NOT_FOR_EXECUTION, RUN, Kind, kind_of, name_of, unknown_in_status
from support.pages.markdown import Block, parse
from support.repository import ROOT


def block(text: str) -> Block:
    [found] = parse(f"# A\n\n```yaml\n{text}\n```\n", Path("a.md")).blocks
    return found


def place(block: Block) -> str:
    return f"{name_of(block)}:{block.line}"


@pytest.mark.parametrize("block", documented.blocks(), ids=place)
def test_a_block_is_of_a_language_that_a_test_knows(block: Block) -> None:
    assert block.language in {*COMMANDS, *NOT_FOR_EXECUTION, "yaml"}, f"{place(block)}: name its language"


@pytest.mark.parametrize("block", documented.blocks("yaml"), ids=place)
def test_yaml_is_of_a_kind_that_a_test_gives_to_what_reads_it_or_is_listed(block: Block) -> None:
    assert (kind_of(block) is None) == documented.is_listed(block), (
        f"{place(block)}: write a complete object, a `spec:`, a `status:` or values of the chart; else add the line "
        f"{documented.first_line(block)!r} to docs/not-executed.yaml, with the reason"
    )


@pytest.mark.parametrize("block", documented.blocks(*COMMANDS), ids=place)
def test_commands_are_run_by_a_test_or_listed(block: Block) -> None:
    assert name_of(block) in RUN or documented.is_listed(block), (
        f"{place(block)}: add the page to RUN in support/pages/documented.py, so that it is run; else add the "
        f"line {documented.first_line(block)!r} to docs/not-executed.yaml, with the reason"
    )


def test_the_list_has_only_blocks_that_exist_each_with_a_reason() -> None:
    there = [(name_of(each), documented.first_line(each)) for each in documented.blocks()]
    for page, listed in documented.not_executed().items():
        for each in listed:
            assert any(name == page and line.startswith(each["block"]) for name, line in there), f"{page}: {each}"
            assert len(each.get("why", "")) > 25 or runs_commands_of(page, each["by"]), f"{page}: {each}"


def runs_commands_of(page: str, test: str) -> bool:
    """Whether there is this FILE::FUNCTION, in a file that reads the page."""
    file, _, function = test.partition("::")
    text = (ROOT / file).read_text()
    return bool(re.search(rf"\bdef {function}\(", text)) and (page in text or Path(page).stem.upper() in text)


@pytest.mark.parametrize(
    "test",
    [
        "tests/cluster/test_demo.py",
        "tests/cluster/test_demo.py::test_none",
        "tests/unit/test_models_page.py::test_none",
    ],
)
def test_a_test_that_is_not_named_or_not_there_runs_nothing(test: str) -> None:
    assert not runs_commands_of("docs/quickstart.md", test)


@pytest.mark.parametrize("page", sorted(RUN))
def test_a_page_that_is_run_has_commands(page: str) -> None:
    assert documented.commands_of(page)


@pytest.mark.parametrize("block", [it for it in documented.blocks("yaml") if kind_of(it) is Kind.STATUS], ids=place)
def test_a_status_has_fields_that_exist(block: Block) -> None:
    assert unknown_in_status(block) == []


@pytest.mark.parametrize("block", documented.blocks("json"), ids=place)
def test_json_can_be_read(block: Block) -> None:
    assert json.loads(block.text)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("apiVersion: v1\nkind: ConfigMap", Kind.OBJECTS),
        ("spec: {scaling: {minReplicas: 0}}", Kind.SPEC),
        ("spec: {sharedBy: 4}", Kind.SPEC),
        ("spec: {scalling: {}}", None),
        ("status: {state: Idle}", Kind.STATUS),
        ("plan: {kvTokens: 1}", Kind.STATUS),
        ("monitoring: {}", Kind.VALUES),
        ("monitorng: {}", None),
        ("scrape_configs: []", Kind.PROMETHEUS),
        ("- a", None),
    ],
)
def test_what_a_block_of_yaml_is(text: str, kind: Kind | None) -> None:
    assert kind_of(block(text)) is kind


def test_a_field_that_no_status_has_is_found_wherever_it_is() -> None:
    text = "status: {plan: {memory: {totl: 1}}, conditions: [{typ: a}], cost: {month: {…}}}"
    assert unknown_in_status(block(text)) == ["status.plan.memory.totl", "status.conditions[].typ"]


def test_a_part_of_a_spec_becomes_a_complete_object() -> None:
    [made] = documented.objects_in(block("spec: {model: {servedName: a}, scaling: {minReplicas: 0}}"))
    assert made["kind"] == "LLMDeployment"
    assert made["spec"] == {
        "model": {"uri": "pvc://models/llama", "servedName": "a"},
        "scaling": {"minReplicas": 0},
    }
