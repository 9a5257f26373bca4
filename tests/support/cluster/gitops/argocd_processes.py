"""The parts of Argo CD as processes of this machine. All are one program, whose file name says which part it is."""

from __future__ import annotations

import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

from slipway_devcluster.builds import Build
from slipway_devcluster.cluster import DIES_WITH_US

from support.charts.helm import helm
from support.ports import free_port
from support.programs.processes import ended, until

NAMESPACE = "argocd"
HERE = "127.0.0.1"
CLI = "argocd"
REPO_SERVER, CONTROLLER = "argocd-repo-server", "argocd-application-controller"
SETS, SERVER = "argocd-applicationset-controller", "argocd-server"
ROLES = (CLI, REPO_SERVER, CONTROLLER, SETS, SERVER)
STARTS_WITHIN = 60.0
RESYNC = 5  # seconds


@dataclass(frozen=True)
class Parts:
    """What all parts share. `folder` is for them alone."""

    build: Build
    folder: Path
    redis: str
    kubeconfig: Path

    @contextmanager
    def running(self) -> Iterator[str]:
        """Starts all parts; yields the address of the API."""
        self._make_programs()
        repo_port, api_port = free_port(), free_port()
        repo_server = f"{HERE}:{repo_port}"
        with ExitStack() as processes:
            for name, flags, is_well in (
                self._repo_server(repo_port),
                self._controller(repo_server),
                self._sets(repo_server),
                self._server(api_port, repo_server),
            ):
                processes.enter_context(self._process(name, flags, is_well))
            yield f"{HERE}:{api_port}"

    def command(self, *arguments: str) -> str:
        """Runs its command line as a user does."""
        command = [str(self.folder / "bin" / CLI), *arguments]
        done = subprocess.run(command, env=self._environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"argocd {' '.join(arguments)}: {done.stderr}"
        return str(done.stdout)

    # --- one by one -------------------------------------------------------------------------------------------------
    # Each returns its flags, and the path at which it reports that it is healthy.

    def _repo_server(self, port: int) -> tuple[str, list[str], str]:
        metrics = free_port()
        flags = [
            f"--redis={self.redis}",
            f"--address={HERE}",
            f"--port={port}",
            f"--metrics-address={HERE}",
            f"--metrics-port={metrics}",
            "--disable-tls",
            "--client-ca-path=",  # else it reads a file that only its own pod has
            "--revision-cache-expiration=5s",
        ]
        return REPO_SERVER, flags, f"{metrics}/healthz"

    def _controller(self, repo_server: str) -> tuple[str, list[str], str]:
        metrics = free_port()
        flags = [
            *self._on_the_cluster(),
            f"--redis={self.redis}",
            f"--repo-server={repo_server}",
            "--repo-server-plaintext",
            f"--metrics-port={metrics}",
            f"--app-resync={RESYNC}",
            "--app-resync-jitter=0",
            "--persist-resource-health",
        ]
        return CONTROLLER, flags, f"{metrics}/healthz"

    def _sets(self, repo_server: str) -> tuple[str, list[str], str]:
        metrics = free_port()
        flags = [
            *self._on_the_cluster(),
            f"--argocd-repo-server={repo_server}",
            "--repo-server-plaintext",
            f"--metrics-addr={HERE}:{metrics}",
            f"--probe-addr={HERE}:{free_port()}",
            f"--webhook-addr={HERE}:{free_port()}",
        ]
        return SETS, flags, f"{metrics}/metrics"

    def _server(self, port: int, repo_server: str) -> tuple[str, list[str], str]:
        flags = [
            *self._on_the_cluster(),
            f"--redis={self.redis}",
            f"--repo-server={repo_server}",
            "--repo-server-plaintext",
            f"--address={HERE}",
            f"--port={port}",
            f"--metrics-address={HERE}",
            f"--metrics-port={free_port()}",
            "--insecure",
            "--disable-auth",
            f"--staticassets={self.folder / 'assets'}",
        ]
        return SERVER, flags, f"{port}/healthz"

    def _on_the_cluster(self) -> list[str]:
        return [f"--namespace={NAMESPACE}", f"--kubeconfig={self.kubeconfig}"]

    # --- all of them ------------------------------------------------------------------------------------------------

    def _make_programs(self) -> None:
        """Links the names of the parts, and the programs that they run."""
        programs = self.folder / "bin"
        programs.mkdir()
        for role in ROLES:
            (programs / role).symlink_to(self.build.binary("argocd"))
        (programs / "helm").symlink_to(helm())
        for wrapper in (self.build.source / "hack").glob("*.sh"):
            shutil.copyfile(wrapper, programs / wrapper.name)
            (programs / wrapper.name).chmod(0o755)
        for each in ("home", "tmp", "tls", "ssh", "gpg-source", "gpg-keys", "plugins", "assets"):
            (self.folder / each).mkdir()

    def _environment(self) -> dict[str, str]:
        def inside(name: str) -> str:
            return str(self.folder / name)

        return {
            "PATH": f"{inside('bin')}:{os.environ['PATH']}",
            "HOME": inside("home"),
            "TMPDIR": inside("tmp"),
            "KUBECONFIG": str(self.kubeconfig),  # the ApplicationSet controller reads it from here, besides its flag
            "ARGOCD_APPLICATIONSET_CONTROLLER_REQUEUE_AFTER": f"{RESYNC}s",
            "ARGOCD_FAKE_IN_CLUSTER": "true",
            "ARGOCD_TLS_DATA_PATH": inside("tls"),
            "ARGOCD_SSH_DATA_PATH": inside("ssh"),
            "ARGOCD_GPG_ENABLED": "false",
            "ARGOCD_GPG_DATA_PATH": inside("gpg-source"),
            "ARGOCD_GNUPGHOME": inside("gpg-keys"),
            "ARGOCD_PLUGINSOCKFILEPATH": inside("plugins"),
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
        }

    @contextmanager
    def _process(self, name: str, flags: list[str], is_well: str) -> Iterator[None]:
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [*DIES_WITH_US, self.folder / "bin" / name, *flags],
                env=self._environment(),
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
            with ended(process):
                until(lambda: _answers(is_well), process, f"{name} (its log is {log.name})", within=STARTS_WITHIN)
                yield


def _answers(where: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{HERE}:{where}", timeout=2) as answer:
            return int(answer.status) == 200
    except (URLError, OSError):
        return False
