"""Removes credentials from what a support bundle contains: objects and logs, by one mechanism. Pure.

A credential is known by its place (an environment variable, the argument after `--api-key`), by the name before it or
its form (`slipway.observing.redacting`), or because it is a long random word, of which most are recognised. No rule
knows each credential, so that places where tenants may write anything are emptied, except where the name says that it
is a setting of an engine.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from slipway.observing.redacting import MARK, redacted

from slipway_cli.visible import plain

VARIABLES = "environment variables and headers"
ARGUMENTS = "arguments after a flag such as --api-key"
ANNOTATIONS = "annotations"
NAMED = "values with a name such as password, and known forms of keys"
RANDOM = "long random words"

LONGEST_LINE = 4096  # characters of a line of a log
LONGEST_KEY = 200  # lines of a private key
MORE_THAN_A_KEY = 512  # characters that are read besides, so that no half of a key is left at the end

_SENSITIVE = (
    r"(?:passw(?:or)?ds?|passphrase|secrets?|token|credentials?|auth(?:orization)?|cookies?"
    r"|(?:api|access|account|private|secret|signing|encryption|ssh)[-_]?keys?)"
)
_SENSITIVE_NAME = re.compile(rf"(?:^|[_.-]|(?<=[a-z])(?=[A-Z])){_SENSITIVE}$", re.IGNORECASE)
_NAME_OF_SECRET = re.compile(r"(?<!client)(?<!client_)secret(?:name|ref)?$", re.IGNORECASE)  # apiKeysSecret: its name
_SENSITIVE_FLAG = re.compile(
    rf"--?[\w.-]*?(?:{_SENSITIVE}|headers?|user)|-[Hu]|--?(?:[\w.-]*[_.-])?(?:keys?|pass|pwd|pswd|pw|pat|dsn|jwt)",
    re.IGNORECASE,
)
_VARIABLES_OF_ENGINES = re.compile(
    r"(?:VLLM|SLIPWAY|CUDA|NVIDIA|NCCL|ROCR|HIP|TORCH|TORCHINDUCTOR|TORCHDYNAMO|PYTORCH|TRITON|OMP|MKL|LLAMA|GGML|KEDA)_\w+"
    r"|GO(?:MAXPROCS|MEMLIMIT|GC|DEBUG)|PYTHON(?:UNBUFFERED|HASHSEED|PATH|DONTWRITEBYTECODE|FAULTHANDLER|MALLOC)"
    r"|HF_HOME|HF_HUB_\w+|TRANSFORMERS_\w+|TOKENIZERS_PARALLELISM|WATCH_NAMESPACE|KUBERNETES_CLUSTER_DOMAIN"
    r"|POD_(?:NAME|NAMESPACE|IP|UID)"
)
_IS_SENSITIVE_VARIABLE = re.compile(
    r"KEY|TOKEN(?!IZER)|SECRET|PASS|PWD|PSWD|PW(?![A-Z])|(?<![A-Z])PAT(?![A-Z])|CRED|AUTH|COOKIE|JWT|LOGIN|URL|ENDPOINT|HEADER"
    r"|DSN|CONN(?!ECTIONS|ECTOR)"
)
_ANNOTATIONS_OF_PRODUCTS = re.compile(r"(?:[\w.-]+\.)?(?:kubernetes\.io|k8s\.io|slipway\.dev|kserve\.io|keda\.sh)/.*")
_COPY_OF_OBJECT = re.compile(r".*/last-applied-configuration")
_PAIRS = ("env", "headers", "httpHeaders")
_WORDS = ("args", "command", "extraArgs")
_HASHES = re.compile(r"uid|revision|commit|digest|image(?:ID)?|containerID|.*[-.]hash", re.IGNORECASE)

_MORE = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        (r"(://)[^\s\"'<>@/:]{0,200}:(?!\d+/)(?:[^\s\"'<>@]{1,300}@(?!sha256:)){1,3}", rf"\1{MARK}@"),  # with slashes
        (r"(?<![\w.-])([\w.-]{1,64}:)[^\s@/:\"']{4,200}@(?=[\w-]+\.\w)", rf"\1{MARK}@"),  # without a scheme
        (
            r"(?-i:\b([A-Z][A-Z0-9_]*(?:TOKEN|KEY|SECRET|PASSWORD|PASS|CREDENTIALS|AUTH)=)(?:\"[^\"]*\"|'[^']*'|[^\s\"']+))",
            rf"\1{MARK}",
        ),
        (r"\b((?:set-)?cookie[\"']?\s*[:=]\s*)[^\n]+", rf"\1{MARK}"),  # all of it, and not only the first
        (r"((?<!\S)(?:-u|--user)[ =])[^\s:]{1,200}:\S+", rf"\1{MARK}"),
    )
)
_LONG_WORD = re.compile(r"(?<![A-Za-z0-9_+=~-])[A-Za-z0-9_+=~-]{20,}")
_OF_HASH = re.compile(r"(?:sha\d+[:-]|snapshots/|blobs/|commits?/|containerd://|cri-o://|docker://)$")
_HEX = re.compile(r"[0-9a-f]+|[0-9A-F]+")
_KEY_STARTS, _KEY_ENDS = "-----BEGIN ", "-----END "


class Masker:
    """Masks, and counts what it has masked, by kind."""

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()

    def text(self, text: str, *, has_hashes: bool = False) -> str:
        """`has_hashes`: where hexadecimal digits are a version of something, and not a key."""
        text = plain(text)
        before = text.count(MARK)
        for pattern, replacement in _MORE:
            text = pattern.sub(replacement, text)
        text = redacted(text)
        self.found[NAMED] += max(0, text.count(MARK) - before)
        return _LONG_WORD.sub(lambda word: self._word(word, has_hashes=has_hashes), text)

    def log(self, text: str) -> str:
        """Line by line, so that the time it takes doesn't grow faster than the log."""
        return "".join(f"{line}\n" for line in self._lines(text))

    def thing(self, value: Any, key: str = "") -> Any:
        """An object of the cluster, or a part of it: the value of `key`."""
        if isinstance(value, Mapping):
            return self._members(value, key)
        if isinstance(value, str):
            return self._string(value, key)
        if isinstance(value, Sequence):
            if key in _WORDS and all(isinstance(each, str) for each in value):
                return list(self._arguments(value))
            return [self._pair(each) if key in _PAIRS else self.thing(each, key) for each in value]
        return value

    # --- objects -----------------------------------------------------------------------------------------------------

    def _members(self, value: Mapping[str, Any], key: str) -> dict[str, Any]:
        found = {}
        for name, each in value.items():
            if name == "managedFields":
                continue
            if key == "annotations":
                found[self.text(name)] = self._annotation(name, str(each))
            elif key in _PAIRS and isinstance(each, str):  # as a mapping, and not as a list of pairs
                found[self.text(name)] = self._masked(VARIABLES)
            else:
                found[self.text(name)] = self.thing(each, name)
        return found

    def _string(self, value: str, key: str) -> str:
        if value and _SENSITIVE_NAME.search(key) and not _NAME_OF_SECRET.search(key):
            return self._masked(NAMED)
        return self.text(value, has_hashes=bool(_HASHES.fullmatch(key)))

    def _pair(self, pair: Any) -> Any:
        """Of an environment variable or a header."""
        if not isinstance(pair, Mapping) or not isinstance(pair.get("value"), str) or not pair["value"]:
            return self.thing(pair)
        name = str(pair.get("name") or "")
        is_setting = _VARIABLES_OF_ENGINES.fullmatch(name) and not _IS_SENSITIVE_VARIABLE.search(name)
        value = self.text(pair["value"]) if is_setting else self._masked(VARIABLES)
        return {**self.thing({each: pair[each] for each in pair if each != "value"}), "value": value}

    def _annotation(self, name: str, value: str) -> str:
        if _COPY_OF_OBJECT.fullmatch(name) or not _ANNOTATIONS_OF_PRODUCTS.fullmatch(name):
            return self._masked(ANNOTATIONS)
        return self._string(value, name.rpartition("/")[2])

    def _arguments(self, words: Sequence[str]) -> Iterator[str]:
        """All words after such a flag, since vLLM's --api-key takes several."""
        is_masked = False
        for word in words:
            flag, is_one_word, _ = word.partition("=")
            is_flag = word.startswith("-")
            if is_flag:
                is_masked = bool(_SENSITIVE_FLAG.fullmatch(flag))
            if is_masked and (is_one_word or not is_flag):
                self.found[ARGUMENTS] += 1
                yield f"{self.text(flag)}={MARK}" if is_flag else MARK
            else:
                yield self.text(word)

    # --- text --------------------------------------------------------------------------------------------------------

    def _lines(self, text: str) -> Iterator[str]:
        of_key = 0  # how many more lines may be of a private key
        for line in text.splitlines():
            if of_key:
                of_key = 0 if _KEY_ENDS in line else of_key - 1
                continue
            if _KEY_STARTS in line and "PRIVATE KEY" in line and _KEY_ENDS not in line:
                of_key = LONGEST_KEY
            masked = self.text(line[: LONGEST_LINE + MORE_THAN_A_KEY])
            yield masked if len(masked) <= LONGEST_LINE else f"{masked[:LONGEST_LINE]}… ({len(line)} characters)"

    def _word(self, found: re.Match[str], *, has_hashes: bool) -> str:
        is_hash = has_hashes or bool(_OF_HASH.search(found.string[max(0, found.start() - 16) : found.start()]))
        parts = [each for each in re.split(r"[^A-Za-z0-9]+", found[0]) if each]
        if any(is_random(part) and not (is_hash and _HEX.fullmatch(part)) for part in parts) or (
            len(parts) > 1 and is_random("".join(parts), parts=len(parts))
        ):
            return self._masked(RANDOM)
        return found[0]

    def _masked(self, kind: str) -> str:
        self.found[kind] += 1
        return MARK


def is_random(word: str, *, parts: int = 1) -> bool:
    """Letters of both cases and digits alternate more often than in any name; `parts`: it was joined from."""
    kinds = [0 if each.isdigit() else 1 if each.islower() else 2 for each in word]
    changes = sum(one != other for one, other in itertools.pairwise(kinds)) / max(1, len(word))
    if set(kinds) == {0, 1, 2}:
        return len(word) >= 20 and changes >= (0.4 if parts == 1 else 0.5)
    if parts > 1:  # names of pods, and UUIDs
        return False
    if _HEX.fullmatch(word):
        return len(word) >= 32
    if set(kinds) == {1, 2}:
        return len(word) >= 24 and changes >= 0.35 and 0.3 <= kinds.count(2) / len(word) <= 0.7  # CamelCase has fewer
    return len(word) >= 24 and 0 in kinds and changes >= 0.2
