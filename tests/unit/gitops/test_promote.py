"""A promotion copies changes in dev to prod on a branch of its own, and keeps the differences of prod."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

PROMOTE = Path(__file__).parents[3] / "manifests/argocd/repository/promote"
FIRST = "model: one\nrevision: a\n\nmaxReplicas: 1\n"
OF_PROD = FIRST.replace("maxReplicas: 1", "maxReplicas: 4")


class Repository:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        for key, value in (("user.name", "somebody"), ("user.email", "somebody@example.com")):
            self.git("config", key, value)
        shutil.copy(PROMOTE, folder)
        self.commit("The tool")

    def git(self, *arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=self.folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def path(self, environment: str) -> Path:
        return self.folder / f"models/{environment}/chat/assistant/model.yaml"

    def write(self, environment: str, text: str) -> None:
        self.path(environment).parent.mkdir(parents=True, exist_ok=True)
        self.path(environment).write_text(text)
        self.commit(f"Write {environment}")

    def promote(self, model: str = "chat/assistant") -> subprocess.CompletedProcess[str]:
        return subprocess.run(["./promote", model], cwd=self.folder, capture_output=True, text=True, check=False)

    def merge(self) -> str:
        """Merges like a pull request, and returns the model of prod after it."""
        branch = self.git("branch", "--show-current")
        assert branch.startswith("promote-chat-assistant-")
        self.git("switch", "--quiet", "main")
        self.git("merge", "--quiet", "--ff-only", branch)
        return self.path("prod").read_text()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    return Repository(tmp_path / "models")


@pytest.fixture
def with_replicas_in_prod(repository: Repository) -> Repository:
    """A repository with a model that has more replicas in prod."""
    repository.write("dev", FIRST)
    repository.write("prod", OF_PROD)
    return repository


def test_a_model_that_prod_does_not_have_is_copied_unchanged(repository: Repository) -> None:
    repository.write("dev", FIRST)
    assert repository.promote().returncode == 0
    assert repository.merge() == FIRST


def test_changes_in_dev_are_copied_and_differences_of_prod_are_kept(with_replicas_in_prod: Repository) -> None:
    with_replicas_in_prod.write("dev", FIRST.replace("revision: a", "revision: b"))
    assert with_replicas_in_prod.promote().returncode == 0
    assert with_replicas_in_prod.merge() == OF_PROD.replace("revision: a", "revision: b")


def test_a_promotion_continues_from_the_last_one(with_replicas_in_prod: Repository) -> None:
    for revision in "bcd":
        with_replicas_in_prod.write("dev", FIRST.replace("revision: a", f"revision: {revision}"))
        assert with_replicas_in_prod.promote().returncode == 0
        assert with_replicas_in_prod.merge() == OF_PROD.replace("revision: a", f"revision: {revision}")


def test_changes_in_prod_since_then_do_not_hide_changes_in_dev(with_replicas_in_prod: Repository) -> None:
    with_replicas_in_prod.write("dev", FIRST.replace("revision: a", "revision: b"))
    with_replicas_in_prod.write("prod", OF_PROD.replace("maxReplicas: 4", "maxReplicas: 8"))
    assert with_replicas_in_prod.promote().returncode == 0
    assert with_replicas_in_prod.merge() == "model: one\nrevision: b\n\nmaxReplicas: 8\n"


def test_conflicting_changes_are_left_to_the_user(with_replicas_in_prod: Repository) -> None:
    with_replicas_in_prod.write("dev", FIRST.replace("maxReplicas: 1", "maxReplicas: 2"))
    done = with_replicas_in_prod.promote()
    assert done.returncode == 1
    assert "both have changed the same lines of models/prod/chat/assistant/model.yaml" in done.stderr
    assert (
        "<<<<<<< prod\nmaxReplicas: 4\n=======\nmaxReplicas: 2\n>>>>>>> dev"
        in with_replicas_in_prod.path("prod").read_text()
    )


def test_without_a_change_no_branch_is_made(with_replicas_in_prod: Repository) -> None:
    done = with_replicas_in_prod.promote()
    assert (done.returncode, done.stdout.strip()) == (0, "prod has all that dev has of chat/assistant")
    assert with_replicas_in_prod.git("branch", "--format=%(refname:short)") == "main"


def test_a_folder_without_a_model_and_uncommitted_changes_are_refused(with_replicas_in_prod: Repository) -> None:
    assert "usage: ./promote NAMESPACE/MODEL" in with_replicas_in_prod.promote("chat/nothing").stderr
    with_replicas_in_prod.path("dev").write_text("changed")
    assert "there are changes that are in no commit" in with_replicas_in_prod.promote().stderr
