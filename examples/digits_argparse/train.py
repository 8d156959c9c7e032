"""Digits by a small convolutional net, as the MNIST scripts that everybody starts from."""

import argparse
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from sklearn.datasets import load_digits
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset

import hpsearch


class Net(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(8 * 3 * 3, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv(x)), 2)
        return F.log_softmax(self.fc(self.dropout(torch.flatten(x, 1))), dim=1)


def train(args, model, train_loader, optimizer, epoch):
    model.train()
    for batch_idx, (data, target) in enumerate(train_loader):
        optimizer.zero_grad()
        loss = F.nll_loss(model(data), target)
        loss.backward()
        optimizer.step()
        if batch_idx % args.log_interval == 0:
            print(f"Train Epoch: {epoch} [{batch_idx}/{len(train_loader)}] Loss: {loss:.4f}")


def test(model, test_loader):
    model.eval()
    test_loss, correct = 0.0, 0
    with torch.no_grad():
        for data, target in test_loader:
            output = model(data)
            test_loss += F.nll_loss(output, target, reduction="sum").item()
            correct += (output.argmax(1) == target).sum().item()
    num_rows = len(test_loader.dataset)
    print(f"Test set: Average loss: {test_loss / num_rows:.6f}, Accuracy: {correct}/{num_rows}")
    return test_loss / num_rows, correct / num_rows


def main():
    parser = argparse.ArgumentParser(description="digits")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--test-batch-size", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--lr", type=float, default=1.0)
    parser.add_argument("--gamma", type=float, default=0.7, help="learning rate decay")
    parser.add_argument("--dropout", type=float, default=0.25)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log-interval", type=int, default=10)
    parser.add_argument("--checkpoint", type=Path, default=None, help="resumed if it exists")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    x, y = (torch.tensor(each) for each in load_digits(return_X_y=True))
    data = TensorDataset(x.float().view(-1, 1, 8, 8) / 16, y)
    train_data, test_data = torch.utils.data.Subset(data, range(1400)), data[1400:]
    train_loader = DataLoader(train_data, batch_size=args.batch_size, shuffle=True)
    test_loader = DataLoader(TensorDataset(*test_data), batch_size=args.test_batch_size)

    model = Net(args.dropout)
    optimizer = optim.Adadelta(model.parameters(), lr=args.lr)
    scheduler = StepLR(optimizer, step_size=1, gamma=args.gamma)
    first_epoch = 1
    if args.checkpoint and args.checkpoint.exists():
        checkpoint = torch.load(args.checkpoint)
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        scheduler.load_state_dict(checkpoint["scheduler"])
        torch.set_rng_state(checkpoint["rng"])
        first_epoch = checkpoint["epoch"] + 1
    for epoch in range(first_epoch, args.epochs + 1):
        train(args, model, train_loader, optimizer, epoch)
        loss, accuracy = test(model, test_loader)
        scheduler.step()
        if args.checkpoint:
            states = {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "scheduler": scheduler.state_dict(),
                "rng": torch.get_rng_state(),
                "epoch": epoch,
            }
            torch.save(states, args.checkpoint.with_suffix(".tmp"))
            args.checkpoint.with_suffix(".tmp").rename(args.checkpoint)
        hpsearch.report(epoch=epoch, val_loss=loss, val_accuracy=accuracy)


if __name__ == "__main__":
    main()
