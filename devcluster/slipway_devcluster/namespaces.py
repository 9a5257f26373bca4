"""The node's own PID, mount and network namespaces: created, entered, and ended as one.

Process 1 inside is `node init`. When it is killed, the kernel ends every process of the node, and with the last of them
its mounts, addresses, routes and iptables rules. So none of them is left behind, whatever happens to devcluster.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shlex
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway_devcluster.addresses import API_PORT, FIRST, MOST_NODES, SERVICE_RANGE, Node
from slipway_devcluster.errors import Refusal
from slipway_devcluster.identity import Identity, children, identify

NAMESPACES = ("--net", "--mount", "--pid", "--ipc", "--uts")
_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000


@dataclass(frozen=True)
class Namespaces:
    """The namespaces of a node, which may have ended (see `alive`)."""

    init: Identity
    holder: Identity
    """The `unshare` that waits for `init`, and ends with it."""

    def alive(self) -> bool:
        return self.init.alive()

    @property
    def proc(self) -> Path:
        """The node's own /proc, with the node's own pids."""
        return Path(f"/proc/{self.init.pid}/root/proc")

    def enter_command(self) -> list[str]:
        """The prefix for a command that is to run on the node."""
        return ["nsenter", "--target", str(self.init.pid), *NAMESPACES, "--"]

    def run(self, argv: Sequence[str | Path], *, stdin: bytes | None = None) -> str:
        """Run a short command on the node, and return its output."""
        command = [*self.enter_command(), *map(str, argv)]
        done = subprocess.run(command, input=stdin, capture_output=True, check=False)
        if done.returncode != 0:
            words = done.stderr.decode(errors="replace").strip() or f"exit status {done.returncode}"
            raise Refusal(f"`{shlex.join(map(str, argv))}` failed on the node: {words}")
        return done.stdout.decode(errors="replace")

    def spawn(self, argv: Sequence[str | Path], *, log: Path, env: Mapping[str, str]) -> Identity:
        """Start a process on the node that outlives this one. Its identity has the pid in the node's PID namespace."""
        script = 'log=$1; shift; setsid "$@" >>"$log" 2>&1 </dev/null & echo $!'
        command = [*self.enter_command(), "/bin/sh", "-c", script, "spawn", str(log), *map(str, argv)]
        done = subprocess.run(command, capture_output=True, check=True, text=True, env={**os.environ, **env})
        spawned = identify(int(done.stdout), proc=self.proc)
        if spawned is None:
            raise Refusal(f"{Path(argv[0]).name} ended as soon as it was started; its log is {log}")
        return spawned

    def signal(self, process: Identity, number: signal.Signals) -> None:
        """Send a signal to a process that `spawn` started, unless it has ended."""
        if self.alive() and process.alive(proc=self.proc):
            self.run(["kill", f"-{int(number)}", str(process.pid)])

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """A context in which sockets that this thread creates are in the node's network; they stay there afterwards."""
        home = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            away = os.open(f"/proc/{self.init.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                _set_network(away)
            finally:
                os.close(away)
            try:
                yield
            finally:
                _set_network(home)
        finally:
            os.close(home)

    def destroy(self) -> None:
        """End every process of the node. Safe to repeat."""
        if self.init.alive():
            os.kill(self.init.pid, signal.SIGKILL)
        # `unshare` reaps its child and then ends. If it were killed first, the child would be left as a zombie.
        if not self._has_ended(timeout=10) and self.holder.alive():
            os.kill(self.holder.pid, signal.SIGKILL)
        if not self._has_ended(timeout=10):
            raise Refusal(f"the node's process {self.init.pid} did not end after it was killed; try again")

    def _has_ended(self, *, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while self.init.alive() or self.holder.alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        _collect(self.holder.pid)
        return True


def create(
    *,
    node_program: Path,
    state: Path,
    cache_root: Path,
    port: int | None,
    log: Path,
    record: Callable[[Namespaces], None],
    node: Node = FIRST,
) -> Namespaces:
    """Create the namespaces of a node, whose folder is `state`.

    With a port, the API server on it will be reachable from the host at 127.0.0.1:`port`. Until `record` has returned,
    the node ends with this process, so that every running node is recorded.
    """
    script = setup_script(state=state, cache_root=cache_root, node=node)
    command = ["unshare", *NAMESPACES, "--fork", "--kill-child", "--mount-proc", "/bin/sh", "-c", script, "setup"]
    says, hears = os.pipe(), os.pipe()
    with contextlib.ExitStack() as stack:
        relayed = [] if port is None else [stack.enter_context(_listener(port)).fileno()]
        output, answer = stack.enter_context(log.open("ab")), stack.enter_context(os.fdopen(hears[1], "wb"))
        arguments = [says[1], hears[0], *(argument for file in relayed for argument in (f"{node.ip}:{API_PORT}", file))]
        holder = subprocess.Popen(
            [*command, str(node_program), "init", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(says[1], hears[0], *relayed),
            start_new_session=True,
        )
        os.close(says[1])
        os.close(hears[0])
        with os.fdopen(says[0]) as said:
            ready = said.readline() == "ready\n"  # not until the end of file: `unshare` has the other end open
        if not ready:
            holder.kill()
            holder.wait()
            raise Refusal(f"the node's namespaces could not be created: {_last_line(log)} (the full log is {log})")
        holder.returncode = 0  # it outlives this process, so Python must neither wait for it nor warn about it
        namespaces = _identified(holder.pid)
        record(namespaces)
        answer.write(b"!")
    return namespaces


def link(first: Namespaces, other: Namespaces, node: Node) -> None:
    """Join the network of a further node to the first one's bridge; safe to repeat after the node was made again."""
    # The kernel removes the pair of a node that has ended only after a while.
    first.run(["sh", "-c", f"ip link delete {node.name} 2>/dev/null || true"])
    # In the host's PID namespace, because neither node knows the pid of the other one's processes.
    there = ["nsenter", "--target", str(first.init.pid), "--net", "--"]
    pair = ["ip", "link", "add", node.name, "type", "veth", "peer", "name", "node0", "netns", str(other.init.pid)]
    done = subprocess.run([*there, *pair], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refusal(f"node {node.name} could not be linked with the first one: {done.stderr.strip()}")
    first.run(["ip", "link", "set", node.name, "master", "node0", "up"])
    other.run(["sh", "-euc", _address(node)])


def setup_script(*, state: Path, cache_root: Path, node: Node = FIRST) -> str:
    """The script that sets up new namespaces as a node, which has its own /run and /var: the host's are unchanged."""
    bridge = f"ip link add node0 type bridge\n{_address(node)}" if node == FIRST else "# `link` gives it an address"
    cache, folder = shlex.quote(str(cache_root)), shlex.quote(str(state))
    return f"""set -eu
mount --make-rshared /
hosts_resolv=$(readlink -f /etc/resolv.conf || echo /etc/resolv.conf)
mkdir -p /tmp
cd {cache}
mount -t tmpfs -o mode=755 slipway /run
mount -t tmpfs -o mode=755 slipway /var
mkdir -p {cache} /run/lock /run/containerd /run/netns /var/lib/kubelet /var/log /var/tmp /var/cache
[ -e {cache}/clusters ] || mount --no-canonicalize --bind . {cache}
chmod 1777 /var/tmp
ln -s /run /var/run
mount --bind {folder}/kubelet /var/lib/kubelet
mount --bind {folder}/log /var/log
mkdir -p "$(dirname "$hosts_resolv")"
[ -e "$hosts_resolv" ] || : > "$hosts_resolv"
mount --bind {folder}/resolv.conf "$hosts_resolv"
hostname {node.name}
ip link set lo up
{bridge}
echo 1 > /proc/sys/net/ipv4/ip_forward
echo 0 > /proc/sys/net/ipv4/icmp_ratelimit  # "unreachable" is sent immediately to every client, not to a few per second
cd /
exec "$@"
"""


def _address(node: Node) -> str:
    """Commands that give the node's interface its address, and the routes to Services and to pods of other nodes."""
    others = (Node(number) for number in range(1, MOST_NODES + 1) if number != node.number)
    return "\n".join(
        (
            f"ip address add {node.ip}/24 dev node0",
            "ip link set node0 up",
            f"ip route add {SERVICE_RANGE} dev node0 src {node.ip}",
            *(f"ip route add {other.pod_range} via {other.ip}" for other in others),
        )
    )


def _listener(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        raise Refusal(
            f"port {port} on 127.0.0.1 is taken by another program; end it, or name another port with --port"
        ) from error
    listener.listen(512)
    return listener


def _identified(holder_pid: int) -> Namespaces:
    holder = identify(holder_pid)
    init = identify(children(holder_pid)[0])
    if holder is None or init is None:
        raise Refusal("the node ended as soon as it was created; run `devcluster doctor`")
    return Namespaces(init=init, holder=holder)


def _set_network(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _collect(pid: int) -> None:
    """Reap a child of this process, so that it does not stay a zombie; do nothing for other processes."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it printed nothing"
