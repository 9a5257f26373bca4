"""`slipway-runtime serve llamacpp` with Gemma: it serves, logs what it does, and admits only clients with a key."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from support.load.completions import complete
from support.programs.llamacpp_pod import LlamacppPod

SENSIBLE = re.compile(r"container|orchestrat|deploy|cluster|cloud|platform", re.IGNORECASE)


def url(pod: LlamacppPod) -> str:
    return f"http://127.0.0.1:{pod.engine_port}"


async def test_it_serves_and_logs_its_choices(pod: LlamacppPod, gemma: Path) -> None:
    await pod.serve(gemma)
    await pod.until_ready()
    assert SENSIBLE.search((await complete(pod.http, url(pod), "Kubernetes is")).text)
    info = await pod.info()
    assert info["model"]["architecture"] == "gemma3"
    assert info["capacity"]["contextLength"] == "4096"
    reached = [moment["name"] for moment in info["phases"]]
    assert reached == ["started", "checked", "launched", "loading", "loaded", "answers", "ready"]


async def test_it_reports_what_it_takes_of_the_memory_and_logs_no_more_about_requests_than_before(
    pod: LlamacppPod, gemma: Path
) -> None:
    await pod.serve(gemma)
    await pod.until_ready()
    await pod.until_response_has("/info", '"devices"')
    measured = (await pod.info())["measured"]
    # 235.16 MiB of weights; 3 layers with 4,096 cells and 15 with 1,024, for each of 4 slots, with 256 values
    # of 2 bytes for the key and as many for the value: 48 + 60 MiB.
    assert measured["kvTokens"] == 4 * 4096
    assert measured["kvCache"] == 108 << 20
    assert measured["weights"] == pytest.approx(235.16 * 2**20, rel=0.02)
    assert 10 << 20 < measured["activation"] < 100 << 20
    await complete(pod.http, url(pod), "Kubernetes is")
    pod.stop()
    await pod.until_ended()
    [ready] = [number for number, line in enumerate(pod.log_lines) if "Ready after" in line]
    assert not [line for line in pod.log_lines[ready:] if "sampler" in line]


async def test_one_scrape_has_the_metrics_of_runtime_guard_and_engine(pod: LlamacppPod, gemma: Path) -> None:
    await pod.serve(gemma)
    await pod.until_ready()
    await complete(pod.http, url(pod), "Kubernetes is", max_tokens=8)
    counted = 'slipway_tokens_total{key="anonymous",kind="completion",model_name="gemma"} 8.0'
    text = await pod.until_response_has("/metrics", counted)  # a client may get its response before it is counted
    assert 'slipway_runtime_state{state="Ready"} 1.0' in text
    assert 'slipway_time_to_first_token_seconds_count{model_name="gemma"} 1.0' in text
    assert "llamacpp:prompt_tokens_total" in text
    families = [line for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(families) == len(set(families))


async def test_a_model_in_a_folder_is_found(pod: LlamacppPod, gemma: Path, tmp_path: Path) -> None:
    (tmp_path / "models/deep").mkdir(parents=True)
    (tmp_path / "models/deep/model.gguf").symlink_to(gemma)
    await pod.serve(tmp_path / "models")
    await pod.until_ready()


async def test_only_clients_with_a_key_are_served_and_a_new_key_counts_without_a_restart(
    pod: LlamacppPod, gemma: Path, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "alice").write_text("key-of-alice")
    await pod.serve(gemma, f"--api-keys={keys}")
    await pod.until_ready()

    async def status(key: str) -> int:
        async with await pod.completion(
            prompt="Hi", max_tokens=1, headers={"Authorization": f"Bearer {key}"}
        ) as answer:
            return answer.status

    assert (await status("key-of-alice"), await status("key-of-bob")) == (200, 401)
    (keys / "bob").write_text("key-of-bob")
    async with asyncio.timeout(10):
        while await status("key-of-bob") != 200:
            pass


@pytest.mark.parametrize("path", ["/slots", "/props", "/metrics", "/v1/../props", "/lora-adapters", "/"])
async def test_internal_paths_are_not_exposed(pod: LlamacppPod, gemma: Path, path: str) -> None:
    await pod.serve(gemma)
    await pod.until_ready()
    async with pod.http.get(url(pod) + path) as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (404, "unknown_url")


async def test_a_client_without_tokens_for_this_minute_has_to_wait(pod: LlamacppPod, gemma: Path) -> None:
    await pod.serve(gemma, "--tokens-per-minute=20")
    await pod.until_ready()
    async with await pod.completion(prompt="Once", max_tokens=30, stream=True, ignore_eos=True) as answer:
        assert (answer.status, answer.headers["x-ratelimit-limit-tokens"]) == (200, "20")
        await answer.read()
    async with await pod.completion(prompt="Once", max_tokens=1) as refused:
        assert (refused.status, (await refused.json())["error"]["code"]) == (429, "token_limit_exceeded")
        assert 0 < int(refused.headers["Retry-After"]) <= 60


async def test_an_abandoned_request_makes_room_for_the_next(pod: LlamacppPod, gemma: Path) -> None:
    await pod.serve(gemma, "--parallel=1", "--context-length=32768")
    await pod.until_ready()
    async with pod.long_stream(tokens=30_000):
        pass
    async with await pod.completion(prompt="Hi", max_tokens=1) as answer:
        assert answer.status == 200
