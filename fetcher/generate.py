"""Copies the code that pushes images from the runtime: distributions don't import each other (ADR 0074)."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
SOURCE = HERE.parent / "runtime-image/slipway_runtime/oci"
COPY = HERE / "slipway_fetcher/oci"
NAMES = {"slipway_runtime": "slipway_fetcher", "slipway-runtime": "slipway-fetcher"}


def copied(text: str, name: str) -> str:
    for here, there in NAMES.items():
        text = text.replace(here, there)
    return f"# Generated from runtime-image/slipway_runtime/oci/{name} by `make generate`; do not edit.\n{text}"


def main() -> None:
    COPY.mkdir(exist_ok=True)
    sources = {file.name: copied(file.read_text(), file.name) for file in sorted(SOURCE.glob("*.py"))}
    for outdated in (file for file in COPY.glob("*.py") if file.name not in sources):
        outdated.unlink()
    for name, text in sources.items():
        (COPY / name).write_text(text)


if __name__ == "__main__":
    main()
