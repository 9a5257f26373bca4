"""`inspect PATH --report=FILE`: what the operator gets of a model's files, in one termination message."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from slipway_runtime.contract.pod import REPORT_LIMIT, REPORT_START, TERMINATION_LIMIT
from slipway_runtime.models import report, report_command
from support.builders.model_files import (
    LLAMA_GGUF,
    write_adapter,
    write_checkpoint,
    write_gguf,
    write_gguf_parts,
    write_safetensors,
)

COMMIT = "0e9e39f249a16976918f6564b8830bc894c89659"


def reported(path: Path, tmp_path: Path) -> dict[str, Any]:
    log = tmp_path / "termination-log"
    assert report_command(path, log) == 0
    return decoded(log.read_text())


def decoded(line: str) -> dict[str, Any]:
    assert line.startswith(REPORT_START)
    assert len(line) <= TERMINATION_LIMIT
    text = zlib.decompress(base64.b85decode(line.removeprefix(REPORT_START)))
    assert len(text) <= REPORT_LIMIT
    content: dict[str, Any] = json.loads(text)
    return content


def failure(path: Path, tmp_path: Path) -> dict[str, Any]:
    log = tmp_path / "termination-log"
    assert report_command(path, log) != 0
    found: dict[str, Any] = json.loads(log.read_text())
    return found


# --- what it says ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [1, 3])
def test_a_checkpoint_is_its_config_and_the_sums_of_its_tensors(tmp_path: Path, parts: int) -> None:
    folder = write_checkpoint(tmp_path / "model", parts=parts, id2label={"0": "x"}, layer_types=["full_attention"] * 2)
    content = reported(folder, tmp_path)
    config, tensors = content["config"], content["tensors"]
    assert config["num_hidden_layers"] == 2
    assert config["layer_types"] == ["full_attention"] * 2
    assert "id2label" not in config
    assert content["files"] == sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    embedding = 256 * 64
    layer = 64 * 64 * 2 + 2 * 32 * 64 + 3 * 64 * 128 + 2 * 64
    assert (tensors["embedding"], tensors["head"]) == (embedding, embedding)
    assert tensors["parameters"] == 2 * embedding + 2 * layer + 64
    assert tensors["bytes"] == tensors["parameters"] * 4
    assert tensors["by_dtype"] == {"F32": tensors["bytes"]}


def test_a_gguf_model_is_its_header_without_the_tokenizer(tmp_path: Path) -> None:
    [*files] = write_gguf_parts(tmp_path / "model", 3)
    content = reported(tmp_path / "model", tmp_path)
    assert content["gguf"].items() >= {"general.architecture": "llama", "llama.block_count": 2}.items()
    assert not [name for name in content["gguf"] if name.startswith("tokenizer.")]
    assert content["tokens"] == len(LLAMA_GGUF["tokenizer.ggml.tokens"])
    assert content["files"] == sum(file.stat().st_size for file in files)
    assert content["tensors"]["embedding"] == content["tensors"]["head"] == 64 * 259


def test_the_length_of_a_long_vocabulary_is_reported_and_not_its_words(tmp_path: Path) -> None:
    words = [f"word {number}" for number in range(5000)]
    metadata = LLAMA_GGUF | {"tokenizer.ggml.tokens": words, "llama.scales": [1.0] * 5000}
    content = reported(write_gguf(tmp_path / "model.gguf", metadata, shapes={}), tmp_path)
    assert content["tokens"] == 5000
    assert "llama.scales" not in content["gguf"]


def test_mistrals_own_format_gets_the_name_of_its_architecture(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model")
    (folder / "config.json").rename(folder / "params.json")
    (folder / "params.json").write_text(json.dumps({"n_layers": 2, "dim": 64, "n_heads": 2}))
    write_safetensors(folder / "consolidated.safetensors", {"output.weight": (4, 4)})
    content = reported(folder, tmp_path)
    assert content["config"] == {"n_layers": 2, "dim": 64, "n_heads": 2, "architectures": ["MistralForCausalLM"]}
    assert content["tensors"]["head"] == 256 * 64, "the second copy of the weights isn't counted"


def test_of_files_of_pytorch_the_config_and_the_size_are_known(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    weights = folder / "pytorch_model.bin"
    weights.write_bytes(b"PK\x05\x06" + bytes(18))  # an empty ZIP file
    content = reported(folder, tmp_path)
    assert content.keys() == {"config", "files"}
    assert content["files"] == 22


def test_the_commit_is_known_where_the_hubs_tools_have_left_it(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model")
    assert "revision" not in reported(folder, tmp_path)
    note = folder / report.DOWNLOADED
    note.parent.mkdir(parents=True)
    note.write_text(f"{COMMIT}\n{'0' * 40}\n1700000000.0\n")
    assert reported(folder, tmp_path)["revision"] == COMMIT
    note.write_text("not a commit, but a text that is longer than one")
    assert "revision" not in reported(folder, tmp_path)
    assert reported(write_checkpoint(tmp_path / "snapshots" / COMMIT), tmp_path)["revision"] == COMMIT


def test_the_report_is_printed_as_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = reported(write_checkpoint(tmp_path / "model"), tmp_path)
    assert json.loads(capsys.readouterr().out) == content


# --- what is left out ------------------------------------------------------------------------------------------------


def test_what_no_memory_depends_on_is_left_out_of_a_config(tmp_path: Path) -> None:
    config: dict[str, Any] = {
        "comment": "x" * 101,
        "hidden_act": "silu",
        "suppress_tokens": [1] * 513,
        "quantization_config": {"quant_method": "fp8", "ignore": [f"layer {number}" for number in range(100)]},
        "labels": {"label2id": {"x": 0}, "kept": 1},
        "hybrid_override_pattern": "M-" * 60,
        "scale": float("inf"),
        "huge": 10**30,
    }
    kept = reported(write_checkpoint(tmp_path / "model", **config), tmp_path)["config"]
    assert not {"comment", "suppress_tokens", "scale", "huge"} & kept.keys()
    assert kept["hybrid_override_pattern"] == "M-" * 60
    assert len(kept["quantization_config"].pop("ignore")) == 64
    assert kept["quantization_config"] == {"quant_method": "fp8"}
    assert kept["labels"] == {"kept": 1}


def test_a_config_that_is_still_too_long_loses_its_longest_members_which_are_named(tmp_path: Path) -> None:
    names = [f"name {number * 7919 % 100003}" for number in range(500)]
    more: dict[str, Any] = {f"list_{number}": [f"{each} {number}" for each in names] for number in range(8)}
    content = reported(write_checkpoint(tmp_path / "model", **more, few=[1, 2]), tmp_path)
    assert content["config"]["num_hidden_layers"] == 2
    assert content["config"]["few"] == [1, 2]
    assert content["omitted"] == [f"config.list_{number}" for number in range(len(content["omitted"]))]


# --- failures --------------------------------------------------------------------------------------------------------


def test_a_failure_has_the_reason_that_a_start_would_have(tmp_path: Path) -> None:
    found = failure(tmp_path / "nothing", tmp_path)
    assert (found["reason"], found["remedy"]) == ("ModelNotFound", "Check spec.model.uri and its path.")
    folder = write_checkpoint(tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"")
    assert failure(folder, tmp_path)["reason"] == "ModelCorrupt"
    assert failure(write_adapter(tmp_path / "adapter"), tmp_path)["reason"] == "ModelNotFound"


def test_its_exit_code_is_that_of_the_reason(tmp_path: Path) -> None:
    assert report_command(tmp_path / "nothing", tmp_path / "termination-log") == 10


def test_links_that_lead_out_of_the_folder_are_reported_because_it_alone_is_mounted_for_the_model(
    tmp_path: Path,
) -> None:
    folder = write_checkpoint(tmp_path / "model")
    weights = tmp_path / "blobs/weights"
    weights.parent.mkdir()
    (folder / "model.safetensors").rename(weights)
    (folder / "model.safetensors").symlink_to("../blobs/weights")
    found = failure(folder, tmp_path)
    assert found["reason"] == "ModelNotFound"
    assert "is a link to a file outside of" in found["message"]
    assert "tensors" in reported(tmp_path, tmp_path), "within the folder, links are followed"


def test_an_unforeseen_error_is_reported_before_it_ends_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "encoded", lambda _: 1 / 0)
    log = tmp_path / "termination-log"
    with pytest.raises(ZeroDivisionError):
        report_command(write_checkpoint(tmp_path / "model"), log)
    assert json.loads(log.read_text())["reason"] == "Unknown"
