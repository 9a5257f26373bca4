"""The state of a cluster survives between two commands, and a broken file means no cluster instead of a crash."""

from pathlib import Path

import pytest
from slipway_devcluster import record as records
from slipway_devcluster.components import Component
from slipway_devcluster.identity import Identity
from slipway_devcluster.namespaces import Namespaces
from slipway_devcluster.record import Record, Running

PROCESS = Identity(pid=7, start_ticks=8, boot_id="b")


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    written = Record(
        "dev",
        16443,
        "slipway-dev-123456",
        gpu_nodes="h100:2",
        programs={"kubectl": "/k"},
        nodes=2,
        namespaces=Namespaces(init=PROCESS, holder=PROCESS),
        further={"slipway-2": Namespaces(init=PROCESS, holder=PROCESS)},
        components={
            "etcd": Running(Component("etcd", ["etcd", "--flag"]), PROCESS),
            "kubelet.slipway-2": Running(Component("kubelet.slipway-2", ["kubelet"]), PROCESS, "slipway-2"),
        },
        phases={"ready": 11.5},
        ready=True,
    )

    written.write(tmp_path)

    assert records.read(tmp_path) == written


def test_without_a_record_there_is_no_cluster(tmp_path: Path) -> None:
    assert records.read(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "dev"}', '{"unknown": 1, "components": {}}'])
def test_a_damaged_record_means_no_cluster(tmp_path: Path, text: str) -> None:
    (tmp_path / "cluster.json").write_text(text)

    assert records.read(tmp_path) is None
