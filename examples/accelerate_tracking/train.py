"""Breast cancer by an MLP with Accelerate: states each epoch, resume and tracking by options."""

import argparse
import os
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from sklearn.datasets import load_breast_cancer
from torch.utils.data import DataLoader, TensorDataset

from hpsearch.integrations.accelerate import ReportTracker


def get_dataloaders(batch_size):
    x, y = load_breast_cancer(return_X_y=True)
    x = torch.tensor((x - x.mean(0)) / x.std(0)).float()
    train_set, eval_set = (
        TensorDataset(x[rows], torch.tensor(y)[rows]) for rows in (slice(450), slice(450, None))
    )
    return DataLoader(train_set, batch_size=batch_size, shuffle=True), DataLoader(eval_set, 64)


def newest_state(output_dir):
    states = output_dir.glob("epoch_*")
    return max(states, default=None, key=lambda path: int(path.name.removeprefix("epoch_")))


def training_function(args):
    accelerator = Accelerator(cpu=True, log_with=ReportTracker())
    accelerator.init_trackers("breast-cancer", vars(args))
    set_seed(args.seed)
    model = torch.nn.Sequential(
        torch.nn.Linear(30, args.width),
        torch.nn.ReLU(),
        torch.nn.Dropout(args.dropout),
        torch.nn.Linear(args.width, 2),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
    train_loader, eval_loader = get_dataloaders(args.batch_size)
    model, optimizer, train_loader, eval_loader = accelerator.prepare(
        model, optimizer, train_loader, eval_loader
    )
    starting_epoch = 0
    if args.resume and (state := newest_state(args.output_dir)) is not None:
        accelerator.load_state(str(state))
        starting_epoch = int(state.name.removeprefix("epoch_")) + 1
    for epoch in range(starting_epoch, args.num_epochs):
        model.train()
        for x, y in train_loader:
            loss = torch.nn.functional.cross_entropy(model(x), y)
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
        model.eval()
        losses = []
        for x, y in eval_loader:
            with torch.no_grad():
                loss = torch.nn.functional.cross_entropy(model(x), y, reduction="none")
            losses.append(accelerator.gather_for_metrics(loss))
        eval_loss = torch.cat(losses).mean().item()
        accelerator.print(f"epoch {epoch}: eval_loss {eval_loss:.6f}")
        accelerator.save_state(str(args.output_dir / "partial"))
        os.replace(args.output_dir / "partial", args.output_dir / f"epoch_{epoch}")
        accelerator.log({"eval_loss": eval_loss}, step=epoch)
    accelerator.end_training()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--num_epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--output_dir", type=Path, default=Path("states"))
    parser.add_argument("--resume", action="store_true")
    training_function(parser.parse_args())


if __name__ == "__main__":
    main()
