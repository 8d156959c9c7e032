"""A regression whose parts are chosen by a nested configuration of Hydra's."""

import logging
from pathlib import Path

import hydra
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from sklearn.datasets import load_diabetes

import hpsearch

log = logging.getLogger(__name__)


@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(cfg: DictConfig) -> None:
    log.info("\n%s", OmegaConf.to_yaml(cfg))
    torch.manual_seed(cfg.seed)
    x, y = load_diabetes(return_X_y=True)
    x, y = torch.tensor(x * 20).float(), torch.tensor((y - y.mean()) / y.std()).float()
    model = torch.nn.Sequential(
        torch.nn.Linear(10, cfg.model.width),
        instantiate(cfg.model.activation),
        torch.nn.Linear(cfg.model.width, 1),
    )
    optimizer = instantiate(cfg.optimizer, params=model.parameters())
    saved, first = Path(cfg.trainer.checkpoint), 0
    if saved.exists():
        state = torch.load(saved)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["epoch"]
    for epoch in range(first, cfg.trainer.max_epochs):
        for rows in torch.randperm(350, generator=generator(cfg.seed, epoch)).split(32):
            loss = torch.nn.functional.mse_loss(model(x[rows]).squeeze(1), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            val_loss = torch.nn.functional.mse_loss(model(x[350:]).squeeze(1), y[350:])
        log.info("epoch %d: val_loss %.6f", epoch, val_loss)
        states = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save({**states, "epoch": epoch + 1}, saved.with_suffix(".tmp"))
        saved.with_suffix(".tmp").rename(saved)
        hpsearch.report(epoch=epoch, train_loss=loss, val_loss=val_loss)


def generator(seed: int, epoch: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed + epoch)


if __name__ == "__main__":
    main()
