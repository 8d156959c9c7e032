"""Fine-tunes a classifier of sentences, as Hugging Face's run_glue does; the text is generated."""

import random
from dataclasses import dataclass, field

import numpy as np
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    HfArgumentParser,
    Trainer,
    TrainingArguments,
    set_seed,
)

from hpsearch.integrations.transformers import attach

VERDICTS = {0: ["dull", "poor", "awful", "slow"], 1: ["great", "witty", "lovely", "bright"]}
OTHERS = ["the", "film", "was", "and", "a", "plot", "quite", "rather"]
VOCABULARY = ["[PAD]", "[CLS]", *OTHERS, *VERDICTS[0], *VERDICTS[1]]


@dataclass
class ModelArguments:
    hidden_size: int = field(default=16, metadata={"help": "Size of the tiny BERT."})


@dataclass
class DataTrainingArguments:
    max_seq_length: int = field(default=8, metadata={"help": "Longer sentences are cut."})


class Sentences(torch.utils.data.Dataset):
    def __init__(self, num_rows, length, seed):
        rng = random.Random(seed)
        self.rows = [self.make(rng, length) for _ in range(num_rows)]

    @staticmethod
    def make(rng, length):
        label = rng.randrange(2)
        words = [rng.choice(OTHERS) for _ in range(length - 3)]
        words[rng.randrange(len(words)) :] = [rng.choice(VERDICTS[label])]
        ids = [VOCABULARY.index(word) for word in ["[CLS]", *words]]
        padding = [0] * (length - len(ids))
        return {
            "input_ids": ids + padding,
            "attention_mask": [1] * len(ids) + padding,
            "labels": label,
        }

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]


def compute_metrics(prediction):
    labels = np.argmax(prediction.predictions, axis=1)
    return {"accuracy": float((labels == prediction.label_ids).mean())}


def main():
    parser = HfArgumentParser((ModelArguments, DataTrainingArguments, TrainingArguments))
    model_args, data_args, training_args = parser.parse_args_into_dataclasses()
    set_seed(training_args.seed)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=model_args.hidden_size,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=2 * model_args.hidden_size,
        max_position_embeddings=data_args.max_seq_length,
    )
    trainer = Trainer(
        model=BertForSequenceClassification(config),
        args=training_args,
        train_dataset=Sentences(256, data_args.max_seq_length, seed=0),
        eval_dataset=Sentences(64, data_args.max_seq_length, seed=1),
        compute_metrics=compute_metrics,
    )
    trainer.train(resume_from_checkpoint=attach(trainer))
    metrics = trainer.evaluate()
    print(f"eval_loss {metrics['eval_loss']:.6f}")


if __name__ == "__main__":
    main()
