"""A trial on two nodes of a Ray cluster, one of which dies."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from textwrap import dedent

#: two ranks; the first attempt's wait in epoch 3 until the node of rank 1 has died
CODE = """
    import os, time
    from pathlib import Path
    import torch
    import torch.distributed as dist

    def train(config, trial):
        dist.init_process_group("gloo")
        saved = trial.load_checkpoint()
        weight = torch.zeros(1) if saved is None else saved["weight"]
        for epoch in range(trial.epoch + 1, trial.max_epochs + 1):
            if epoch == 3 and trial.rank == 1 and saved is None:
                Path("rank1.tmp").write_text(str(os.getpid()))
                Path("rank1.tmp").rename("rank1")
                while True:
                    time.sleep(0.1)
            target = torch.tensor([float(trial.rank)])
            dist.all_reduce(target)
            weight += config["lr"] * (target / 2 - weight)
            trial.save_checkpoint({"weight": weight}, epoch)
            yield {"weight": weight}
        dist.destroy_process_group()
"""

#: runs the search, and replaces that node
PROGRAM = """
    import os, sys, traceback
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path
    import psutil
    from ray.cluster_utils import Cluster
    from hpsearch.searches import run_search
    from hpsearch.spec import draft_spec
    from hpsearch.validation import check
    from tests.support.polling import wait_until

    def search():
        raw = {
            "name": "nodes",
            "trainable": "train.py:train",
            "space": {"lr": {"choices": [0.5]}},
            "objective": {"metric": "weight"},
            "search": {
                "trials": 1,
                "sampler": "random",
                "early_stopping": {"max_epochs": 4},
            },
            "resources": {"nodes": 2, "launcher": "torchrun"},
        }
        spec = check(draft_spec(raw, folder))
        return run_search(spec, folder / "runs", address=cluster.address).record.trials[0]

    def replace_node():
        wait_until((folder / "rank1").exists, 300)
        rank = psutil.Process(int((folder / "rank1").read_text()))
        raylet = int(rank.environ()["RAY_RAYLET_PID"])
        cluster.remove_node(nodes[raylet], allow_graceful=False)
        rank.wait(120)
        cluster.add_node(num_cpus=1)

    def in_folder():
        others = [each for each in psutil.process_iter(["cwd"]) if each.pid != os.getpid()]
        return [each for each in others if each.info["cwd"] == str(folder)]

    folder = Path(sys.argv[1])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    added = [cluster.add_node(num_cpus=1) for _ in range(2)]
    nodes = {node.all_processes["raylet"][0].process.pid: node for node in added}
    searching = ThreadPoolExecutor().submit(search)
    try:
        replace_node()
        trial = searching.result(300)
    except BaseException:
        traceback.print_exc()
        cluster.shutdown()
        os._exit(1)
    cluster.shutdown()
    wait_until(lambda: not in_folder())
    print(trial.outcome.value, trial.attempts, list(trial.metric("weight").values()), sep="\\n")
"""


def test_a_trial_on_two_nodes_outlives_one(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(dedent(CODE))
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as place:  # paths must be short
        done = subprocess.run(
            [sys.executable, "-c", dedent(PROGRAM), str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "RAY_TMPDIR": place},
        )
    assert done.returncode == 0, done.stderr
    outcome, attempts, curve = done.stdout.splitlines()[-3:]
    assert (outcome, attempts) == ("completed", "2")
    assert eval(curve) == [0.25, 0.375, 0.4375, 0.46875]
