from __future__ import annotations
import asyncio, random, time, signal
import pytest
from support import trials, converged, faults, operator, installed
from support.fleet import Fleet
from support.faults import *
from support.kube import Kube

@pytest.fixture(scope="module")
def whole_cluster(cluster, tmp_path_factory):
    k = Kube(cluster.kubectl, cluster.kubeconfig, cache_folder=tmp_path_factory.getbasetemp() / "kubectl")
    asyncio.run(installed.install(k, "localhost/none:1"))
    return k

R = random.Random(1)
FAULTS = {
 "429": [Refuses(code=429, retry_after=1, rate=.5, chance=R, on=but_the_lease)],
 "500": [Refuses(code=500, rate=.5, on=but_the_lease, chance=R)],
 "503": [Refuses(code=503, rate=.9, on=but_the_lease, chance=R)],
 "lost": [LosesAnswers(on=writes, rate=.6, chance=R)],
 "short": [CutsShort(rate=.6, chance=R)],
 "cuts": [Cuts(rate=.6, chance=R)],
 "gone": [Expires()],
 "slow": [Delays(seconds=3)],
 "hang": [Hangs(rate=.5, chance=R)],
 "deaf": [Deafens()],
}
@pytest.mark.parametrize("name", FAULTS)
async def test_it(cluster, whole_cluster, kube, tmp_path, name):
    async with trials.replica(cluster.kubeconfig, tmp_path) as r:
        fleet = Fleet(kube, random.Random(1))
        await fleet.create(5)
        print("first", await converged.until_converged(kube, within=60))
        with r.path.broken_by(*FAULTS[name]):
            r.path.cut_watches()
            t = time.monotonic()
            while time.monotonic() < t + 8:
                print(await fleet.change())
                await asyncio.sleep(.3)
        t0 = time.monotonic()
        try:
            print("then", await converged.until_converged(kube, within=150))
            await converged.stays_still(kube, r.path, seconds=3)
            print("unlawful", trials.unlawful_writes(kube.namespace, r.path))
            print("repeated", trials.repeated_writes(kube.namespace, r.path))
        finally:
            for q in r.path.requests:
                if q.fault: print(q)
            print(r.operator.log)
