"""The versions of vLLM whose memory was measured. Pure."""

from __future__ import annotations

from slipway.operator.planning.memory import vllm_0_24, vllm_0_32
from slipway.operator.planning.memory.settings import Release

RELEASES = {
    each.version: each
    for each in (
        Release(version="0.24", batches_in_flight=1, states_of_request=1, parts=vllm_0_24.parts),
        Release(version="0.32", batches_in_flight=2, states_of_request=3, parts=vllm_0_32.parts),
    )
}
CURRENT = RELEASES["0.32"]
"""What Slipway's images have."""
