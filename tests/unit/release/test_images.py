"""The images of a release, and their build contexts."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from slipway_devcluster.errors import Refusal
from slipway_release import images
from slipway_release.images import ReleaseImage, chosen, every

OPERATOR = every()["operator"]
NOON = 1795953600


def test_every_containerfile_belongs_to_an_image() -> None:
    assert sorted(every()) == ["fetcher", "llamacpp", "operator", "vllm-cpu", "vllm-cuda", "vllm-rocm"]
    assert {image.repository for image in every().values()} == {f"slipway-{name}" for name in every()}


def test_images_without_gpus_are_made_by_default() -> None:
    assert [image.name for image in chosen(())] == ["operator", "fetcher", "llamacpp", "vllm-cpu"]
    assert [image.name for image in chosen(("vllm-cuda",))] == ["vllm-cuda"]


def test_an_unknown_image_is_refused_with_a_list_of_the_known_ones() -> None:
    with pytest.raises(
        Refusal, match=r"'vllm' is not an image of this repository; IMAGES can be one or more of: operator fetcher "
    ):
        chosen(("vllm",))


def test_all_images_except_the_one_for_amd_are_built_on_any_debian() -> None:
    assert [name for name, image in every().items() if not image.builds_on_debian] == ["vllm-rocm"]


def test_the_default_base_is_public() -> None:
    assert all(image.usual_base.startswith("docker.io/") for image in every().values())


# --- build contexts --------------------------------------------------------------------------------------------------


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    images.stage(OPERATOR, tmp_path, epoch=NOON)
    return tmp_path


def test_a_build_context_has_the_code_and_nothing_else(staged: Path) -> None:
    assert (staged / "slipway/api/llmdeployment.py").read_bytes()
    assert (staged / "Containerfile").is_file()
    assert not list(staged.rglob("__pycache__"))
    assert not list(staged.glob("generate_*.py"))  # by .containerignore


def test_a_build_context_does_not_show_who_checked_out_the_code_and_when(staged: Path) -> None:
    for path in [staged, *staged.rglob("*")]:
        found = path.stat()
        assert found.st_mtime == NOON
        assert stat.S_IMODE(found.st_mode) in ((0o755,) if path.is_dir() else (0o644, 0o755))


@pytest.mark.parametrize("image", every().values(), ids=lambda image: image.name)
def test_everything_that_a_containerfile_copies_exists(image: ReleaseImage, tmp_path: Path) -> None:
    file = images.stage(image, tmp_path, epoch=NOON)
    copies = [line.split()[1:-1] for line in file.read_text().splitlines() if line.startswith("COPY ")]
    sources = [source for copy in copies if not copy[0].startswith("--from") for source in copy]
    assert sources
    assert [source for source in sources if not (tmp_path / source).exists()] == []
