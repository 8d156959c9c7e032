"""What keywords need for their effect to be seen, and which can't be seen; each with its reason.

A pattern names keywords as `family.component.keyword`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from tests.support.effect_places import (
    CASCADE,
    CNN,
    DBN,
    DECODER,
    FCN,
    MLP,
    RNN,
    STACKED,
    TRANSFORMER,
)

#: a rate at which training gets worse, and better again
ROUGH = {"optimizer": {"name": "sgd", "lr": 4.0}}
#: ends a stage or a trial after two epochs
STOP = {"name": "early_stopping", "metric": "train_loss", "patience": 1, "min_delta": 1e9}
#: what a component has no default for, and sizes that train fast
NEEDED: dict[str, dict[str, Any]] = {
    "dataset.csv": {"path": "one.csv", "target": "y", "drop": ["said"]},
    "dataset.parquet": {"path": "one.parquet", "target": "y", "drop": ["said"]},
    "dataset.npz": {"path": "one.npz"},
    "dataset.text_csv": {"path": "one.csv", "text": "text", "target": "y", "length": 8},
    "dataset.token_ids": {"path": "one ids.csv", "target": "y"},
    "dataset.fortunes": {"topics": ["law", "love"], "data_dir": "one", "length": 8},
    "dataset.text": {"path": "one.txt", "length": 8},
    "dataset.word_pairs": {"path": "one.txt", "min_count": 1, "subsample": 0},
    "dataset.topic_words": {"sentences": 30},
    "dataset.logic_trees": {"trees": 60, "nodes": 5},
    "dataset.echo": {"sequences": 60, "length": 5},
    "dataset.counting": {"sequences": 60, "length": 5},
    "dataset.adding_problem": {"sequences": 60, "length": 5},
    "dataset.copy_memory": {"sequences": 60, "delay": 2},
    "dataset.patterns": {"num_patterns": 4, "size": 12},
    "dataset.damaged_image": {"size": 8, "repeats": 4},
    "dataset.ucr": {"set": "Waves", "data_dir": "one"},
    "dataset.markov_text": {"characters": 600, "letters": 3, "length": 8},
    "dataset.series": {"path": "one.csv", "target": "a", "lookback": 4},
    "dataset.seasonal_series": {"steps": 200, "period": 6, "lookback": 8},
    "dataset.blobs_segmentation": {"images": 40, "size": 12},
    "dataset.mask_folder": {"path": "one masks", "classes": ["a", "b", "c"]},
    "dataset.fashion_mnist": {"data_dir": "one"},
    "callback.word_analogies": {"path": "one analogies.txt"},
    "callback.word_similarities": {"path": "one similarities.txt"},
    "dataset.keel": {"set": "iris"},
    "dataset.image_text_csv": {
        "path": "one captions.csv",
        "image": "image",
        "text": "text",
        "target": "y",
        "image_size": [4, 5],
        "length": 4,
    },
    "dataset.captioned_shapes": {"images": 60, "size": 8},
    "dataset.image_folder": {"path": "one images", "image_size": [4, 5]},
    "loss.weighted": {"weights": [1.0, 2.0]},
    "metric.top_k_accuracy": {"k": 2},
    "model.mlp": MLP,
    "model.cnn": CNN,
    "model.rnn": RNN,
    "model.encoder_decoder": DECODER,
    "model.fcn": FCN,
    "model.transformer": TRANSFORMER,
    "model.autoencoder": {"hidden_sizes": [4], "code_size": 2},
    "model.dbn": DBN,
    "model.stacked_autoencoder": STACKED,
    "model.echo_state": {"reservoir_size": 12},
    "model.one_neuron_skip": {"hidden_sizes": [8]},
    "model.recurrent_cnn": {"channels": [4, 4], "steps": 1},
    "model.skip_gram": {"width": 4},
    "model.tree_lstm": {"hidden_size": 4},
    "model.recursive_nn": {"hidden_size": 4},
    "model.rbm": {"hidden_size": 4},
    "model.barlow_twins": {"encoder": MLP, "embedding_size": 4, "projector_sizes": [6, 5]},
    "model.siamese": {"embedding_size": 4, "encoder": MLP},
    "model.resnet": {"depths": [1, 1], "widths": [4, 6]},
    "model.densenet": {"depths": [1, 1], "growth": 2},
    "model.convnext": {"depths": [1, 1], "widths": [4, 6], "layer_scale": 0.5},
    "model.vgg": {"depths": [1, 1], "widths": [4, 6], "hidden_sizes": [8]},
    "model.highway": {"width": 6, "depth": 2},
    "model.gmlp": {"width": 6, "hidden_size": 8, "layers": 1},
    "model.snn": {"width": 8, "depth": 2},
    "model.unet": {"base": 4, "depth": 1},
    "model.late_fusion": {"embedding_size": 4, "encoders": {"image": MLP}},
    "model.cascaded_unet": CASCADE,
    "model.image_prior": {"channels": 4, "noise_channels": 3, "depth": 1, "skip_channels": 2},
    "model.conv_autoencoder": {"channels": [4], "code_size": 3},
    "model.efficientnet_lite0": {"image_size": 32},
    "model.from_checkpoint": {"architecture": MLP, "checkpoint": "one.pt"},
    "stage.train": {"epochs": 2},
    "lr_schedule.multistep": {"milestones": [2]},
    "batch_schedule.increase_on_milestone": {"milestones": [2]},
}


@dataclass(frozen=True)
class Context:
    """Keywords and sections that a keyword needs beside it, and values in place of any."""

    keywords: dict[str, Any] = field(default_factory=dict)
    beside: dict[str, Any] = field(default_factory=dict)
    values: tuple[Any, ...] = ()
    #: whether a refusal is what the keyword does
    refuses: bool = False


#: a table without names of columns, or with numbers as such
NUMBERED = {"path": "numbered.csv", "kind": "classification"}


def _of_cells(keyword: str, *columns: str, **context: Any) -> dict[str, Context]:
    """Return what a keyword of tables needs: columns for whose cells it matters."""
    return {
        f"dataset.{name}.{keyword}": Context(
            {"path": f"cells.{name}", "drop": [], "features": columns}, **context
        )
        for name in ("csv", "parquet")
    }


#: with which even the words of a short text make phrases
_PHRASES = {"phrase_threshold": 0.5, "phrase_discount": 1}
#: pattern → what its keyword needs; the first that fits holds
CONTEXTS: dict[str, Context] = {
    "augmentation.jpeg.quality": Context(values=(95,)),
    "augmentation.jpeg.max_quality": Context(values=(95,)),
    "dataset.csv.path": Context(values=("two.csv",)),
    "dataset.csv.separator": Context({"path": "both.csv", "drop": []}, values=(";",)),
    "dataset.text_csv.path": Context(values=("two.csv",)),
    "dataset.image_text_csv.path": Context(values=("two captions.csv",)),
    "dataset.image_text_csv.image": Context(values=("other",)),
    "dataset.image_text_csv.image_size": Context(values=(3, [5, 4])),
    "dataset.image_text_csv.text": Context(values=("said",)),
    "dataset.image_text_csv.words": Context(values=(2,)),
    "dataset.image_text_csv.separator": Context(values=(";",), refuses=True),
    "dataset.image_text_csv.header": Context(values=(False,), refuses=True),
    "dataset.image_text_csv.na_values": Context(values=(["more"],), refuses=True),
    "model.late_fusion.encoders": Context(values=({"image": {**MLP, "activation": "tanh"}},)),
    "model.late_fusion.mc_dropout_samples": Context(
        {"encoders": {"image": {**MLP, "dropout": 0.5}}}
    ),
    "dataset.text.path": Context(values=("two.txt",)),
    "dataset.word_pairs.path": Context(values=("two.txt",)),
    "dataset.word_pairs.phrases": Context(_PHRASES),
    "dataset.word_pairs.phrase_threshold": Context({**_PHRASES, "phrases": 1}, values=(1e6,)),
    "dataset.word_pairs.phrase_discount": Context({**_PHRASES, "phrases": 1}, values=(100,)),
    "dataset.word_pairs.window": Context(values=(1,)),
    "dataset.word_pairs.min_count": Context(values=(20,)),
    "dataset.word_pairs.subsample": Context(values=(0.1,)),
    "dataset.text_csv.text": Context(values=("said",)),
    "dataset.text_csv.separator": Context({"path": "both.csv"}, values=(";",)),
    "dataset.parquet.path": Context(values=("two.parquet",)),
    "dataset.series.path": Context(values=("two.csv",)),
    "dataset.series.target": Context(values=("b", ["a", "b"])),
    "dataset.series.features": Context(values=(["b"],)),
    "dataset.series.time": Context(values=("day",), refuses=True),  # its days are in no order
    "dataset.series.separator": Context({"path": "both.csv", "target": "y"}, values=(";",)),
    "dataset.series.decimal": Context(
        {"path": "cells.csv", "target": "point"}, values=(",",), refuses=True
    ),
    "dataset.series.thousands": Context(
        {"path": "cells.csv", "target": "comma"}, values=(",",), refuses=True
    ),
    "dataset.series.dates": Context(values=(["a"],), refuses=True),  # it has numbers
    "dataset.series.encoding": Context(values=("utf-16",), refuses=True),
    "dataset.*.horizon": Context(values=(3, [1, 3])),
    "dataset.*.target": Context(values=("z",)),
    "dataset.*.drop": Context(values=(["said", "c"], "auto")),
    "dataset.*.features": Context(values=(["a", "b"],)),
    "dataset.csv.header": Context({**NUMBERED, "target": "2", "drop": []}),
    "dataset.text_csv.header": Context({**NUMBERED, "target": "2", "text": "1"}),
    "dataset.*.encoding": Context(values=("latin-1",)),
    # numbers that are written in another way than the keywords say are refused
    **_of_cells("decimal", "point", refuses=True),
    **_of_cells("thousands", "comma", "space", "quote", refuses=True),
    # so are missing values
    **_of_cells("na_values", "code", "unknown", values=(["?"],), refuses=True),
    **_of_cells("missing", "hole", refuses=True),
    "dataset.text_csv.na_values": Context(values=(["more"],), refuses=True),
    **_of_cells("dates", "iso", values=({"iso": "%Y-%d-%m"},)),
    **_of_cells("categories", "code", values=(["code"],)),
    "dataset.*.group": Context(values=("who",)),
    "dataset.*.time": Context(values=("day",)),
    "dataset.npz.path": Context(values=("two.npz",)),
    "dataset.npz.x": Context(values=("x2",)),
    "dataset.npz.y": Context(values=("y2",)),
    "dataset.npz.x_val": Context({"x_val": "x", "y_val": "y"}, values=("x2",)),
    "dataset.npz.y_val": Context({"x_val": "x", "y_val": "y"}, values=("y2",)),
    "dataset.npz.x_test": Context({"x_test": "x", "y_test": "y"}, values=("x2",)),
    "dataset.npz.y_test": Context({"x_test": "x", "y_test": "y"}, values=("y2",)),
    "dataset.npz.groups": Context(values=("who",)),
    "dataset.npz.num_tokens": Context({"x": "ids"}, values=(9,)),
    "dataset.npz.padding_id": Context({"x": "ids", "num_tokens": 9}, values=(8,)),
    "dataset.token_ids.path": Context(values=("two ids.csv",)),
    "dataset.token_ids.ids": Context(values=("others",)),
    "dataset.token_ids.num_tokens": Context(values=(9,)),
    "dataset.token_ids.length": Context(values=(2,)),
    "dataset.token_ids.separator": Context(values=(";",), refuses=True),
    "dataset.fortunes.topics": Context(values=(["law", "work"],)),
    "dataset.*.data_dir": Context(values=("two",)),
    "dataset.image_folder.path": Context(values=("two images",)),
    "dataset.image_folder.image_size": Context(values=(3, [5, 4])),
    "dataset.mask_folder.path": Context(values=("two masks",)),
    "dataset.mask_folder.classes": Context(values=(["a", "b", "d"],)),
    "dataset.mask_folder.ignore": Context(values=(2,), refuses=True),
    "dataset.ucr.set": Context(values=("Ramps",)),
    "dataset.patterns.damage": Context(values=(0.4,)),
    "dataset.damaged_image.path": Context(values=("one images/cat/000.png",)),
    "dataset.damaged_image.known": Context({"damage": "holes"}),
    "dataset.damaged_image.quality": Context({"damage": "jpeg"}, values=(90,)),
    "dataset.damaged_image.spacing": Context({"damage": "grid"}),
    "dataset.keel.set": Context(values=("glass0",)),
    "dataset.keel.missing": Context({"set": "cleveland-0_vs_4"}, values=("drop",), refuses=True),
    "dataset.logic_gate.stratify": Context({"gate": "xor", "train_rows": 2}),
    "task.[fls]*.metrics": Context(values=(["mcc"], ["tests.support.effects:greatest_error"])),
    "task.multioutput.weights": Context(values=({"way": 3.0},)),
    "task.multilabel.head": Context({"loss": "tests.support.effects:squares"}, values=("svm",)),
    "task.*.head": Context({"loss": "tests.support.effects:squares"}),
    "model.mlp.depth": Context({"hidden_sizes": [8]}, values=(2,)),
    "model.cnn.skip": Context({"channels": [4, 4]}),
    "model.mlp.skip": Context({"hidden_sizes": [8, 8]}),
    "model.mlp.norm_position": Context({"hidden_sizes": [8, 8], "norm": "layer"}),
    "model.cnn.norm_position": Context({"channels": [4, 4], "norm": "layer"}),
    "model.from_checkpoint.architecture": Context(values=({**MLP, "activation": "tanh"},)),
    "model.from_checkpoint.checkpoint": Context(values=("two.pt",)),
    "model.from_checkpoint.mc_dropout_samples": Context({"architecture": {**MLP, "dropout": 0.5}}),
    "model.cnn.mc_dropout_samples": Context({"dropout": 0.5}),
    "model.rnn.mc_dropout_samples": Context({"dropout": 0.5}),
    "model.encoder_decoder.encoder": Context(values=({**RNN, "cell": "gru"},)),
    "model.encoder_decoder.mc_dropout_samples": Context({"encoder": {**RNN, "dropout": 0.5}}),
    "model.encoder_decoder.teacher_forcing_decay": Context(values=(0.5,)),
    "model.fcn.mc_dropout_samples": Context({"dropout": 0.5}),
    "model.mlp.mc_dropout_samples": Context({"dropout": 0.5}),
    "model.transformer.mc_dropout_samples": Context({"dropout": 0.5}),
    "model.*.corruption_rate": Context({"corruption": "masking"}),
    "model.*.draws": Context({"variational": True}, values=(3,)),
    "task.reconstruction.bound": Context({"likelihood": "gaussian"}),
    "task.pairs.loss": Context(values=("pair_hinge",)),
    "model.barlow_twins.encoder": Context(values=({**MLP, "activation": "tanh"},)),
    "model.barlow_twins.mc_dropout_samples": Context({"encoder": {**MLP, "dropout": 0.5}}),
    "model.siamese.encoder": Context(values=({**MLP, "activation": "tanh"},)),
    "model.siamese.mc_dropout_samples": Context({"encoder": {**MLP, "dropout": 0.5}}),
    "task.forecasting.stateful": Context(beside={"batch_size": 2}),
    "task.forecasting.history": Context(values=(2,)),
    # its rows don't follow each other
    "task.sequence_labelling.stateful": Context(values=(True,), refuses=True),
    "model.rnn.p_embed": Context(values=(0.5,), refuses=True),  # of numbers
    "model.transformer.p_embed": Context(values=(0.5,), refuses=True),
    "model.unet.padding": Context(values=("valid",), refuses=True),  # of so small images
    # of tokens, and of images
    "model.rnn.mask_value": Context(values=(0.0,), refuses=True),
    "model.transformer.mask_value": Context(values=(0.0,), refuses=True),
    "model.transformer.causal": Context(values=(False,), refuses=True),
    "model.transformer.width": Context(values=(16,)),
    "model.*.chains": Context({"persistent": True}),
    "norm.streaming.gradient_*": Context({"gradient": "mixed"}),
    "norm.ghost_batch.virtual_batch": Context(values=(4,)),
    "initializer.he_uniform.by_gate": Context({"mode": "fan_out"}),
    "initializer.keras_default.by_gate": Context({"by_gate": False}),
    "optimizer.lbfgs.decay_biases": Context({"max_iter": 1}),  # more would magnify rounding
    "optimizer.perceptron_rule.decay_biases": Context(),
    "optimizer.rprop.decay_biases": Context(),
    "optimizer.*.decay_biases": Context({"weight_decay": 0.5}),
    "optimizer.asgd.t0": Context({"t0": 6.0}, values=(0.0,)),
    "optimizer.asgd.alpha": Context({"lambd": 1.0}),
    "optimizer.sgd.dampening": Context({"momentum": 0.9}),
    "weight_averaging.ema.decay": Context({"warmup": False}),
    "weight_averaging.swa.every": Context({"start": 0.0}, values=(2,)),
    "lr_schedule.cyclical.mode": Context({"half_cycle": 0.5}),
    "lr_schedule.step.gamma": Context({"step_size": 1}),
    "lr_schedule.plateau.metric": Context({"patience": 0}, ROUGH),
    "lr_schedule.plateau.mode": Context({"patience": 0}),
    "lr_schedule.plateau.threshold": Context({"patience": 0}, values=(1.0,)),
    "lr_schedule.plateau.patience": Context({"threshold": 1.0}),
    "lr_schedule.plateau.*factor": Context({"threshold": 1.0, "patience": 0}),
    "batch_schedule.*.max_batch_size": Context(values=(24,)),
    "lr_scaling.*.regime_adaptation": Context({"base_batch_size": 8}),
    "lr_scaling.none.base_batch_size": Context({"regime_adaptation": True}, values=(8,)),
    "gradient_clip.norm.max_norm": Context(values=(0.1,)),
    "constraint.max_norm.c": Context(values=(0.5,)),
    "callback.word_analogies.path": Context(values=("two analogies.txt",)),
    "callback.word_similarities.path": Context(values=("two similarities.txt",)),
    "callback.early_stopping.min_delta": Context({"patience": 1}),
    "callback.early_stopping.m*": Context({"patience": 2}, ROUGH),
    "callback.early_stopping.*": Context(beside=ROUGH),
    "finetune.subset.fraction": Context(values=(0.75,)),
    "finetune.subset.classes": Context(values=(["class_0", "class_2"],)),
    "finetune.subset.metric": Context(values=("loss",)),
    "stage.train.lr_schedule": Context(values=("cosine",)),
    "stage.train.callbacks": Context({"epochs": 3}, values=([{**STOP}],)),
    "stage.train.task": Context(values=({"name": "classification", "label_smoothing": 0.4},)),
    "sampler.auto.random_fraction": Context(values=(1.0,)),
    "sampler.cmaes.population_size": Context(values=(5,)),
    "sampler.gp.n_startup_trials": Context(values=(12,)),  # each trial after them takes a fit
    "sampler.nsga2.population_size": Context(values=(10,)),
    "sampler.pb2.hyperparam_mutations": Context(values=(["x"],)),
    "sampler.pbt.resample_probability": Context(values=(1.0,)),
    "sampler.pbt.hyperparam_mutations": Context(values=(["x"],)),
    "sampler.tpe.n_ei_candidates": Context(values=(2,)),
}

#: pattern, with `@place` where it holds there alone → why changing the keyword changes nothing
UNSEEN: dict[str, str] = {
    "callback.step_times.batches": "times are never the same; test_step_times.py counts them",
    "dataset.*.layout": "refused: these are no images; test_layouts.py sees it",
    "dataset.*text.[ks]*": "refused: windows of a series are split by time; "
    "test_sequences.py sees it",
    "dataset.*text.*_rows": "refused: steps are split, not rows; test_sequences.py sees it",
    **{
        f"dataset.{name}.{keyword}": f"refused: {why}; test_series.py sees it"
        for name in ("*series", "elnino")
        for keyword, why in {
            "kind": "series are for forecasting",
            "s[pt][lr]*": "windows of a series are split by time",
            "*_rows": "steps are split, not rows",
        }.items()
    },
    **{
        f"dataset.{name}.{keyword}": f"refused: {why}; test_word_embedding.py sees it"
        for name in ("word_pairs", "topic_words")
        for keyword, why in {
            "kind": "pairs are for word vectors",
            "s[pt][lr]*": "words of a text are split in their order",
            "*_rows": "words are split, not rows",
            "standardize": "ids of words aren't quantities",
        }.items()
    },
    "dataset.blobs_segmentation.stratify": "pixels have classes, images none",
    "dataset.mask_folder.stratify": "pixels have classes, images none",
    "dataset.nuclei.stratify": "pixels have classes, images none",
    "dataset.sea.stratify": "refused: rows are split by time",
    "dataset.diabetes.stratify": "numbers have no classes",
    "dataset.logic_gate.*_fraction": "refused: it has a val and a test split of its own",
    "dataset.logic_gate.folds": "refused: it has a val split of its own",
    "dataset.logic_gate.split": "refused: it has a val and a test split of its own",
    "dataset.fashion_mnist.test_fraction": "refused: it has a test split of its own",
    "dataset.image_folder.cache": "where decoded images are kept; test_image_folder.py sees it",
    "dataset.image_text_csv.standardize": "inputs are of several kinds; true is refused",
    "dataset.captioned_shapes.standardize": "inputs are of several kinds; true is refused",
    "dataset.text_csv.standardize": "ids of word pieces aren't quantities; true is refused",
    "dataset.token_ids.standardize": "ids aren't quantities; true is refused",
    "dataset.fortunes.standardize": "ids of word pieces aren't quantities; true is refused",
    "task.*.in_order": "refused: rows are drawn; test_in_order.py sees it",
    "task.regression.head": "numbers have one head, linear",
    "metric.roc_auc.multi_class@labels": "refused: labels have no pairs of classes",
    "norm.streaming.gradient_short": "a trial has one pass an update: the short-term gradient is "
    "that of the pass",
    "model.dbn.mc_dropout_samples": "refused: it has no dropout",
    "model.stacked_autoencoder.mc_dropout_samples": "refused: it has no dropout",
    "model.echo_state.mc_dropout_samples": "refused: it has no dropout",
    "model.recurrent_cnn.mc_dropout_samples": "refused: it has no dropout",
    "model.skip_gram.mc_dropout_samples": "refused: it has no dropout",
    "model.recursive_nn.mc_dropout_samples": "refused: it has no dropout",
    "model.tree_lstm.mc_dropout_samples": "refused: it has no dropout",
    "dataset.logic_trees.standardize": "numbers of nodes aren't quantities; true is refused",
    "dataset.adding_problem.standardize": "marks aren't quantities; true is refused",
    "dataset.adding_problem.stratify": "numbers have no classes",
    "dataset.copy_memory.standardize": "one-hot symbols aren't quantities; true is refused",
    "dataset.copy_memory.stratify": "steps have classes, sequences none",
    "dataset.counting.standardize": "one-hot symbols aren't quantities; true is refused",
    "dataset.counting.stratify": "steps have classes, sequences none",
    "dataset.patterns.standardize": "values are -1 and 1; true is refused",
    "dataset.patterns.*_fraction": "refused: it has a val and a test split of its own",
    "dataset.patterns.folds": "refused: it has a val split of its own",
    "dataset.patterns.split": "refused: it has a val and a test split of its own",
    "dataset.patterns.stratify": "patterns have no classes",
    "model.hopfield.mc_dropout_samples": "refused: it has no dropout",
    "dataset.damaged_image.standardize": "values are from 0 to 1, as outputs are; true is refused",
    "dataset.damaged_image.*_fraction": "refused: it has a val and a test split of its own",
    "dataset.damaged_image.val_rows": "it has one image in that split",
    "dataset.damaged_image.kind": "refused: images without classes are for image_prior",
    "dataset.damaged_image.folds": "refused: it has a val split of its own",
    "dataset.damaged_image.split": "refused: it has a val and a test split of its own",
    "dataset.damaged_image.stratify": "images have no classes",
    "dataset.ucr.test_fraction": "refused: it has a test split of its own",
    "model.image_prior.mc_dropout_samples": "refused: it has no dropout",
    "dataset.echo.standardize": "one-hot symbols aren't quantities; true is refused",
    "dataset.echo.stratify": "steps have classes, sequences none",
    "model.rbm.mc_dropout_samples": "refused: it has no dropout",
    "model.conv_autoencoder.mc_dropout_samples": "refused: it has no dropout",
    "model.highway.mc_dropout_samples": "refused: it has no dropout",
    "model.resnet.mc_dropout_samples": "refused: it has no dropout",
    "model.unet.mc_dropout_samples": "refused: it has no dropout",
    "model.cascaded_unet.mc_dropout_samples": "refused: it has no dropout",
    "model.transformer.causal@digits": "false already; test_padding.py sees true",
    "model.transformer.readout@tokens": "each token has outputs",
    "model.gmlp.patch_size@[wt]*": "rows of a table have no patches",
    "model.autoencoder.mc_dropout_samples": "refused: it has no dropout",
    "model.perceptron.mc_dropout_samples": "refused: it has no dropout",
    "initializer.*.recurrent@[cmt]*": "no layer is recurrent",
    "initializer.*.embedding@[cmr]*": "there is no embedding",
    "initializer.*.by_gate@[cmt]*": "no layer is recurrent",
    "initializer.lecun_uniform.by_gate": "a gate has all inputs, and draws follow each other",
    "initializer.torch_default.by_gate": "nothing is drawn",
    "initializer.uniform.by_gate": "the shape doesn't matter",
    "initializer.zeros.by_gate": "the shape doesn't matter",
    "initializer.*.forget_bias@[cmt]*": "no layer is an LSTM",
    "optimizer.lars.decay_biases": "biases are never decayed",
    "optimizer.lbfgs.decay_biases": "it has no weight decay",
    "optimizer.perceptron_rule.decay_biases": "it has no weight decay",
    "optimizer.rprop.decay_biases": "it has no weight decay",
}

#: pattern → named values that mean the same
SAME: dict[str, tuple[Any, ...]] = {
    "model.*.norm": ("batch", "ghost_batch"),  # batches are smaller than a part
    "dataset.sea.split": ("auto", "chronological"),
    "dataset.*.split": ("auto", "random"),  # where nothing says of groups or of time
    "dataset.diabetes.kind": ("auto", "regression"),
    "dataset.adding_problem.kind": ("auto", "regression"),
    "dataset.*.kind": ("auto", "classification"),  # of whole numbers and texts
    "lr_schedule.plateau.mode": (None, "min"),  # of losses
    "callback.early_stopping.mode": (None, "min"),
}


#: components that do the same without keywords where they are seen → why
ALIKE: dict[str, str] = {
    "dataset: csv parquet": "the same table",
    "model: dbn rbm": "of one layer",
    "loss: cross_entropy soft_ce": "the data has shares of classes",
    "metric: kl_to_labels log_loss": "the entropy of classes is 0",
    "activation: celu elu": "alpha is 1",
    "norm: batch ghost_batch": "the batch is smaller than a part",
    "dropout: spatial standard": "vectors have channels of one value",
    "initializer: keras_default xavier_uniform": "no layer is recurrent",
    "optimizer: adam amsgrad": "mean squares grow at first",
    "lr_schedule: constant plateau": "patience is longer than the trial",
    "lr_schedule: constant step": "the step is longer than the trial",
    "lr_schedule: plateau step": "both as constant",
    "gradient_clip: norm value": "the gradient is smaller than both",
    "callback: early_stopping recalibrate_bn": "every epoch is better, and no norm is batch norm",
    "finetune: feature_extract freeze": "of two groups one is trained",
    "finetune: feature_extract partial": "one group is trained",
    "finetune: freeze partial": "of two groups one is trained",
    "sampler: nsga2 random": "the first population is drawn at random",
}

#: sections that name no component → values
PLAIN: dict[str, tuple[Any, ...]] = {
    "batch_size": (10, 16, "full"),
    "last_batch": ("keep", "drop", "pad", "wrap"),
}
UNSEEN_SECTIONS: dict[str, str] = {
    "accumulate": "the same gradient in parts; test_precision.py sees them",
}
#: fields of a trial → another value
FIELDS: dict[str, Any] = {
    "number": 1,
    "seed": 1,
    "draws_of": 1,
    "max_epochs": 3,
    "precision": "bf16",
}
UNSEEN_FIELDS: dict[str, str] = {
    "metric": "what a training function must report",
    "other_metrics": "what else a trial must report, for objectives and constraints",
    "trainable": "a training function in place of all sections",
    "command": "a script in place of all sections",
    "metrics": "where those of a script come from",
    "process_launcher": "what starts the processes of a script",
    "nodes": "the nodes of a script",
    "processes": "those of a script",
    "compile": "the same computation by another program",
    "loader": "the same rows; test_loader.py sees who reads them",
    "device_type": "the same computation by another device",
    "cpu": "what is asked of the cluster",
    "gpu": "what is asked of the cluster",
    "folder": "where files are; seen by the keywords that name some",
    "code": "the copy that the user's code is imported from",
    "checkpoint_every": "when states are saved",
    "checkpoint_at": "when states are saved",
    "copied_epochs": "those of another trial's checkpoint; seen by test_copied.py",
    "copied_values": "those of the trial that it is a copy of; seen by test_copied.py",
}


def first_pattern(table: Mapping[str, Any], name: str) -> str:
    """Return the first pattern of a table that a name fits, with or without its place; or ""."""
    names = (name, name.partition("@")[0])
    fitting = (each for each in table if any(fnmatchcase(name, each) for name in names))
    return next(fitting, "")
