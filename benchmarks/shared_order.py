"""What the same batches for all lanes would save: `python -m benchmarks.shared_order`.

The first layer of an MLP 784-128-64-10, forward and backward, with the gathering of its inputs: a
batch of its own for each lane, the same batch for all of them, and the same batch as one dense
product (rows, inputs) x (inputs, lanes * outputs) of weights that lie one after another. It is a
bound of what an epoch can gain: the other layers and the optimizers take the same time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping

import torch

from benchmarks.speed import print_circumstances

ROWS, INPUTS, OUTPUTS = 12_000, 784, 128
#: numbers that a lane has beside its first layer's weight
OTHERS = 128 + 128 * 64 + 64 + 64 * 10 + 10
BATCHES = 20


def main() -> None:
    """Print milliseconds a batch, and how many times as fast each is as batches of one's own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shared_order", description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--lanes", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--batch-size", type=int, nargs="+", default=[32, 128])
    arguments = parser.parse_args()
    print_circumstances("benchmarks.shared_order")
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        for num_lanes in arguments.lanes:
            for batch_size in arguments.batch_size:
                found = measured(first_layers(num_lanes, batch_size))
                told = (f"{n} {s * 1e3:.2f} ms, x{found['own'] / s:.2f}" for n, s in found.items())
                print(f"{threads} threads, {num_lanes} lanes of {batch_size}:", "; ".join(told))


def first_layers(num_lanes: int, batch_size: int) -> Mapping[str, Callable[[], None]]:
    """Return a batch of the first layer in each way."""
    data = torch.randn(ROWS, INPUTS)
    size = INPUTS * OUTPUTS
    values, grads = (torch.randn(num_lanes, size + OTHERS) for _ in range(2))
    weight, grad = (each[:, :size].view(num_lanes, OUTPUTS, INPUTS) for each in (values, grads))
    bias = torch.randn(num_lanes, 1, OUTPUTS)
    dense, dense_grad = (torch.randn(num_lanes * OUTPUTS, INPUTS) for _ in range(2))
    by_outputs = torch.randn(num_lanes, batch_size, OUTPUTS)
    by_dense_outputs = torch.randn(batch_size, num_lanes * OUTPUTS)

    def batched(x: torch.Tensor) -> None:
        torch.baddbmm(bias, x, weight.transpose(1, 2))
        torch.bmm(by_outputs.transpose(1, 2), x, out=grad)

    def own() -> None:
        rows = torch.randint(ROWS, (num_lanes * batch_size,))
        batched(data.index_select(0, rows).view(num_lanes, batch_size, INPUTS))

    def shared() -> None:
        rows = torch.randint(ROWS, (batch_size,))
        batched(data.index_select(0, rows).expand(num_lanes, batch_size, INPUTS))

    def one_product() -> None:
        x = data.index_select(0, torch.randint(ROWS, (batch_size,)))
        torch.addmm(bias.flatten(), x, dense.t())
        torch.mm(by_dense_outputs.t(), x, out=dense_grad)

    return {"own": own, "shared": shared, "one product": one_product}


def measured(ways: Mapping[str, Callable[[], None]]) -> dict[str, float]:
    """Return the quickest of some batches of each way, taken in turn."""
    found = dict.fromkeys(ways, float("inf"))
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    for _ in range(BATCHES):
        for name, way in ways.items():
            start = clock()
            way()
            found[name] = min(found[name], clock() - start)
    return found


if __name__ == "__main__":
    main()
