"""Which file is served, and what is said when that is not clear."""

from pathlib import Path

import pytest
from slipway_runtime.model_files import ModelFilesError, find_gguf


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_a_file_is_served_whatever_its_name(tmp_path: Path) -> None:
    touch(tmp_path, "weights.bin", "other.gguf")
    assert find_gguf(tmp_path / "weights.bin") == tmp_path / "weights.bin"


def test_the_only_gguf_in_a_folder_is_found_at_any_depth(tmp_path: Path) -> None:
    touch(tmp_path, "README.md", "a/b/model.gguf")
    assert find_gguf(tmp_path) == tmp_path / "a/b/model.gguf"


def test_a_path_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFilesError, match=r"nowhere does not exist.*--model"):
        find_gguf(tmp_path / "nowhere")


def test_an_empty_folder_is_called_empty(tmp_path: Path) -> None:
    with pytest.raises(ModelFilesError, match="it is empty"):
        find_gguf(tmp_path)


def test_a_folder_without_a_gguf_is_described_by_what_it_has(tmp_path: Path) -> None:
    touch(tmp_path, "config.json", "model.safetensors")
    with pytest.raises(ModelFilesError, match=r"it has config\.json, model\.safetensors"):
        find_gguf(tmp_path)


def test_several_ggufs_are_named_and_the_choice_is_left_to_the_person(tmp_path: Path) -> None:
    touch(tmp_path, "a.gguf", "b/c.gguf")
    with pytest.raises(ModelFilesError, match=r"2 \.gguf files .*a\.gguf, b/c\.gguf.*--model"):
        find_gguf(tmp_path)


def test_many_files_are_counted_and_not_listed(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{number}.txt" for number in range(9)))
    with pytest.raises(ModelFilesError, match=r"4\.txt, 4 more"):
        find_gguf(tmp_path)
