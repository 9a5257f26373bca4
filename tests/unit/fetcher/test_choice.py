"""Which files of a repository are fetched, where the user doesn't choose."""

from __future__ import annotations

import pytest
from slipway_fetcher.problem import FetchError
from slipway_fetcher.sources.choice import chosen

SMALL = {"config.json", "tokenizer.json", "tokenizer.model", "chat_template.jinja", "README.md"}


@pytest.mark.parametrize(
    ("weights", "left_out"),
    [
        ({"model-00001-of-00002.safetensors", "model.safetensors.index.json"}, {"pytorch_model.bin"}),
        ({"model.safetensors"}, {"original/consolidated.00.pth", "original/params.json"}),
        ({"model.safetensors"}, {"onnx/model.onnx", "tf_model.h5", "flax_model.msgpack", "coreml/x.mlmodel"}),
        ({"model.safetensors"}, {"model-Q4_K_M.gguf", "pytorch_model.bin.index.json"}),
        ({"model.safetensors"}, {"optimizer.pt", "training_args.bin", "rng_state_0.pth", "runs/events"}),
        ({"model.safetensors"}, {".gitattributes", ".cache/x", "picture.PNG"}),
        ({"model-00001-of-00001.safetensors"}, {"consolidated.safetensors"}),
        ({"consolidated.safetensors", "params.json"}, set()),
        ({"model.safetensors", "1_Pooling/config.json", "2_Dense/model.safetensors"}, set()),
        ({"adapter_model.safetensors", "adapter_config.json"}, {"checkpoint-500/adapter_model.safetensors"}),
        ({"pytorch_model-1.bin", "pytorch_model.bin.index.json"}, {"model.gguf", "training_args.bin"}),
        ({"model-Q4_K_M.gguf", "mmproj-F16.gguf"}, set()),
        ({"q8/model-00001-of-00002.gguf", "q8/model-00002-of-00002.gguf"}, {"plot.svg"}),
    ],
)
def test_one_format_is_chosen_and_leftovers_are_left_out(weights: set[str], left_out: set[str]) -> None:
    assert chosen(weights | left_out | SMALL, "org/model") == weights | SMALL


def test_several_ggufs_are_an_error_that_lists_them() -> None:
    with pytest.raises(FetchError) as caught:
        chosen(["m-Q4_K_M.gguf", "m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf"], "org/model")
    assert caught.value.message == "org/model has 2 models in GGUF format, and `files` doesn't say which."
    assert caught.value.remedy == (
        "Choose one with `files`, such as '*m-Q4_K_M.gguf'; there are m-Q4_K_M.gguf, m-Q8_0.gguf."
    )
