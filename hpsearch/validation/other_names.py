"""Names that papers and other libraries have for components, and what they are in a spec."""

from __future__ import annotations

from collections.abc import Mapping

_RESNET = "{name: resnet, depths: [%s], widths: [64, 128, 256, 512], stem: imagenet%s}"

#: family → other names of its components, and what to write in their place
NAMES: Mapping[str, Mapping[str, str]] = {
    "model": {
        "lstm": "{name: rnn, cell: lstm}",
        "gru": "{name: rnn, cell: gru}",
        "bilstm": "{name: rnn, cell: lstm, bidirectional: true}",
        "vae": "{name: autoencoder, variational: true}",
        "variational_autoencoder": "{name: autoencoder, variational: true}",
        "denoising_autoencoder": "{name: autoencoder, corruption: masking}",
        "word2vec": "skip_gram",
        "word2vec_skipgram": "skip_gram",
        "esn": "echo_state",
        "seq2seq": "encoder_decoder",
        "gpt": "transformer",
        "bert": "transformer",
        "deep_image_prior": "image_prior",
        "cascaded_fcn": "cascaded_unet",
        "rntn": "{name: recursive_nn, composition: tensor}",
        "linear": "{name: mlp, hidden_sizes: []}",
        "logistic_regression": "{name: mlp, hidden_sizes: []}",
        "dense": "mlp",
        "convnet": "cnn",
        "pretrained": "from_checkpoint",
        "resnet18": _RESNET % ("2, 2, 2, 2", ", shortcut: project"),
        "resnet34": _RESNET % ("3, 4, 6, 3", ", shortcut: project"),
        "resnet50": _RESNET % ("3, 4, 6, 3", ", block: bottleneck, shortcut: project"),
    },
    "cell": {"elman": "rnn"},
    "task": {
        "char_lm": "language_model",
        "pair_similarity": "pairs",
        "image_restoration": "restoration",
        "binary_classification": "classification",
        "multi_label": "multilabel",
        "stream": "{name: classification, in_order: true}",
        "tagging": "sequence_labelling",
        "seq2seq": "sequence_generation",
    },
    "loss": {
        "ce": "cross_entropy",
        "crossentropy": "cross_entropy",
        "nll": "cross_entropy",
        "bce": "soft_bce",
        "binary_cross_entropy": "soft_bce",
        "mae": "l1",
        "l2": "mse",
        "smooth_l1": "huber",
        "hinge": "l1_svm",
        "squared_hinge": "l2_svm",
    },
    "activation": {
        "linear": "identity",
        "none": "identity",
        "logistic": "sigmoid",
        "lrelu": "leaky_relu",
        "hard_swish": "hardswish",
    },
    "norm": {
        "bn": "batch",
        "batch_norm": "batch",
        "batchnorm": "batch",
        "layer_norm": "layer",
        "layernorm": "layer",
        "rms_norm": "rms",
        "rmsnorm": "rms",
        "group_norm": "group",
        "instance_norm": "instance",
        "weight_norm": "weight",
        "ghost_batch_norm": "ghost_batch",
    },
    "initializer": {
        "glorot": "xavier_uniform",
        "glorot_uniform": "xavier_uniform",
        "glorot_normal": "xavier_normal",
        "xavier": "xavier_uniform",
        "he": "he_normal",
        "kaiming_uniform": "he_uniform",
        "kaiming_normal": "he_normal",
        "lecun": "lecun_normal",
    },
    "optimizer": {"gd": "sgd", "sgd_momentum": "momentum"},
    "lr_schedule": {
        "cosine_annealing": "cosine",
        "cosine_warm_restarts": "cosine_restarts",
        "sgdr": "cosine_restarts",
        "reduce_on_plateau": "plateau",
        "reduce_lr_on_plateau": "plateau",
        "onecycle": "one_cycle",
        "cyclic": "cyclical",
        "clr": "cyclical",
        "linear": "polynomial",
        "time_based": "inverse_time",
        "linear_warmup": "warmup",
    },
    "metric": {"auc": "roc_auc", "auroc": "roc_auc", "f1_score": "f1"},
    "augmentation": {
        "random_crop": "crop",
        "horizontal_flip": "flip",
        "hflip": "flip",
        "rotate": "rotation",
        "random_erasing": "cutout",
    },
    "dropout": {"recurrent": "variational_rnn", "variational": "variational_rnn"},
}

#: (family, name) of what a spec says elsewhere, or what needs no word
ELSEWHERE: Mapping[tuple[str, str], str] = {
    ("regularizer", "weight_decay"): "weight_decay is a keyword of optimizers",
    ("task", "label_smoothing"): "label_smoothing is a keyword of the task classification",
    ("callback", "checkpoint"): "checkpoints are kept without a callback",
    ("callback", "terminate_on_nan"): "a trial ends by itself where its loss isn't finite",
    ("callback", "lr_logger"): "each trial reports the metric lr",
}

#: (family, keyword) of other libraries' components → what to write in its place
KEYWORDS: Mapping[tuple[str, str], str] = {
    ("optimizer", "amsgrad"): "write {name: amsgrad}",
    ("optimizer", "nesterov"): "write {name: nesterov}",
    ("optimizer", "betas"): "write beta1 and beta2",
    ("optimizer", "learning_rate"): "write lr",
}


def hint_of_name(family: str, name: str) -> str:
    """Return what to write for a component that has another name here; empty for others.

    >>> hint_of_name("model", "LSTM")
    'write {name: rnn, cell: lstm}'
    """
    plain = name.strip().lower().replace("-", "_").replace(" ", "_")
    ours = NAMES.get(family, {}).get(plain)
    return ELSEWHERE.get((family, plain), "") if ours is None else f"write {ours}"
