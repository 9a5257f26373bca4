"""vLLM's parsers of tool calls and of reasoning: their names, and by what a model is recognised.

Written by `make generate`; instead of this file, change
runtime-image/slipway_runtime/engines/vllm/parsers.yaml.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Marks:
    """By what a model is recognised: what its chat template has and hasn't, and the model_type of its config."""

    has: tuple[str, ...] = ()
    hasnt: tuple[str, ...] = ()
    types: tuple[str, ...] = ()


TOOL_CALLS: tuple[str, ...] = tuple(
    """
    apertus cohere_command3 cohere_command4 deepseek_v3 deepseek_v31 deepseek_v32 deepseek_v4 deepseek_v41 dots ernie45
    functiongemma gemma4 gigachat3 glm45 glm47 granite granite-20b-fc granite4 hermes hf hunyuan_a13b hy_v3 hy_v4
    inkling internlm jamba k2_horizon kimi_k2 kimi_k3 lfm2 ling3 llama3_json llama4_json llama4_pythonic longcat mimo
    minicpm5 minimax_m2 minimax_m3 mistral muse_glimmer olmo3 openai phi4_mini_json plamo3 poolside_v1 pythonic
    qwen3_coder qwen3_json qwen3_xml seed_oss step3 step3p5 xlam
""".split()
)
TOOL_CALLS_MARKS: Mapping[str, Marks] = {
    "openai": Marks(types=("gpt_oss",)),
    "mistral": Marks(has=("[TOOL_CALLS]",)),
    "kimi_k2": Marks(has=("<|tool_calls_section_begin|>",)),
    "deepseek_v3": Marks(has=("<\uff5ctool\u2581calls\u2581begin\uff5c>", "```json")),
    "deepseek_v31": Marks(has=("<\uff5ctool\u2581calls\u2581begin\uff5c>",), hasnt=("```json",)),
    "minimax_m2": Marks(has=("<minimax:tool_call>",)),
    "seed_oss": Marks(has=("<seed:tool_call>",)),
    "gemma4": Marks(has=("<|tool_call>", "<tool_call|>")),
    "functiongemma": Marks(has=("<start_function_call>",)),
    "lfm2": Marks(has=("<|tool_call_start|>",)),
    "glm45": Marks(has=("<tool_call>", "<arg_key>")),
    "qwen3_coder": Marks(has=("<tool_call>", "<function=", "<parameter=")),
    "granite": Marks(has=("<|tool_call|>",), types=("granite", "granitemoe")),
    "granite4": Marks(has=("<tool_call>",), types=("granitemoehybrid",)),
    "hunyuan_a13b": Marks(has=("<tool_calls>",), types=("hunyuan_v1_moe",)),
    "jamba": Marks(has=("<tool_calls>",), types=("jamba",)),
    "olmo3": Marks(has=("<function_calls>",), types=("olmo3",)),
    "llama4_pythonic": Marks(has=("<|python_start|>",), types=("llama4",)),
    "llama3_json": Marks(has=('"parameters": dictionary of argument name and its value',), types=("llama", "mllama")),
    "hermes": Marks(has=("<tool_call>", "arguments"), hasnt=("<function=", "<arg_key>", "<response>")),
}
"""The first that fits decides."""
REASONING: tuple[str, ...] = tuple(
    """
    cohere_command3 cohere_command4 deepseek_r1 deepseek_v3 deepseek_v4 deepseek_v41 ernie45 gemma4 glm45 glm47 granite
    granite_thinking_parser hf holo2 hunyuan_a13b hy_v3 hy_v4 inkling k2_horizon kimi_k2 kimi_k3 ling3 mimo minicpmv
    minimax_m2 minimax_m2_append_think minimax_m3 mistral muse_glimmer nemotron_v3 olmo3 openai_gptoss plamo3
    poolside_v1 qwen3 seed_oss step3 step3p5
""".split()
)
REASONING_MARKS: Mapping[str, Marks] = {
    "openai_gptoss": Marks(types=("gpt_oss",)),
    "mistral": Marks(has=("[THINK]",)),
    "seed_oss": Marks(has=("<seed:think>",)),
    "gemma4": Marks(has=("<|channel>", "<channel|>")),
    "kimi_k2": Marks(has=("<|tool_calls_section_begin|>", "</think>")),
    "minimax_m2": Marks(has=("<minimax:tool_call>", "</think>")),
    "glm45": Marks(has=("<arg_key>", "</think>")),
    "deepseek_v3": Marks(has=("<\uff5cAssistant\uff5c>", "</think>", "thinking")),
    "deepseek_r1": Marks(has=("<\uff5cAssistant\uff5c>", "</think>"), hasnt=("thinking",)),
    "hunyuan_a13b": Marks(has=("<think>", "<answer>"), types=("hunyuan_v1_moe",)),
    "olmo3": Marks(has=("<think>",), types=("olmo3",)),
    "granite": Marks(has=("Here is my thought process:",), types=("granite", "granitemoe")),
    "qwen3": Marks(has=("</think>",), types=("qwen3", "qwen3_moe", "qwen3_next", "qwen3_5", "qwen3_5_moe")),
}
"""The first that fits decides."""
