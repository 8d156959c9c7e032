"""Trains model.py on data.py."""

import argparse

import lightning as L
from data import WineData
from model import Classifier

from hpsearch.integrations.lightning import attach


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--max_epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    L.seed_everything(args.seed)
    trainer = L.Trainer(
        max_epochs=args.max_epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = Classifier(args.width, args.lr)
    data = WineData(args.batch_size)
    trainer.fit(model, data, ckpt_path=attach(trainer))
    (result,) = trainer.validate(model, data, verbose=False)
    print(f"val_loss {result['val_loss']:.6f}")


if __name__ == "__main__":
    main()
