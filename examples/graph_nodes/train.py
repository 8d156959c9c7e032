"""Labels of a graph's nodes by a GCN of plain tensors, after PyTorch Geometric's examples."""

import argparse
import os
import os.path as osp

import torch
import torch.nn.functional as F

import hpsearch

parser = argparse.ArgumentParser()
parser.add_argument("--hidden_channels", type=int, default=16)
parser.add_argument("--lr", type=float, default=0.01)
parser.add_argument("--dropout", type=float, default=0.5)
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--checkpoint", default="gcn.pt")
args = parser.parse_args()


def make_graph(num_nodes=120, num_classes=3):
    """Nodes of a class are linked more often; their features are noisy."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(num_nodes) % num_classes
    probability = torch.where(y[:, None] == y[None], 0.1, 0.01)
    edges = (torch.rand(num_nodes, num_nodes, generator=generator) < probability).triu(1)
    adjacency = (edges | edges.T).float() + torch.eye(num_nodes)
    degree = adjacency.sum(1).rsqrt()
    x = F.one_hot(y).float() + 1.5 * torch.randn(num_nodes, num_classes, generator=generator)
    return x, y, degree[:, None] * adjacency * degree[None]


x, y, adj = make_graph()
train_mask, val_mask = torch.arange(120) < 30, torch.arange(120) >= 60


class GCN(torch.nn.Module):
    def __init__(self, in_channels, hidden_channels, out_channels):
        super().__init__()
        self.lin1 = torch.nn.Linear(in_channels, hidden_channels)
        self.lin2 = torch.nn.Linear(hidden_channels, out_channels)

    def forward(self, x, adj):
        x = F.dropout(x, p=args.dropout, training=self.training)
        x = F.dropout((adj @ self.lin1(x)).relu(), p=args.dropout, training=self.training)
        return adj @ self.lin2(x)


torch.manual_seed(0)
model = GCN(3, args.hidden_channels, 3)
optimizer = torch.optim.Adam(model.parameters(), lr=args.lr, weight_decay=5e-4)


def train():
    model.train()
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x, adj)[train_mask], y[train_mask])
    loss.backward()
    optimizer.step()
    return float(loss)


@torch.no_grad()
def test():
    model.eval()
    out = model(x, adj)
    accuracy = (out.argmax(1) == y)[val_mask].float().mean().item()
    return float(F.cross_entropy(out[val_mask], y[val_mask])), accuracy


start = 1
if osp.exists(args.checkpoint):
    start, states, rng = torch.load(args.checkpoint)
    torch.set_rng_state(rng)
    model.load_state_dict(states[0])
    optimizer.load_state_dict(states[1])
for epoch in range(start, args.epochs + 1):
    loss = train()
    val_loss, val_acc = test()
    print(f"Epoch: {epoch:03d}, Loss: {loss:.4f}, Val: {val_loss:.6f}, Val acc: {val_acc:.4f}")
    states = model.state_dict(), optimizer.state_dict()
    torch.save((epoch + 1, states, torch.get_rng_state()), f"{args.checkpoint}.tmp")
    os.replace(f"{args.checkpoint}.tmp", args.checkpoint)
    hpsearch.report(epoch=epoch, train_loss=loss, val_loss=val_loss, val_accuracy=val_acc)
