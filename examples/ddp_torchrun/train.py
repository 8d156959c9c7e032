"""Data-parallel training, as PyTorch's tutorial of torchrun does it: each rank runs this file."""

import argparse
import os
from pathlib import Path

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

import hpsearch


class Trainer:
    def __init__(self, model, train_data, val_data, optimizer, snapshot_path):
        self.rank = int(os.environ["RANK"])
        self.train_data, self.val_data = train_data, val_data
        self.optimizer = optimizer
        self.snapshot_path = snapshot_path
        self.epochs_run = 0
        if snapshot_path.exists():
            snapshot = torch.load(snapshot_path)
            model.load_state_dict(snapshot["model"])
            optimizer.load_state_dict(snapshot["optimizer"])
            self.epochs_run = snapshot["epochs_run"]
        self.model = DDP(model)

    def _run_epoch(self, epoch):
        self.train_data.sampler.set_epoch(epoch)
        for source, targets in self.train_data:
            self.optimizer.zero_grad()
            torch.nn.functional.cross_entropy(self.model(source), targets).backward()
            self.optimizer.step()

    def _validate(self):
        loss = torch.zeros(2)
        with torch.no_grad():
            for source, targets in self.val_data:
                output = self.model.module(source)
                loss[0] += torch.nn.functional.cross_entropy(output, targets, reduction="sum")
                loss[1] += len(targets)
        dist.all_reduce(loss)
        return (loss[0] / loss[1]).item()

    def _save_snapshot(self, epoch):
        snapshot = {
            "model": self.model.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epochs_run": epoch + 1,
        }
        torch.save(snapshot, self.snapshot_path.with_suffix(".tmp"))
        self.snapshot_path.with_suffix(".tmp").rename(self.snapshot_path)

    def train(self, max_epochs):
        for epoch in range(self.epochs_run, max_epochs):
            self._run_epoch(epoch)
            loss = self._validate()
            if self.rank == 0:
                self._save_snapshot(epoch)
                print(f"Epoch {epoch} | val_loss {loss:.6f}")
            hpsearch.report(epoch=epoch, val_loss=loss, on_stop="raise")


def loader(data, batch_size, shuffle):
    sampler = DistributedSampler(data, shuffle=shuffle)
    return DataLoader(data, batch_size=batch_size, sampler=sampler)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=32, help="of each rank")
    parser.add_argument("--total-epochs", type=int, default=4)
    parser.add_argument("--snapshot", type=Path, default=Path("snapshot.pt"))
    args = parser.parse_args()

    dist.init_process_group("gloo")
    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(x / 16).float(), torch.tensor(y))
    train_set, val_set = (
        torch.utils.data.Subset(data, r) for r in (range(1400), range(1400, 1796))
    )
    model = torch.nn.Sequential(
        torch.nn.Linear(64, args.width), torch.nn.ReLU(), torch.nn.Linear(args.width, 10)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    train_data = loader(train_set, args.batch_size, shuffle=True)
    val_data = loader(val_set, args.batch_size, shuffle=False)
    Trainer(model, train_data, val_data, optimizer, args.snapshot).train(args.total_epochs)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
