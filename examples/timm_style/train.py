"""Trains an image model by name, with many options and a summary.csv, after timm's manner."""

import argparse
import csv
import shutil
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn

MODELS = {}


def register_model(function):
    MODELS[function.__name__] = function
    return function


@register_model
def tiny_cnn(drop):
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(drop), nn.Linear(288, 10)
    )


@register_model
def tiny_convmixer(drop):
    layers = [nn.Conv2d(1, 16, 2, stride=2), nn.GELU(), nn.BatchNorm2d(16)]
    layers += [nn.Conv2d(16, 16, 3, groups=16, padding=1), nn.GELU(), nn.BatchNorm2d(16)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(drop), nn.Linear(256, 10))


def create_optimizer(name, parameters, lr, momentum, weight_decay):
    if name == "sgd":
        return torch.optim.SGD(parameters, lr, momentum=momentum, weight_decay=weight_decay)
    return torch.optim.AdamW(parameters, lr, weight_decay=weight_decay)


def train_one_epoch(epoch, model, data, optimizer, loss_fn, args):
    model.train()
    torch.manual_seed(args.seed + epoch)
    total = 0.0
    for rows in torch.randperm(len(data[0])).split(args.batch_size):
        loss = loss_fn(model(data[0][rows]), data[1][rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(rows)
    return {"loss": total / len(data[0])}


def validate(model, data):
    model.eval()
    with torch.no_grad():
        output = model(data[0])
    top1 = (output.argmax(1) == data[1]).float().mean() * 100
    return {"loss": nn.functional.cross_entropy(output, data[1]).item(), "top1": top1.item()}


def update_summary(epoch, train_metrics, eval_metrics, filename, write_header):
    row = {"epoch": epoch}
    row |= {f"train_{name}": value for name, value in train_metrics.items()}
    row |= {f"eval_{name}": value for name, value in eval_metrics.items()}
    with filename.open("a") as file:
        writer = csv.DictWriter(file, row)
        if write_header:
            writer.writeheader()
        writer.writerow(row)


def save_checkpoint(folder, model, optimizer, scheduler, epoch):
    state = {
        "epoch": epoch,
        "state_dict": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
    }
    torch.save(state, folder / "tmp.pth.tar")
    shutil.move(folder / "tmp.pth.tar", folder / "last.pth.tar")


def main():
    parser = argparse.ArgumentParser(description="PyTorch image training")
    parser.add_argument("--model", default="tiny_cnn", choices=sorted(MODELS))
    parser.add_argument("--drop", type=float, default=0.0, help="dropout rate")
    parser.add_argument("--opt", default="sgd", choices=["sgd", "adamw"])
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--weight-decay", type=float, default=2e-5)
    parser.add_argument("--smoothing", type=float, default=0.1, help="label smoothing")
    parser.add_argument("-b", "--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--output", type=Path, default=Path("output"))
    parser.add_argument("--resume", type=Path, default=None)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16).float().view(-1, 1, 8, 8), torch.tensor(y)
    model = MODELS[args.model](args.drop)
    optimizer = create_optimizer(
        args.opt, model.parameters(), args.lr, args.momentum, args.weight_decay
    )
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)
    start_epoch = 0
    if args.resume is not None and args.resume.exists():
        checkpoint = torch.load(args.resume)
        model.load_state_dict(checkpoint["state_dict"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        scheduler.load_state_dict(checkpoint["scheduler"])
        start_epoch = checkpoint["epoch"] + 1
    args.output.mkdir(parents=True, exist_ok=True)
    loss_fn = nn.CrossEntropyLoss(label_smoothing=args.smoothing)
    for epoch in range(start_epoch, args.epochs):
        data = (x[:1400], y[:1400])
        train_metrics = train_one_epoch(epoch, model, data, optimizer, loss_fn, args)
        eval_metrics = validate(model, (x[1400:], y[1400:]))
        scheduler.step()
        summary = args.output / "summary.csv"
        update_summary(epoch, train_metrics, eval_metrics, summary, not summary.exists())
        print(f"Test: {epoch} Loss: {eval_metrics['loss']:.6f} Acc@1: {eval_metrics['top1']:.2f}")
        save_checkpoint(args.output, model, optimizer, scheduler, epoch)


if __name__ == "__main__":
    main()
