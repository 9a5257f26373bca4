"""Which model is found under a path, and what is reported when that isn't clear."""

from pathlib import Path

import pytest
from slipway_runtime.contract.reasons import Reason
from slipway_runtime.failure import Failure
from slipway_runtime.models import ModelError, find_adapter, find_model
from support.builders.model_files import LLAMA_GGUF, write_adapter, write_checkpoint, write_gguf, write_gguf_parts


def failure(path: Path, engine: str = "") -> Failure:
    with pytest.raises(ModelError) as raised:
        find_model(path, engine)
    return raised.value.failure


def test_a_file_is_used_as_it_is(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "weights.bin")
    write_gguf(tmp_path / "other.gguf")
    assert find_model(file, "llamacpp").path == file


def test_the_only_gguf_is_found_at_any_depth(tmp_path: Path) -> None:
    (tmp_path / "README.md").touch()
    file = write_gguf(tmp_path / "a/b/model.gguf")
    assert find_model(tmp_path).shards == (file,)


def test_hidden_folders_of_downloaders_are_ignored(tmp_path: Path) -> None:
    write_gguf(tmp_path / ".cache/half.gguf")
    file = write_gguf(tmp_path / "model.gguf")
    assert find_model(tmp_path).path == file


def test_a_gguf_in_parts_is_one_model_and_starts_with_its_first_part(tmp_path: Path) -> None:
    parts = write_gguf_parts(tmp_path, 3)
    found = find_model(tmp_path)
    assert (found.path, found.shards) == (parts[0], tuple(parts))


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_missing_part_is_named(tmp_path: Path, missing: int) -> None:
    write_gguf_parts(tmp_path, 3)[missing].unlink()
    found = failure(tmp_path, "llamacpp")
    assert found.reason is Reason.MODEL_CORRUPT
    assert f"1 of 3 parts of tiny-00001-of-00003.gguf are missing: {missing + 1:05}" in found.message


def test_a_multimodal_projector_next_to_a_gguf_is_not_a_second_model(tmp_path: Path) -> None:
    model = write_gguf(tmp_path / "model.gguf")
    eyes = write_gguf(tmp_path / "eyes.gguf", LLAMA_GGUF | {"general.type": "mmproj"})
    found = find_model(tmp_path)
    assert (found.path, found.projector) == (model, eyes)


def test_of_several_ggufs_the_user_has_to_choose(tmp_path: Path) -> None:
    write_gguf(tmp_path / "a.gguf")
    write_gguf(tmp_path / "b/c.gguf")
    found = failure(tmp_path, "llamacpp")
    assert found.reason is Reason.MODEL_NOT_FOUND
    assert "2 GGUF models" in found.message
    assert "a.gguf, b/c.gguf" in found.message
    assert "--model" in found.remedy


@pytest.mark.parametrize("place", [".", "snapshots/0e9e39f"])
def test_a_checkpoint_is_found_at_its_config(tmp_path: Path, place: str) -> None:
    write_checkpoint(tmp_path / place)
    assert find_model(tmp_path, "vllm").path == tmp_path / place


def test_folders_within_a_checkpoint_are_not_models_of_their_own(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    write_checkpoint(tmp_path / "original")
    assert find_model(tmp_path, "vllm").path == tmp_path


def test_of_two_checkpoints_the_user_has_to_choose(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "one")
    write_checkpoint(tmp_path / "two")
    assert "2 models in" in failure(tmp_path, "vllm").message


def test_a_config_without_weights_next_to_a_checkpoint_is_ignored(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "model")
    (tmp_path / "config.json").parent.joinpath("docs").mkdir()
    (tmp_path / "docs/config.json").write_text("{}")
    assert find_model(tmp_path, "vllm").path == tmp_path / "model"


def test_where_both_formats_are_present_each_engine_takes_its_own(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    file = write_gguf(tmp_path / "model.gguf")
    assert find_model(tmp_path, "llamacpp").path == file
    assert find_model(tmp_path, "vllm").path == tmp_path


def test_an_engine_that_cannot_read_the_format_gets_the_name_of_one_that_can(tmp_path: Path) -> None:
    write_gguf(tmp_path / "gguf/model.gguf")
    write_checkpoint(tmp_path / "checkpoint")
    for engine, folder, other in (("vllm", "gguf", "llamacpp"), ("llamacpp", "checkpoint", "vllm")):
        found = failure(tmp_path / folder, engine)
        assert found.reason is Reason.UNSUPPORTED_ARCHITECTURE
        assert other in found.remedy


@pytest.mark.parametrize(
    ("files", "message"),
    [
        pytest.param([], "it is empty", id="an empty folder"),
        pytest.param(["a.txt", "b/c.txt"], "it has a.txt, b/c.txt", id="other files"),
        pytest.param([f"{n}.txt" for n in range(9)], "4.txt, 4 more", id="many files are counted, not listed"),
    ],
)
def test_a_missing_model_is_reported_with_what_is_there_instead(tmp_path: Path, files: list[str], message: str) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = failure(tmp_path, "vllm")
    assert found.reason is Reason.MODEL_NOT_FOUND
    assert message in found.message


def test_a_path_that_does_not_exist_is_named(tmp_path: Path) -> None:
    found = failure(tmp_path / "nowhere")
    assert found.message == f"{tmp_path}/nowhere doesn't exist."
    assert "--model" in found.remedy


def test_an_adapter_alone_is_not_a_model(tmp_path: Path) -> None:
    write_adapter(tmp_path)
    assert "LoRA adapter and no model" in failure(tmp_path, "vllm").message


def test_adapters_next_to_a_model_are_found_by_name(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    sql = write_adapter(tmp_path / "loras/sql")
    assert find_model(tmp_path, "vllm").adapters == {"sql": sql}


def test_an_adapter_is_found_in_the_folder_around_it(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "v1/sql")
    assert find_adapter(tmp_path) == folder


def test_of_two_adapters_the_user_has_to_choose(tmp_path: Path) -> None:
    write_adapter(tmp_path / "a")
    write_adapter(tmp_path / "b")
    with pytest.raises(ModelError, match="2 adapters in"):
        find_adapter(tmp_path)
