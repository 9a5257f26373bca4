"""The folders of what vLLM, torch and Triton compile: one for each engine version, device, model and set of flags.

A cache is used only if it was filled for exactly this start, and if every file is what it was when the cache was
sealed. It is sealed when the engine serves. A cache that was left unsealed or was damaged is deleted and filled again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from slipway_runtime.faststart import import_cache, read_ahead_notes
from slipway_runtime.faststart.manifest import Manifest, difference, name_of
from slipway_runtime.faststart.settings import FastStartSettings
from slipway_runtime.versions import version_of

MANIFEST = "manifest.json"
WITHOUT_EFFECT = (
    *("host", "port", "middleware", "served-model-name", "api-key", "shutdown-timeout", "otlp-traces-endpoint"),
    *("disable-uvicorn-access-log", "disable-fastapi-docs", "custom-histogram-buckets", "chat-template"),
    *("uvicorn-log-level", "enable-auto-tool-choice", "tool-call-parser"),
)
"""Flags that have no effect on what is compiled."""


class Cache:
    """The cache of one start: a folder, or none. Without a folder everything is compiled where vLLM puts it."""

    def __init__(self, folder: Path | None, key: Mapping[str, str]) -> None:
        self.folder, self.key = folder, key
        self._lock: int | None = None
        """Held by the one start that may change the folder, until it ends."""

    @classmethod
    def open(cls, settings: FastStartSettings, flags: Sequence[str], *, say: Callable[[str], None]) -> Cache:
        key = key_of(settings, flags)
        if not settings.cache:
            return cls(None, key)
        root = Path(settings.cache)
        try:
            root.mkdir(parents=True, exist_ok=True)
            folder = root / name_of(key)
            cache = cls(folder, key)
            return cache if cache._prepare(folder, say) else cls(None, key)
        except OSError as error:
            say(f"the cache {root} can't be used: {error.strerror}")
            return cls(None, key)

    @property
    def environment(self) -> dict[str, str]:
        if self.folder is None:
            return {}
        return {
            "VLLM_CACHE_ROOT": str(self.folder / "files/vllm"),
            "TRITON_CACHE_DIR": str(self.folder / "files/triton"),
            "TORCHINDUCTOR_CACHE_DIR": str(self.folder / "files/inductor"),
            "SLIPWAY_TRITON_KEY": str(self.folder / "files/triton_key"),
            import_cache.ENVIRONMENT: str(self.folder / "files/survey"),
            read_ahead_notes.ENVIRONMENT: str(self.folder / "files/wanted"),
        }

    def seal(self) -> None:
        """Declares the content valid from here on. If nothing is new, that takes one comparison."""
        if self.folder is None or self._lock is None:
            return
        with contextlib.suppress(OSError):
            manifest = Manifest.read(self.folder / MANIFEST)
            if manifest is None or manifest.strangers(self.folder / "files"):
                unfinished = self.folder / f"{MANIFEST}.tmp"
                unfinished.write_text(Manifest.of(self.folder / "files", self.key).as_json())
                unfinished.replace(self.folder / MANIFEST)

    def close(self) -> None:
        """Lets other starts change the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _prepare(self, folder: Path, say: Callable[[str], None]) -> bool:
        """Makes the folder usable, empty if need be; returns False if it can't be used."""
        root = folder.parent
        if os.access(root, os.W_OK):
            self._lock = _locked(root / f"{folder.name}.lock")
        manifest = Manifest.read(folder / MANIFEST)
        flaw = self._flaw(folder, manifest)
        if manifest and not flaw:
            if self._lock is not None:
                _remove(folder, manifest.strangers(folder / "files"))
            say(f"uses the cache {folder}")
            return True
        if self._lock is None:
            say("there is no cache to use, and none can be made: the folder is read-only, or another start fills it.")
            return False
        say(f"the cache {folder} {flaw}: it is filled again" if flaw else self._why_there_is_none(root))
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "files").mkdir(parents=True)
        return True

    def _flaw(self, folder: Path, manifest: Manifest | None) -> str:
        if not folder.exists():
            return ""
        if manifest is None:
            return "was never finished"
        if differences := difference(self.key, manifest.key):
            return f"is for something else: {'; '.join(differences)}"
        damaged = manifest.damage(folder / "files")
        return f"is damaged: {damaged} has changed" if damaged else ""

    def _why_there_is_none(self, root: Path) -> str:
        others = [found.key for file in sorted(root.glob(f"*/{MANIFEST}")) if (found := Manifest.read(file))]
        if not others:
            return f"there is no cache in {root} yet: one is filled now"
        nearest = min((difference(self.key, other) for other in others), key=len)
        return f"no cache in {root} fits this start, so a new one is filled: {'; '.join(nearest)}"


def _remove(folder: Path, names: Sequence[str]) -> None:
    for name in names:
        (folder / "files" / name).unlink(missing_ok=True)


def key_of(settings: FastStartSettings, flags: Sequence[str]) -> dict[str, str]:
    return {
        "engine": f"vLLM {settings.version}",
        "torch": version_of("torch"),
        "triton": version_of("triton"),
        "python": platform.python_version(),
        "device": settings.device,
        "model": settings.model,
        "flags": " ".join(flag for flag in (*flags, *settings.flags) if not _is_without_effect(flag)),
    }


def _is_without_effect(flag: str) -> bool:
    return flag.partition("=")[0].removeprefix("--").replace("_", "-") in WITHOUT_EFFECT


def _locked(file: Path) -> int | None:
    """Returns None while another start fills the same cache."""
    lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock
