"""The report on a failed cluster test says how to go on before it shows anything else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import support
from support.cluster.report import Run, next_steps

TESTS = Path(next(iter(support.__path__))).parent
LOGS = Path("/cache/clusters")
OPTIONS = ["-p", "no:cacheprovider", "-p", "no:pytest-kind", "-o", "asyncio_mode=auto", "--rootdir=."]

FAILING = """
import pytest

@pytest.mark.parametrize("kind", ["service"])
async def test_fails(kube, kind) -> None:
    print("printed by the test")
    assert kind == "pod"
"""
CONFTEST = """
from pathlib import Path
import pytest
from slipway_devcluster.cluster import named
from support.cluster import Kube
from support.cluster.clusters import EmbeddedCluster

pytest_plugins = ["support.cluster.fixtures"]

@pytest.fixture(scope="session")
def cluster(settings):
    return EmbeddedCluster(named(settings.name, settings.cache), settings)

@pytest.fixture
def kube(cluster):
    return Kube(Path("/bin/echo"), None, Path("/none"), "test-1")
"""


def test_a_failed_test_first_shows_how_to_go_on_and_then_its_namespace(tmp_path: Path) -> None:
    folder = tmp_path / "cluster"
    folder.mkdir()
    (folder / "test_failing.py").write_text(FAILING)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS],
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": str(TESTS), "SLIPWAY_CACHE": "/cache"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    titles = [line.strip("- ") for line in done.stdout.splitlines() if line.startswith("-----")]
    assert titles[:3] == ["how to go on", "objects of test-1", "pods of test-1"]
    assert titles[-1] == "Captured stdout call"
    assert 'sudo -E make cluster PYTEST_ARGS="-k test_fails[service] --keep-cluster"' in done.stdout
    assert "sudo -E .venv/bin/devcluster shell --name test\n" in done.stdout
    assert "ls /cache/clusters/test/log" in done.stdout


@pytest.mark.parametrize(
    ("run", "command"),
    [
        (Run("test_a"), 'sudo -E make cluster PYTEST_ARGS="-k test_a --keep-cluster"'),
        (Run("test_a", target="gitops"), 'sudo -E make gitops PYTEST_ARGS="-k test_a --keep-cluster"'),
        (
            Run("test_a", target="chaos", cluster_name="chaos", seed=7),
            'sudo -E make chaos PYTEST_ARGS="-k test_a --keep-cluster --seed=7"',
        ),
        (
            Run("test_a", cluster_name="mine"),
            'sudo -E make cluster PYTEST_ARGS="-k test_a --keep-cluster --cluster-name=mine"',
        ),
        (Run("test_a", kind="kind"), 'make cluster CLUSTER=kind PYTEST_ARGS="-k test_a --keep-cluster"'),
    ],
)
def test_the_command_runs_that_test_alone_as_it_was_run(run: Run, command: str) -> None:
    assert next_steps(run).splitlines()[1].strip() == command


def test_a_second_cluster_that_ends_with_the_run_is_reported() -> None:
    steps = next_steps(Run("test_a", logs={"test": LOGS / "test/log", "test-1a2b": LOGS / "test-1a2b/log"}))
    assert "the cluster test; kubectl" in steps
    assert "the cluster test-1a2b, which is removed at the end of the run, so use --pdb" in steps
