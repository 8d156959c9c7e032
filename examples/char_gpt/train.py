"""A character-level GPT in one file; settings are given as name=value, after nanoGPT's manner."""

import ast
import math
import sys
from pathlib import Path

import torch
import torch.nn as nn
from torch.nn import functional as F

import hpsearch

# -----------------------------------------------------------------------------
out_dir = "out"
init_from = "auto"  # 'scratch', or 'auto': the checkpoint in out_dir if there is one
eval_interval = 10
eval_iters = 4
batch_size = 16
block_size = 16
n_layer = 1
n_head = 2
n_embd = 16
dropout = 0.0
learning_rate = 1e-2
max_iters = 40
warmup_iters = 5
beta2 = 0.99
seed = 1337
config_keys = [k for k, v in globals().items() if isinstance(v, (int, float, str)) and k[0] != "_"]
for arg in sys.argv[1:]:
    key, _, value = arg.partition("=")
    assert key in config_keys, f"unknown setting {key}"
    globals()[key] = value if isinstance(globals()[key], str) else ast.literal_eval(value)
# -----------------------------------------------------------------------------

text = "".join(f"{i} plus {j} is {i + j}. " for i in range(20) for j in range(20))
stoi = {ch: i for i, ch in enumerate(sorted(set(text)))}
data = torch.tensor([stoi[ch] for ch in text])
split = {"train": data[: int(0.9 * len(data))], "val": data[int(0.9 * len(data)) :]}


def get_batch(name, number):
    generator = torch.Generator().manual_seed(seed + number)
    ix = torch.randint(len(split[name]) - block_size, (batch_size,), generator=generator)
    x = torch.stack([split[name][i : i + block_size] for i in ix])
    return x, torch.stack([split[name][i + 1 : i + 1 + block_size] for i in ix])


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(n_embd), nn.LayerNorm(n_embd)
        self.c_attn, self.c_proj = nn.Linear(n_embd, 3 * n_embd), nn.Linear(n_embd, n_embd)
        self.mlp = nn.Sequential(
            nn.Linear(n_embd, 4 * n_embd), nn.GELU(), nn.Linear(4 * n_embd, n_embd)
        )

    def forward(self, x):
        B, T, C = x.shape
        heads = (B, T, n_head, C // n_head)
        q, k, v = (e.view(heads).transpose(1, 2) for e in self.c_attn(self.ln_1(x)).split(C, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=dropout)
        x = x + self.c_proj(y.transpose(1, 2).reshape(B, T, C))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(len(stoi), n_embd), nn.Embedding(block_size, n_embd)
        self.blocks = nn.Sequential(*(Block() for _ in range(n_layer)))
        self.lm_head = nn.Linear(n_embd, len(stoi), bias=False)

    def forward(self, idx, targets):
        x = self.blocks(self.wte(idx) + self.wpe(torch.arange(idx.shape[1])))
        return F.cross_entropy(self.lm_head(x).flatten(0, 1), targets.flatten())


def get_lr(it):
    if it < warmup_iters:
        return learning_rate * (it + 1) / (warmup_iters + 1)
    ratio = (it - warmup_iters) / (max_iters - warmup_iters)
    return learning_rate * (0.1 + 0.45 * (1 + math.cos(math.pi * ratio)))


@torch.no_grad()
def estimate_loss():
    return {
        name: torch.stack([model(*get_batch(name, i)) for i in range(eval_iters)]).mean().item()
        for name in split
    }


torch.manual_seed(seed)
model = GPT()
optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, beta2))
iter_num = 0
ckpt_path = Path(out_dir) / "ckpt.pt"
ckpt_path.parent.mkdir(exist_ok=True)
if init_from == "auto" and ckpt_path.exists():
    checkpoint = torch.load(ckpt_path)
    model.load_state_dict(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    iter_num = checkpoint["iter_num"]
while iter_num < max_iters:
    for group in optimizer.param_groups:
        group["lr"] = get_lr(iter_num)
    loss = model(*get_batch("train", iter_num))
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    iter_num += 1
    if iter_num % eval_interval == 0:
        losses = estimate_loss()
        print(f"step {iter_num}: train loss {losses['train']:.6f}, val loss {losses['val']:.6f}")
        checkpoint = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save({**checkpoint, "iter_num": iter_num}, ckpt_path.with_suffix(".tmp"))
        ckpt_path.with_suffix(".tmp").rename(ckpt_path)
        hpsearch.report(step=iter_num, train_loss=losses["train"], val_loss=losses["val"])
