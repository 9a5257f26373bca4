"""Within the activator, one name means one thing."""

import ast
from collections import defaultdict
from pathlib import Path

from slipway import activator

ROOT = Path(activator.__path__[0])


def test_no_two_classes_share_a_name() -> None:
    modules: defaultdict[str, list[str]] = defaultdict(list)
    for path in ROOT.rglob("*.py"):
        if "_generated" not in path.parts:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef):
                    modules[node.name].append(str(path.relative_to(ROOT)))
    assert {name: where for name, where in modules.items() if len(where) > 1} == {}
