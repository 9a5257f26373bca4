"""The versions of vLLM whose memory was measured, and what each does differently. Pure."""

from __future__ import annotations

from slipway.operator.planning.memory.settings import GIB, Release

RELEASES = {
    each.version: each
    for each in (
        Release(
            version="0.24",
            batches_in_flight=1,
            new_runner=frozenset(
                {
                    *("LlamaForCausalLM", "MistralForCausalLM", "Qwen3ForCausalLM"),
                    *("DeepseekV2ForCausalLM", "Qwen2MoeForCausalLM", "GraniteMoeForCausalLM"),
                }
            ),
            drafts_on_old_runner=True,
            graphs_on_new=0,
            graphs_on_old=int(0.57 * GIB),
        ),
        Release(
            version="0.32",
            batches_in_flight=2,
            new_runner=None,
            drafts_on_old_runner=False,
            graphs_on_new=int(0.57 * GIB),
            graphs_on_old=int(0.57 * GIB),
        ),
    )
}
CURRENT = RELEASES["0.32"]
