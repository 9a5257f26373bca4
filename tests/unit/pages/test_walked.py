"""Which commands of a runbook were walked as they are now, and which have a reason why not."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.pages import walked
from support.pages.console import digest_of
from support.pages.index import index
from support.pages.markdown import Page, parse
from support.pages.walked import complaints_about

PAGE = """\
# ModelNotFound

There is no model there.

## Diagnosis

```console
$ kubectl get llm
{output}
```

## Mitigation

```console
$ kubectl patch llm
patched
```
"""


def page(output: str = "Failed") -> Page:
    return parse(PAGE.format(output=output), Path("runbooks/ModelNotFound.md"))


def walk(of: Page, *headings: str) -> walked.Walks:
    commands = {each: digest_of(of.under(each)) for each in headings}
    entry = {"fault": "An empty folder.", "date": "2026-11-30", "seen": "Serving after 3 s.", "commands": commands}
    return {of.name: [entry]}


def test_a_page_whose_commands_were_all_walked_as_they_are_is_complete() -> None:
    assert not complaints_about(page(), walk(page(), "Diagnosis", "Mitigation"), {})


def test_a_page_that_was_never_walked_needs_a_reason() -> None:
    [first, second] = complaints_about(page(), {}, {})
    assert "the commands below 'Diagnosis' were never walked" in first
    assert "the commands below 'Mitigation' were never walked" in second
    assert not complaints_about(page(), {}, {"ModelNotFound": "It needs a GPU."})


def test_a_part_that_was_not_walked_needs_a_reason_of_its_own() -> None:
    walks = walk(page(), "Diagnosis")
    [complaint] = complaints_about(page(), walks, {})
    assert "the commands below 'Mitigation' were never walked" in complaint
    assert not complaints_about(page(), walks, {"ModelNotFound": {"Mitigation": "It needs a GPU."}})


def test_a_page_that_has_changed_must_be_walked_again() -> None:
    [complaint] = complaints_about(page("Idle"), walk(page("Failed"), "Diagnosis", "Mitigation"), {})
    assert "the commands below 'Diagnosis' have changed since they were walked" in complaint


@pytest.mark.parametrize("reason", ["It needs a GPU.", {"Mitigation": "It needs a GPU."}])
def test_a_reason_for_what_was_walked_is_outdated(reason: str | dict[str, str]) -> None:
    complaints = complaints_about(page(), walk(page(), "Diagnosis", "Mitigation"), {"ModelNotFound": reason})
    assert any("too: remove" in each for each in complaints)


def test_a_page_without_commands_needs_a_reason() -> None:
    empty = parse("# Unknown\n\nNo one knows.\n\n## Diagnosis\n", Path("runbooks/Unknown.md"))
    assert "has no commands" in complaints_about(empty, {}, {})[0]
    assert not complaints_about(empty, {}, {"Unknown": "Nothing can be provoked."})


@pytest.mark.parametrize("language", ["sh", "promql"])
def test_blocks_that_no_walk_runs_need_a_reason(language: str) -> None:
    text = PAGE.format(output="Failed") + f"\n```{language}\nkubectl get pods\n```\n"
    longer = parse(text, Path("runbooks/ModelNotFound.md"))
    walks = walk(longer, "Diagnosis", "Mitigation")
    [complaint] = complaints_about(longer, walks, {})
    assert "no walk runs the blocks at the lines 20" in complaint
    assert not complaints_about(longer, walks, {longer.name: {walked.OTHERS: "No test needs them."}})


@pytest.mark.parametrize("name", [walked.OTHERS, "Prevention"])
def test_a_reason_for_what_is_not_there_is_outdated(name: str) -> None:
    [complaint] = complaints_about(page(), walk(page(), "Diagnosis", "Mitigation"), {"ModelNotFound": {name: "No."}})
    assert f"has no {name!r} with commands: remove it" in complaint


def test_a_walk_is_written_only_if_that_is_wanted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(walked, "FILE", tmp_path / "walked.yaml")
    monkeypatch.delenv(walked.RECORD, raising=False)
    walked.record("B", "A fault.", ["Seen."], {"Diagnosis": "00"})
    assert not walked.walks()
    monkeypatch.setenv(walked.RECORD, "1")
    for name, seen in (("B", "Seen."), ("A", "Seen."), ("B", "Seen again.")):
        walked.record(name, "A fault.", [seen], {"Diagnosis": "00"})
    walked.record("B", "Another.", ["x"], {"Mitigation": "11"})
    assert [*walked.walks()] == ["A", "B"]
    assert [each["seen"] for each in walked.walks()["B"]] == ["Seen again.", "x"]


def test_the_index_has_each_page_by_what_one_sees_and_when_it_was_walked() -> None:
    texts = {name: f"# {name}\n\nAbout {name}.\n" for name in ("SlipwayModelFailed", "GpuBusy", "BadKey", "node-drain")}
    pages = [page(), *(parse(text, Path(f"runbooks/{name}.md")) for name, text in texts.items())]
    written = index(pages, walk(page(), "Diagnosis"), {"GpuBusy": "It needs a GPU.", "BadKey": {"Mitigation": "No."}})
    places = [written.index(words) for words in ("An alert fires", "A reason", "Another code", "Something is to be")]
    found = [written.index(f"| [{name}]") for name in ("SlipwayModelFailed", "ModelNotFound", "BadKey", "node-drain")]
    assert sorted(places + found) == [place for pair in zip(places, found, strict=True) for place in pair]
    assert "| [ModelNotFound](ModelNotFound.md) | 2026-11-30 | An empty folder. | Serving after 3 s. |" in written
    assert "| [GpuBusy](GpuBusy.md) | — | | not walked: It needs a GPU. |" in written
    assert "| [BadKey](BadKey.md) | — | | not walked: Mitigation: No. |" in written
