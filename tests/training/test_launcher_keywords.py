"""The keywords of a launcher are sections of its author's: searched and checked as others are."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import jsonschema
import pytest

from hpsearch import registry, run_search
from hpsearch.catalogue import place_of
from hpsearch.components import Data
from hpsearch.errors import SpecError
from hpsearch.integrity.check import check_search
from hpsearch.runs import Runs
from hpsearch.schema import json_schema
from hpsearch.space import SearchSpace
from hpsearch.spec import COMPONENT_SECTIONS, SearchSpec, TrialConfig, draft_spec, load_yaml
from hpsearch.training import Trainer, launch, make_trainer
from hpsearch.training.launchers import exports_model
from hpsearch.user_code import code_hashes
from hpsearch.validation import check
from tests.support.examples import ROOT
from tests.support.specs import changed, make_spec
from tests.support.trainers import goes_on_bit_for_bit

PAGE = (ROOT / "docs" / "how-to" / "own-component.md").read_text()
DECAYING = {"name": "decaying", "std": {"low": 0.1, "high": 1.0, "log": True}}
NOISE = {"choices": [{"name": "constant", "std": {"low": 0.0, "high": 0.5}}, DECAYING]}


pytestmark = pytest.mark.usefixtures("own_registry")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the launcher of the page, forgotten after the test."""
    code = re.search(r"`launch.py`:\n\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert code is not None
    (tmp_path / "launch.py").write_text(code[1])
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("launch", None)


def noisy(noise: Any = NOISE, **keywords: Any) -> dict[str, Any]:
    return {"name": "launch.py:noisy", "noise": noise, **keywords}


def checked(folder: Path, launcher: Any) -> SearchSpec:
    return check(draft_spec(changed(launcher=launcher), folder))


def problems(folder: Path, launcher: Any) -> list[str]:
    with pytest.raises(SpecError) as caught:
        checked(folder, launcher)
    return [str(each) for each in caught.value.problems]


def test_are_hyperparameters(folder: Path) -> None:
    spec = checked(folder, noisy())
    names = [name for name in SearchSpace.of(spec).distributions if name.startswith("launcher")]
    assert names == [
        "launcher.noise",
        "launcher.noise.constant.std",
        "launcher.noise.decaying.std",
    ]
    assert spec.to_dict()["launcher"] == noisy()
    assert list(code_hashes(spec)) == ["launch.py"]


def test_train_the_model_of_the_sections(folder: Path, wine: Data) -> None:
    def config(**noise: Any) -> TrialConfig:
        values = {
            "model": {"name": "mlp", "hidden_sizes": [8]},
            "optimizer": {"name": "sgd", "lr": 0.1},
            "batch_size": 32,
            "launcher": noisy(noise),
        }
        return TrialConfig(0, 0, 4, values, folder=str(folder))

    def trainer(**noise: Any) -> Trainer:
        made = launch(config(**noise), wine)
        assert isinstance(made, Trainer)
        return made

    level = {"name": "decaying", "std": 0.5}
    curve = goes_on_bit_for_bit(trainer(**level), trainer(**level), trainer(**level))
    quiet = goes_on_bit_for_bit(*(trainer(name="constant", std=0.0) for _ in range(3)))
    plain = make_trainer(config(name="constant"), wine).train_epoch()
    assert plain is not None
    assert quiet[0]["train_loss"] == plain["train_loss"] != curve[0]["train_loss"]
    assert exports_model(config(), wine), "what register says holds for its name as code too"


@pytest.mark.parametrize(
    ("launcher", "expected"),
    [
        (
            noisy({"name": "decayin"}),
            "launcher.noise.name: must be one of constant, decaying, or yours as module:factory, "
            "but got 'decayin'; did you mean 'decaying'?",
        ),
        (
            noisy({"choices": ["constant", {"name": "decaying", "std": {"low": -1, "high": 1}}]}),
            "launcher.noise.choices.1.std: must be greater than or equal to 0, but got -1",
        ),
        (
            noisy(loudness=1),
            "launcher.loudness: must be a keyword of launcher launch.py:noisy (noise), "
            "but got 'loudness'",
        ),
        (
            {"choices": ["components", "launch.py:noisy"]},
            "launcher: must be a constant, the same for all trials; its keywords may be searched, "
            "but got {'choices': [{'name': 'components'}, {'name': 'launch.py:noisy'}]}",
        ),
        (
            {"name": {"choices": ["components", "launch.py:noisy"]}},
            "launcher.name: must be a constant, the same for all trials; its keywords may be "
            "searched, but got {'choices': ['components', 'launch.py:noisy']}",
        ),
        ([], "launcher: must be the name of a component (launcher), but got []"),
    ],
)
def test_that_are_wrong_are_found_before_anything_trains(
    folder: Path, launcher: Any, expected: str
) -> None:
    assert problems(folder, launcher) == [expected]


def test_are_searched_beside_a_training_function(folder: Path) -> None:
    (folder / "launch.py").write_text(
        "from typing import Annotated\n"
        "from hpsearch.registry import Recommended\n"
        "from hpsearch.training.user_code.functions import FunctionTrainer\n"
        "def train(config, trial):\n    yield {'score': config['x']}\n"
        "def mine(config, device, rate: Annotated[float, Recommended(0.1, 0.9)] = 0.5):\n"
        "    return FunctionTrainer(config, device)\n"
    )
    raw = {
        "name": "mine",
        "objective": {"metric": "score"},
        "trainable": "launch.py:train",
        "space": {"x": {"low": 0.0, "high": 1.0}},
        "launcher": {"name": "launch.py:mine", "rate": "auto"},
    }
    spec = check(draft_spec(raw, folder))
    assert list(SearchSpace.of(spec).distributions) == ["x", "launcher.rate"]
    raw["space"] = {"launcher": {"rate": 1}}
    with pytest.raises(SpecError) as caught:
        check(draft_spec(raw, folder))
    assert [str(each) for each in caught.value.problems] == [
        "space.launcher: must be renamed: the spec has a section launcher, but got 'launcher'"
    ]


def test_of_a_family_that_a_package_registered_are_in_schema_and_catalogue() -> None:
    registry.register_family("noise_level", "max_epochs")
    registry.register("noise_level", "loud")(lambda std=0.5: std)

    @registry.register("launcher", "mine")
    def mine(config: TrialConfig, noise: Any = "loud", rate: float = 0.5) -> None:
        """Mine."""

    mine.__annotations__["noise"] = Annotated[Any, registry.ComponentOf("noise_level")]
    assert place_of("noise_level") == "`launcher.noise`"
    assert place_of("launcher") == "section `launcher`"
    schema = json_schema()
    validator = jsonschema.Draft202012Validator(
        {"$defs": schema["$defs"], **schema["properties"]["launcher"]}
    )
    searched = {"low": 0.0, "high": 1.0}
    noise = {"choices": ["loud", {"name": "loud", "std": searched}]}
    for good in (None, "mine", {"name": "mine", "noise": noise, "rate": searched}):
        assert validator.is_valid(good), good
    for bad in ({"choices": ["mine"]}, {"name": "mine", "pace": 1}, {"name": {"choices": ["a"]}}):
        assert not validator.is_valid(bad), bad


class TestFamilies:
    def test_of_users_hold_components(self) -> None:
        registry.register_family("curriculum", "epoch")
        registry.register_family("curriculum", "epoch")  # imported again
        registry.register("curriculum", "linear")(lambda epoch, rate: epoch * rate)
        of = registry.ComponentOf("curriculum")
        assert of.build({"name": "linear", "rate": 0.5}, epoch=4) == 2.0
        assert "curriculum" in registry.families()

    def test_that_exist_with_other_arguments_are_refused(self) -> None:
        with pytest.raises(ValueError, match="'activation' exists already, and its factories get"):
            registry.register_family("activation", "epoch")

    def test_are_named_like_keywords(self) -> None:
        with pytest.raises(ValueError, match="must be made of .* but got 'My family'"):
            registry.register_family("My family")


def test_a_search_tries_them_and_exports_the_best(folder: Path, ray_cluster: None) -> None:
    spec = make_spec(folder, dataset="wine", launcher=noisy(), search={"trials": 2})
    run_search(spec, folder / "runs")
    runs = Runs(folder / "runs")
    place = runs.search("small")
    record = place.open_record()
    chosen = [trial.values["launcher"]["noise"] for trial in record.trials]
    assert [
        {"constant", "decaying"} >= {each["name"]} and 0 <= each["std"] <= 1 for each in chosen
    ] == [True, True]
    assert record.result["test_metrics"], "its model was exported"
    assert "launcher.noise" in place.report_html.read_text()
    assert check_search(record, place, runs.tracking_uri).problems == ()


def test_the_page_shows_what_it_says() -> None:
    block = re.search(r"In a spec:\n\n```yaml\n(launcher:.*?)```", PAGE, re.DOTALL)
    assert block is not None
    assert load_yaml(block[1])["launcher"] == noisy()
    assert COMPONENT_SECTIONS["launcher"].fixed == "name"
