"""Learns a spiral. It knows nothing of searches: it has no checkpoints and prints its progress."""

import os

import torch

lr = float(os.environ.get("LR", 0.1))
width = int(os.environ.get("WIDTH", 32))
num_epochs = 6

torch.manual_seed(0)
angle = torch.rand(600) * 6
label = torch.randint(2, (600,))
x = torch.stack(
    [angle * torch.cos(angle + 3.14 * label), angle * torch.sin(angle + 3.14 * label)], 1
)
x = x / 6 + 0.02 * torch.randn(600, 2)
net = torch.nn.Sequential(torch.nn.Linear(2, width), torch.nn.Tanh(), torch.nn.Linear(width, 2))
optimizer = torch.optim.Adam(net.parameters(), lr=lr)
for epoch in range(1, num_epochs + 1):
    for rows in torch.randperm(400).split(32):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(x[rows]), label[rows])
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        out = net(x[400:])
    val_loss = torch.nn.functional.cross_entropy(out, label[400:]).item()
    accuracy = (out.argmax(1) == label[400:]).float().mean().item()
    print(f"Epoch {epoch}/{num_epochs} - val_loss: {val_loss:.6f} - val_acc: {accuracy:.4f}")
