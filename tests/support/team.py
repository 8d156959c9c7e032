"""A service without a cluster, and a client for each of its users."""

from __future__ import annotations

import hashlib
import io
import zipfile
from typing import Any

from fastapi.testclient import TestClient

from hpsearch.analysis.plain import plain_summary
from hpsearch.outcome import CheckWarning, Outcome
from hpsearch.record import Record
from hpsearch.service.app import create_app
from hpsearch.service.core import Service
from hpsearch.service.database.search_table import SearchRow
from tests.support.specs import make_spec

API = "/api/v1"


class Team:
    """A service without a cluster, and a client for each of its users."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.app = create_app(service)
        self.anyone = self._client({})
        self.ann, self.bob, self.admin, self.viewer = (
            self._client({"Authorization": f"Bearer {service.tokens.create(name, role)}"})
            for name, role in (
                ("ann", "user"),
                ("bob", "user"),
                ("root", "admin"),
                ("eve", "viewer"),
            )
        )

    def _client(self, headers: dict[str, str]) -> TestClient:
        return TestClient(self.app, headers=headers, raise_server_exceptions=False)

    def add(self, name: str, owner: str = "ann", **values: Any) -> SearchRow:
        """Put a search into the table, whose spec nobody checks."""
        row = SearchRow(name, owner, make_spec(name=name).to_yaml(), **values)
        return self.service.table.add(row)[0]

    def add_finished(self, name: str, trials: int = 3, **sections: Any) -> Record:
        """Put a search with a record into the table."""
        spec = make_spec(name=name, search={"trials": trials}, **sections)
        folder = self.service.runs.create(spec)
        record = folder.take_over()
        for number in range(trials):
            lr = {"optimizer": "sgd", "optimizer.sgd.lr": 0.1, "batch_size": 32}
            record.add_trial({"model.dropout": 0.3 * number / trials, **lr})
            record.start_attempt(number)
            record.note_warnings(number, [CheckWarning("symmetry", "all alike")] if number else [])
            for epoch in (1, 2, 3):
                record.report(number, epoch, {"val_accuracy": 0.5 + 0.1 * number + 0.01 * epoch})
            record.set_checkpoint(number, f"trial-{number}/3.pt")
            record.end_trial(number, Outcome.COMPLETED)
        record.end("finished")
        best = folder.checkpoints / f"trial-{trials - 1}" / "3.pt"
        best.parent.mkdir()
        best.write_bytes(b"weights")
        (folder.path / "driver.log").write_text("one line\nanother\n")
        summary = plain_summary(record)
        self.add(name, desired="running", actual="finished", summary=summary)
        return record


def upload(client: TestClient, **files: str) -> str:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(f"{name}.py", text)
    code_hash = hashlib.sha256(content.getvalue()).hexdigest()
    answer = client.put(f"{API}/code/{code_hash}", content=content.getvalue())
    assert answer.status_code == 201, answer.text
    return code_hash
