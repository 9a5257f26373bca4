"""Results of benchmarks, as compressed JSON in the folder `results/`; what they mean is in README.md.

python benchmarks/results.py wake    # prints results/wake.json.gz as JSON
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def named(name: str) -> Path:
    return RESULTS / f"{name}.json.gz"


def write(path: Path, result: Mapping[str, Any]) -> Path:
    """Write a result, compressed if the name of the file says so. The same result makes the same bytes."""
    text = (json.dumps(result, ensure_ascii=False, indent=1) + "\n").encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)
    return path


def read(path: Path) -> Any:
    content = path.read_bytes()
    return json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(file.name.removesuffix(".json.gz") for file in RESULTS.glob("*.json.gz")):
        print(json.dumps(read(named(name)), ensure_ascii=False, indent=1) if len(sys.argv) > 1 else name)
