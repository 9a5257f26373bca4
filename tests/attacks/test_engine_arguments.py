"""However the engines' parsers read an argument: flags that Slipway sets, and flags that are unsafe, are refused.

The lists of flags are those of the real parsers: vLLM's is recorded, and xllamacpp is installed.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import pytest
import xllamacpp
import yaml
from slipway.api import arguments, mounts, variables
from slipway.contract.flags import DANGEROUS, HARMLESS, REASONS, REFUSED
from slipway.operator.rendering import Desired, Unrenderable
from support.builders.rendering import arguments as arguments_of
from support.builders.rendering import on_h100, plan, predictor, rendered, runtime
from support.repository import rows

VLLM, LLAMACPP = "vllm", "llamacpp"
RECORDED = yaml.safe_load((Path(__file__).parent / "recorded/vllm-0.32.0.yaml").read_text())
FLAGS: list[str] = RECORDED["flags"].split()
VARIABLES: list[str] = RECORDED["variables"].split()
REAL_REFUSED = sorted(set(REFUSED) & set(FLAGS))
ENGINES = [VLLM, LLAMACPP]
each_engine = pytest.mark.parametrize("engine", ENGINES)


def parameters_of_llamacpp() -> set[str]:
    """The parameters that can be given as a flag with a single value."""
    parameters = xllamacpp.CommonParams()
    names = [name for name in dir(parameters) if not name.startswith("_")]
    return {
        f"--{name.replace('_', '-')}"
        for name in names
        if isinstance(getattr(parameters, name), bool | int | float | str)
    }


# --- the lists -------------------------------------------------------------------------------------------------------


def test_every_flag_of_vllm_is_in_exactly_one_list() -> None:
    listed = [*HARMLESS[VLLM], *REFUSED]
    assert sorted(set(FLAGS) - set(listed)) == []
    assert len(listed) == len(set(listed))


def test_only_flags_that_the_engine_has_are_allowed() -> None:
    assert set(HARMLESS[VLLM]) - set(FLAGS) == {"-O", "-O0", "-O1", "-O2", "-O3"}  # vLLM's parser adds them itself
    of_its_own_server = {"--chat-template-file"}  # slipway-runtime reads the file into the parameter chat_template
    assert set(HARMLESS[LLAMACPP]) - parameters_of_llamacpp() == of_its_own_server


def test_a_refused_flag_is_allowed_for_no_engine() -> None:
    assert not set(REFUSED) & {flag for flags in HARMLESS.values() for flag in flags}


def test_each_refusal_has_one_reason() -> None:
    assert len(REFUSED) == len(set(REFUSED)) == sum(map(len, REASONS.values()))


# --- how parsers read an argument ------------------------------------------------------------------------------------


def as_argparse_takes(word: str) -> str | None:
    """The flag of vLLM as which Python's argparse reads this argument."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    for flag in FLAGS:
        parser.add_argument(flag, dest=flag, nargs="?", const="given")
    try:
        found, _ = parser.parse_known_args([word])
    except (argparse.ArgumentError, SystemExit):
        return None
    return next((flag for flag in FLAGS if getattr(found, flag) is not None), None)


@pytest.mark.parametrize("flag", REAL_REFUSED)
def test_no_prefix_of_a_refused_flag_is_allowed(flag: str) -> None:
    prefixes = [flag[:length] for length in range(2, len(flag) + 1)]
    for word in prefixes:
        assert word in HARMLESS[VLLM] or arguments.why_refused(VLLM, f"{word}=x")


@pytest.mark.parametrize("flag", ["-q", "-n", "-r", "-a", "-m", "-c"])
def test_no_value_glued_to_a_short_flag_is_allowed(flag: str) -> None:
    assert arguments.why_refused(VLLM, f"{flag}8")
    assert arguments.why_refused(VLLM, f"{flag}=8")


def test_argparse_reads_an_allowed_flag_as_that_flag() -> None:
    allowed = [flag for flag in HARMLESS[VLLM] if flag in FLAGS]
    assert [as_argparse_takes(flag) for flag in allowed[::12]] == allowed[::12]


SPELLINGS = ["{0}", "{0}=x", "{1}=x", "{0}.key=x", "{0}.key.key+=x", "{1}.a_b=x", "{2}=x", "{2}"]


@pytest.mark.parametrize("flag", [flag for flag in DANGEROUS if flag.startswith("--") and len(flag) > 8])
def test_a_dangerous_flag_is_refused_in_every_spelling_for_every_engine(flag: str) -> None:
    with_underscores = f"--{flag.removeprefix('--').replace('-', '_')}"
    for word in (spelling.format(flag, with_underscores, flag[:-1]) for spelling in SPELLINGS):
        for engine in (*ENGINES, "sglang"):
            assert arguments.why_refused(engine, word), (engine, word)


@each_engine
@pytest.mark.parametrize(
    "word",
    [
        *("evil/model", "/mnt/other", "@/etc/passwd", "", "=", "-", "--", "---", "-1", " --seed=1", "\u2014seed=1"),
        *("--config=/x", "--conf=/x", "--SEED=1", "--trust-remote-code\u200b", "--model=x", "--no-no-enforce-eager"),
        *("-O4", "-Ofast", "-cc.backend=x", "-dp=2", "-asc=2", "--unknown-of-tomorrow=1", "--no-trust-remote-code"),
        *("--allow=trust-remote-code", "--api-keys=/x", "--traces-endpoint=http://x", "--drain-limit=0"),
    ],
)
def test_an_argument_that_is_not_a_flag_or_is_an_unknown_flag_is_refused(engine: str, word: str) -> None:
    assert arguments.why_refused(engine, word)


@pytest.mark.parametrize(
    "word",
    [
        *(
            "--seed=1",
            "-O3",
            "-O=2",
            "--max-lora-rank=64",
            "--max_lora_rank=64",
            "--enforce-eager",
            "--tool-call-parser=hermes",
        ),
        *(
            "--enable-auto-tool-choice",
            "--reasoning-parser=qwen3",
            "--no-async-scheduling",
            "--chat-template=/etc/t/a.jinja",
        ),
        *('--hf-overrides={"a":1}', "--hf-overrides.rope_parameters.factor=2", "--limit-mm-per-prompt.image=2"),
        *("--cpu-offload-gb=4", "--max-num-batched-tokens=8192", "--attention-backend=FLASHINFER"),
    ],
)
def test_arguments_that_users_need_are_allowed(word: str) -> None:
    assert arguments.why_refused(VLLM, word) is None


@pytest.mark.parametrize("word", ["--n_batch=512", "--n-ubatch=64", "--use_jinja=true", "--chat_template=/x"])
def test_arguments_of_llamacpp_that_users_need_are_allowed(word: str) -> None:
    assert arguments.why_refused(LLAMACPP, word) is None


@pytest.mark.parametrize(
    "word", ["--tp=2", "30000", "--mem-fraction-static", "--port=30000", "--max-model-len=1", "--"]
)
def test_a_runtime_that_is_not_slipways_accepts_any_argument(word: str) -> None:
    assert arguments.why_refused("sglang", word) is None


@pytest.mark.parametrize(
    "word",
    [
        "$(EVIL)",
        "--$(EVIL)",
        "-$(EVIL)=x",
        "--middle$(REST)=evil.Mw",
        "$(A)$(B)",
        "$$(EVIL)",
        "--config=/x",
        "--config",
    ],
)
def test_a_flag_from_a_variable_is_refused_for_every_engine(word: str) -> None:
    for engine in (*ENGINES, "sglang"):
        assert arguments.why_refused(engine, word), engine


def test_a_value_may_come_from_a_variable() -> None:
    assert arguments.why_refused("sglang", "--tp=$(TP)") is None
    assert arguments.why_refused(VLLM, "--seed=$(SEED)") is None


FORBIDDEN = "spec.engine.extraArgs: Forbidden: "


@pytest.mark.parametrize(
    "row", [row for row in rows("refused_llmdeployments") if FORBIDDEN in row["says"]], ids=lambda row: row["it"]
)
def test_python_refuses_arguments_with_the_sentences_of_the_api_server(row: Any) -> None:
    engine = row["spec"]["engine"]
    found = [arguments.why_refused(engine.get("name", VLLM), word) for word in engine["extraArgs"]]
    assert row["says"] == FORBIDDEN + next(why for why in found if why)


OF_THE_POD = re.compile(r"spec\.pod\.(env|volumeMounts): Forbidden: ")


@pytest.mark.parametrize(
    "row", [row for row in rows("refused_llmdeployments") if OF_THE_POD.match(row["says"])], ids=lambda row: row["it"]
)
def test_python_refuses_variables_and_volumes_with_the_sentences_of_the_api_server(row: Any) -> None:
    pod, engine = row["spec"]["pod"], row["spec"].get("engine", {}).get("name", VLLM)
    found = [variables.why_refused(engine, each["name"]) for each in pod.get("env", [])]
    found += [mounts.why_refused(engine, each["mountPath"]) for each in pod.get("volumeMounts", [])]
    assert OF_THE_POD.sub("", row["says"]) == next(why for why in found if why)


# --- the check before rendering --------------------------------------------------------------------------------------


def refusal(**spec: object) -> str:
    wanted = on_h100(**spec)
    answer = rendered(wanted, plan(wanted), serving_runtime=runtime("slipway-vllm-cuda"))
    assert isinstance(answer, Unrenderable), answer
    return answer.message


def test_arguments_that_an_older_crd_allowed_are_not_rendered() -> None:
    assert refusal(engine={"extraArgs": ["--seed=1", "--middlewar=evil.Mw"]}) == (
        "engine.extraArgs: --middlewar is not one of the engine's flags that Slipway allows, written in full: leave it "
        "out, or name a ServingRuntime of your own in engine.name."
    )


def test_no_argument_of_the_spec_becomes_the_value_of_one_of_slipways_own() -> None:
    given = arguments_of(
        on_h100(engine={"adapters": [{"name": "sql", "uri": "s3://b/sql"}], "extraArgs": ["--seed=1"]})
    )
    assert given[-1] == "--seed=1"
    assert "is not a flag" in refusal(
        engine={"adapters": [{"name": "sql", "uri": "s3://b/x"}], "extraArgs": ["evil=/x"]}
    )


ROOTS = "/uvloop /uvloop.py /torch /vllm /slipway_runtime /usr /opt/slipway /home /root /app /tmp /tmp/x /optimised"
SETTINGS = "/etc /etc/ssl /etc/ssl/openssl.cnf /etc/pki /etc/pki/tls /etc/nccl.conf /etc/ucx /etc/slipway /etc/python3"
CACHES = "/var /var/cache /var/cache/slipway /var/cache/x /var/lib/x /var/cache/slipway/.cache/flashinfer"
OTHERS_OWN = "/ /mnt /mnt/models /mnt/models/x /mnt/adapters /mnt/draft /dev/x /dev/shm /proc /sys /run /var/run"
SECRETS = "/run/secrets /var/run/secrets /var/run/secrets/kubernetes.io/serviceaccount"
DETOURS = "//opt /data/../opt /data/../uvloop /mnt/x/../models /database /data.py relative"
FREE = "/data /data/a/b /config /templates /scratch /cache /files /models /adapters /datasets /mnt/loras /mnt/models2"
FREE += " /etc/templates /etc/ssl/certs /etc/ssl/certs/own.pem /etc/pki/ca-trust/x /usr/local/share/ca-certificates"
FREE += " /var/run/secrets/tokens /run/secrets/mine"


def mounted(path: str) -> dict[str, Any]:
    return {"volumes": [{"name": "a", "emptyDir": {}}], "volumeMounts": [{"name": "a", "mountPath": path}]}


@pytest.mark.parametrize("path", " ".join((ROOTS, SETTINGS, CACHES, OTHERS_OWN, SECRETS, DETOURS)).split())
def test_a_volume_on_a_path_that_programs_search_by_default_is_not_rendered(path: str) -> None:
    assert refusal(pod=mounted(path)).startswith(f"pod.volumeMounts: {path} is not a place for a volume")
    assert mounts.why_refused(LLAMACPP, path)


@pytest.mark.parametrize("path", FREE.split())
def test_a_volume_on_a_path_that_programs_read_only_if_configured_is_rendered(path: str) -> None:
    given = predictor(on_h100(pod=mounted(path)))["model"]["volumeMounts"]
    assert given == [{"name": "a", "mountPath": path}]
    assert mounts.why_refused("sglang", path) is None or path.startswith(("/usr", "/run", "/var/run"))


@pytest.mark.parametrize(
    "path", ["/usr", "/opt/x", "/mnt/models", "//opt", "/data/../opt", "/etc", "/", "/dev/x", "/proc"]
)
def test_a_volume_over_the_system_files_of_an_image_is_refused_for_every_runtime(path: str) -> None:
    assert mounts.why_refused("sglang", path)


@pytest.mark.parametrize("path", ["/sglang", "/workspace", "/root/.cache", "/etc/ssl", "/var/cache/x"])
def test_a_runtime_that_is_not_slipways_may_mount_volumes_where_its_image_needs_them(path: str) -> None:
    assert mounts.why_refused("sglang", path) is None


# --- variables -------------------------------------------------------------------------------------------------------

LOADERS = "PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONUSERBASE PYTHONPYCACHEPREFIX PYTHONWARNINGS PYTHONBREAKPOINT"
LOADERS += " PYTHONINSPECT PYTHONOPTIMIZE LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT GCONV_PATH BASH_ENV PATH OPENSSL_CONF"
LOADERS += (
    " OMP_TOOL_LIBRARIES CUDA_INJECTION64_PATH NCCL_NET_PLUGIN NCCL_TUNER_PLUGIN NCCL_PROFILER_PLUGIN NCCL_CONF_FILE"
)
LOADERS += " TRITON_CACHE_MANAGER TRITON_PTXAS_PATH TRITON_CACHE_DIR TORCHINDUCTOR_CACHE_DIR TORCH_EXTENSIONS_DIR"
LOADERS += " FLASHINFER_WORKSPACE_BASE GGML_BACKEND_PATH LLAMA_ARG_TOOLS OTEL_PYTHON_TRACER_PROVIDER RAY_ADDRESS"
LOADERS += " TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD HF_DATASETS_TRUST_REMOTE_CODE"
LOADERS += " COMPILER_PATH GCC_EXEC_PREFIX CPATH C_INCLUDE_PATH CPLUS_INCLUDE_PATH LIBRARY_PATH CUDA_CACHE_PATH"
LOADERS += " TORCHINDUCTOR_CUTLASS_DIR TILELANG_CACHE_DIR TVM_FFI_CACHE_DIR TVM_LIBRARY_PATH CUTE_DSL_CACHE_DIR"
LOADERS += " NUMBA_CACHE_DIR AITER_JIT_DIR DG_JIT_CACHE_DIR AWS_CONFIG_FILE NCCL_GIN_PLUGIN NVSHMEM_BOOTSTRAP_PLUGIN"
OF_VLLM = (
    "API_KEY PLUGINS ALLOW_RUNTIME_LORA_UPDATING SERVER_DEV_MODE CONFIG_ROOT CACHE_ROOT ALLOW_INSECURE_SERIALIZATION"
)
OF_VLLM += (
    " USE_MODELSCOPE MEDIA_URL_ALLOW_REDIRECTS MEDIA_CONNECTOR MODEL_REDIRECT_PATH LOGGING_CONFIG_PATH NCCL_SO_PATH"
)
OF_VLLM += " CUDART_SO_PATH TRACE_FUNCTION PORT HOST_IP RPC_BASE_PATH RUST_FRONTEND_PATH USE_RUST_FRONTEND MEDIA_CACHE"
OF_VLLM += " DEBUG_LOG_API_SERVER_RESPONSE DEBUG_DUMP_PATH LORA_RESOLVER_CACHE_DIR TEST_FORCE_LOAD_FORMAT"
OTHERS = (
    "SLIPWAY_PORT NVIDIA_VISIBLE_DEVICES NVIDIA_DRIVER_CAPABILITIES AMD_VISIBLE_DEVICES UVICORN_HOST WEB_CONCURRENCY"
)
OTHERS += " GUNICORN_CMD_ARGS FORWARDED_ALLOW_IPS"
OTHERS += " NCCL_DEBUG_FILE NCCL_TOPO_DUMP_FILE NCCL_GRAPH_DUMP_FILE NCCL_RAS_ADDR"
FOLDERS = "HOME TMPDIR TMP TEMP XDG_CACHE_HOME XDG_CONFIG_HOME HF_HOME HF_MODULES_CACHE TORCH_HOME MPLCONFIGDIR"
FOLDERS += " NIXL_PLUGIN_DIR OPENCV_VIDEOIO_PLUGIN_PATH CURL_HOME FOO_OF_TOMORROW A vllm_plugins APPDATA app_a"
BAD = [*LOADERS.split(), *(f"VLLM_{name}" for name in OF_VLLM.split()), *OTHERS.split(), "VLLM_OF_TOMORROW"]
GOOD = (
    "NCCL_DEBUG HF_TOKEN HF_HUB_OFFLINE OMP_NUM_THREADS CUDA_VISIBLE_DEVICES VLLM_LOGGING_LEVEL VLLM_CPU_KVCACHE_SPACE"
)
GOOD += " PYTHONUNBUFFERED OTEL_SERVICE_NAME OTEL_EXPORTER_OTLP_HEADERS HTTPS_PROXY TOKENIZERS_PARALLELISM"
GOOD += " PYTORCH_CUDA_ALLOC_CONF VLLM_USE_DEEP_GEMM AWS_REGION APP_A TZ SSL_CERT_FILE"
GOOD += " NCCL_DEBUG_SUBSYS NCCL_RAS_ENABLE"
GOOD += " NCCL_IB_HCA NCCL_TOPO_FILE POD_NAME TRACEPARENT no_proxy HSA_OVERRIDE_GFX_VERSION"


@pytest.mark.parametrize("name", BAD)
def test_a_variable_that_does_what_a_refused_flag_does_is_refused(name: str) -> None:
    for engine in (*ENGINES, "sglang"):
        assert variables.why_refused(engine, name)
    assert refusal(pod={"env": [{"name": name, "value": "x"}]}).startswith(f"pod.env: {name} ")


@pytest.mark.parametrize("name", FOLDERS.split())
def test_a_variable_that_is_not_on_the_allowlist_is_refused_for_slipways_engines(name: str) -> None:
    assert refusal(pod={"env": [{"name": name, "value": "x"}]}).startswith(f"pod.env: {name} is not a variable")
    assert variables.why_refused("sglang", name) is None


@pytest.mark.parametrize("name", [name for name in variables.NAMES if name.isupper()])
def test_variables_allowed_for_slipways_engines_are_allowed_for_other_engines(name: str) -> None:
    assert variables.why_refused(VLLM, name) is None
    assert variables.why_refused("sglang", name) is None


@pytest.mark.parametrize("name", ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
def test_a_secret_variable_is_allowed_but_its_value_is_not_recorded(name: str) -> None:
    assert name in variables.SECRETS
    assert name in variables.NAMES


@pytest.mark.parametrize("name", GOOD.split())
def test_a_variable_that_affects_only_its_owners_model_is_allowed(name: str) -> None:
    wanted = on_h100(pod={"env": [{"name": name, "value": "x"}]})
    answer = rendered(wanted, plan(wanted), serving_runtime=runtime("slipway-vllm-cuda"))
    assert isinstance(answer, Desired)


def test_only_variables_that_vllm_has_are_allowed() -> None:
    allowed = {name for name in variables.NAMES if name.startswith("VLLM_")}
    assert allowed <= set(VARIABLES)


# --- names of Slipway's runtimes and children ------------------------------------------------------------------------


def test_a_runtime_of_the_namespace_that_hides_slipways_own_is_not_used() -> None:
    tenants_runtime = runtime("slipway-vllm-cuda")
    tenants_runtime["metadata"]["namespace"] = "chat"
    wanted = on_h100(access={"apiKeysSecret": "keys"})
    answer = rendered(wanted, plan(wanted), serving_runtime=tenants_runtime)
    assert isinstance(answer, Unrenderable)
    assert (answer.reason, "hides Slipway's own" in answer.message) == ("RuntimeShadowed", True)


def test_a_runtime_of_the_namespace_with_a_name_of_its_own_is_used() -> None:
    tenants_runtime = runtime("sglang")
    tenants_runtime["metadata"]["namespace"] = "chat"
    wanted = on_h100(engine={"name": "sglang"}, accelerator={})
    assert isinstance(rendered(wanted, plan(wanted), serving_runtime=tenants_runtime), Desired)


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        *((f"a-{each}", f"KServe gives to the {each} of a") for each in ("predictor", "transformer", "explainer")),
        *((f"a-{each}", f"Slipway gives to the {each} of a") for each in ("activator", "canary", "cache")),
        ("keda-hpa-a", "KEDA gives to the autoscaler of a"),
    ],
)
def test_a_name_that_a_child_of_another_deployment_would_have_is_not_rendered(name: str, owner: str) -> None:
    """Even of an old object: the API server validates an object when it is written, not when the rules change."""
    plain = on_h100()
    wanted = plain.model_copy(update={"metadata": plain.metadata.model_copy(update={"name": name})})
    answer = rendered(wanted, plan(wanted), serving_runtime=runtime("slipway-vllm-cuda"))
    assert isinstance(answer, Unrenderable)
    assert f"is the one that {owner}:" in answer.message
