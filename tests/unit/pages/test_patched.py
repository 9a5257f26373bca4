"""What pages tell a reader to change of a model or a profile is valid afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError
from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.arguments import why_refused
from slipway.api.llmdeployment import LLMDeployment
from support.pages import documented
from support.pages.index import pages
from support.pages.markdown import parse
from support.pages.patched import Patch, patches_in

PATCHES = [
    patch
    for block in [*documented.blocks(), *(block for page in pages() for block in page.blocks)]
    for patch in patches_in(block)
]


def check(patch: Patch) -> None:
    """By the types. Rules about several fields are only in the CRD, and only an API server evaluates them."""
    thing = patch.patched()
    if patch.kind == "AcceleratorProfile":
        AcceleratorProfile.model_validate(thing)
        return
    engine = LLMDeployment.model_validate(thing).spec.engine
    assert [why for each in engine.extra_args if (why := why_refused(engine.name, each))] == []


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.place)
def test_what_a_patch_of_a_page_makes_of_a_valid_object_is_valid(patch: Patch) -> None:
    check(patch)


def test_the_pages_have_patches_in_blocks_with_and_without_output() -> None:
    assert len(PATCHES) > 40
    assert {patch.type for patch in PATCHES} == {"merge", "json"}


def patch(command: str) -> Patch:
    [found] = patches_in(parse(f"# A\n\n```sh\n{command}\n```\n", Path("A.md")).blocks[0])
    return found


@pytest.mark.parametrize(
    "command",
    [
        'kubectl patch llm NAME -n NAMESPACE --type=merge -p \'{"spec":{"scaling":{"maxReplicas":REPLICAS}}}\'',
        'kubectl -n a patch llm NAME --type merge \\\n  -p \'{"spec": {"scaling": {"maxReplicas": 2}}}\'  # b',
        'kubectl patch llms a --type=json \\\n -p \'[{"op":"add","path":"/spec/scaling","value":{"maxReplicas":2}}]\'',
    ],
)
def test_a_patch_is_found_however_it_is_written(command: str) -> None:
    assert patch(command).place == "A.md:4"
    assert patch(command).patched()["spec"]["scaling"] == {"maxReplicas": 2}


def test_a_patch_of_another_kind_is_not_about_our_objects() -> None:
    assert not [*patches_in(parse("# A\n\n```sh\nkubectl patch pod a -p '{}'\n```\n", Path("A.md")).blocks[0])]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ('{"spec":{"scaling":{"maxReplica":2}}}', "maxReplica"),
        ('{"spec":{"scaling":{"maxReplicas":"many"}}}', "maxReplicas"),
        ('{"spec":{"engine":{"extraArgs":["--gpu-memory-utilization=0.88"]}}}', "is set by Slipway"),
    ],
)
def test_a_patch_that_is_refused_is_an_error(change: str, error: str) -> None:
    with pytest.raises((ValidationError, AssertionError), match=error):
        check(patch(f"kubectl patch llm NAME --type=merge -p '{change}'"))


def test_a_patch_that_removes_what_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError):
        patch('kubectl patch llm NAME --type=json -p \'[{"op":"remove","path":"/spec/none"}]\'').patched()
