"""The operator with a bug: rendering the LLMDeployment of one name raises an error.

python -m support.faults.rendering_bug NAME FLAGS…
"""

from __future__ import annotations

import sys
from typing import Any
from unittest.mock import patch

from slipway.operator.reconciling import main
from slipway.operator.rendering import render

MESSAGE = "the renderer ate something bad"


def run(name: str, *flags: str) -> None:
    def poisoned(deployment: Any, *rest: Any) -> Any:
        if deployment.metadata.name == name:
            raise KeyError(MESSAGE)
        return render(deployment, *rest)

    with patch("slipway.operator.reconciling.deciding.render", poisoned):
        main.main(flags)


if __name__ == "__main__":
    run(*sys.argv[1:])
