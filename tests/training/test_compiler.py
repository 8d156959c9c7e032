"""Trials that share workers do without torch's compiler, which takes long to import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

#: builds, trains, saves and resumes lanes as a worker does
PROGRAM = """
import sys
from pathlib import Path
import hpsearch.tuning.on_ray.preload_lanes
from hpsearch.components import load_data
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer
from hpsearch.training.checkpoints import CheckpointStore, load_checkpoint
from hpsearch.training.lanes import Lanes
from hpsearch.training.lanes.pace import measured_pace

data = load_data({"name": "wine"}, seed=0)
values = {"model": {"name": "mlp", "hidden_sizes": [16], "dropout": 0.1}, "batch_size": 32}
optimizers = [{"name": "sgd", "lr": 0.1, "momentum": 0.9}, {"name": "adamw", "lr": 0.01}]
configs = [
    TrialConfig(number, 0, max_epochs=3, values={**values, "optimizer": optimizers[number % 2]})
    for number in range(4)
]
first, *others = [Trainer(config, data) for config in configs]
measured_pace(first, [1, 2])
lanes = Lanes(fewest=1)
for trainer in (first, *others):
    lanes.join(trainer)
lanes.train_epoch()
store = CheckpointStore(Path(sys.argv[1]), 0)
store.save(1, {"trainer": first.state_dict()})
lanes.leave(first)
again = Trainer(configs[0], data)
again.load_state_dict(load_checkpoint(store.newest())["trainer"])
lanes.join(again)
assert isinstance(lanes.train_epoch()[again], dict), lanes.reasons
assert lanes.num_fused == 8
assert not {"torch._dynamo", "sympy"} & sys.modules.keys()
# by itself one steps as ever
assert again.train_epoch()["train_loss"] > 0
assert "torch._dynamo" in sys.modules
"""


def test_lanes_do_without_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
