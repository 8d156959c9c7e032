"""Wine as a LightningDataModule."""

import lightning as L
import torch
from sklearn.datasets import load_wine
from torch.utils.data import DataLoader, TensorDataset


class WineData(L.LightningDataModule):
    def __init__(self, batch_size: int = 32):
        super().__init__()
        self.batch_size = batch_size

    def setup(self, stage: str) -> None:
        x, y = load_wine(return_X_y=True)
        x = torch.tensor((x - x.mean(0)) / x.std(0)).float()
        rows = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
        x, y = x[rows], torch.tensor(y)[rows]
        self.train_set = TensorDataset(x[:120], y[:120])
        self.val_set = TensorDataset(x[120:], y[120:])

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.train_set, batch_size=self.batch_size)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.val_set, batch_size=64)
