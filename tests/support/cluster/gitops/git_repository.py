"""A Git repository in a folder: a bare one, from which others fetch, and a checkout that pushes to it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path


def git_environment(**more: str) -> dict[str, str]:
    """Returns an environment in which git ignores the settings of this machine and its user, and knows an author."""
    author = {f"GIT_{role}_NAME": "somebody" for role in ("AUTHOR", "COMMITTER")}
    address = {f"GIT_{role}_EMAIL": "somebody@example.com" for role in ("AUTHOR", "COMMITTER")}
    settings = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    return {**os.environ, **settings, **author, **address, **more}


class GitRepository:
    def __init__(self, folder: Path) -> None:
        self.bare, self.checkout = folder / "models.git", folder / "models"
        self.bare.mkdir(parents=True)
        self.checkout.mkdir()
        self._git("init", "--quiet", "--bare", "--initial-branch=main", at=self.bare)
        self._git("init", "--quiet", "--initial-branch=main")
        self._git("remote", "add", "origin", str(self.bare))

    @property
    def url(self) -> str:
        return f"file://{self.bare}"

    def push(self, message: str) -> None:
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message", message)
        self._git("push", "--quiet", "origin", "main")

    def revert(self) -> None:
        """Reverts the last commit, and pushes that."""
        self._git("revert", "--no-edit", "HEAD")
        self._git("push", "--quiet", "origin", "main")

    def merge(self) -> None:
        """Merges the current branch into main, and pushes that."""
        self._git("switch", "--quiet", "main")
        self._git("merge", "--quiet", "--ff-only", "-")
        self._git("push", "--quiet", "origin", "main")

    def put(self, origin: Path, path: str) -> None:
        """Copies a folder to `path`, in place of what was there."""
        shutil.rmtree(self.checkout / path, ignore_errors=True)
        shutil.copytree(origin, self.checkout / path)

    def _git(self, *arguments: str, at: Path | None = None) -> None:
        self.run("git", *arguments, at=at)

    def run(self, *command: str, at: Path | None = None) -> None:
        """Runs a command in the checkout."""
        done = subprocess.run(
            command, cwd=at or self.checkout, env=git_environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
