"""Components by name, by module and by file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import pytest
from annotated_types import Gt

import hpsearch.components  # noqa: F401  # registers them
from hpsearch import registry
from hpsearch.errors import UserCodeError
from hpsearch.registry import Component, ComponentOf, register

pytestmark = pytest.mark.usefixtures("forgotten_imports", "own_registry")


def net(
    input_shape: tuple[int, ...],
    width: Annotated[int, Gt(0)],
    rate: float = 0.0,
    *layers: int,
    **others: Any,
) -> tuple[Any, ...]:
    """A net.

    More about it.
    """
    return input_shape, width, rate, others


class TestRegistering:
    def test_makes_a_factory_known_by_name(self) -> None:
        assert register("model", "my_net", weight_copies=2, traits={"is_wide": True})(net) is net
        component = registry.get("model", "my_net")
        assert component == Component("model", "my_net", net, 2, {"is_wide": True})
        assert "my_net" in registry.names("model")
        assert component.summary == "A net."

    def test_refuses_a_taken_name(self) -> None:
        register("model", "my_net")(net)
        with pytest.raises(ValueError, match="model 'my_net' is registered already"):
            register("model", "my_net")(net)

    def test_the_same_name_in_another_family_is_another_component(self) -> None:
        register("model", "my_net")(net)
        with pytest.raises(KeyError):
            registry.get("optimizer", "my_net")

    def test_refuses_an_unknown_family(self) -> None:
        with pytest.raises(ValueError, match="family must be one of .* but got 'modell'"):
            register("modell", "my_net")

    def test_names_are_sorted(self) -> None:
        assert registry.names("optimizer") == sorted(registry.names("optimizer")) != []

    @pytest.mark.parametrize("family", ["dataset", "task", "model", "initializer", "optimizer"])
    def test_every_component_says_what_it_is_and_takes_keywords_of_known_kinds(
        self, family: str
    ) -> None:
        for name in registry.names(family):
            component = registry.get(family, name)
            assert component.summary, name
            assert not component.takes_any_keyword, name
            for parameter in component.keywords.values():
                assert parameter.annotation is not parameter.empty, (name, parameter)
                assert not isinstance(parameter.annotation, str), (name, parameter)


class TestKeywords:
    def test_are_what_hpsearch_does_not_fill_in(self) -> None:
        keywords = Component("model", "my_net", net).own_keywords
        assert list(keywords) == ["width", "rate"]
        assert keywords["width"].annotation == Annotated[int, Gt(0)]
        assert keywords["rate"].default == 0.0

    def test_depend_on_the_family(self) -> None:
        assert "input_shape" in Component("optimizer", "my_net", net).keywords

    def test_are_any_with_a_variadic_factory(self) -> None:
        assert Component("model", "my_net", net).takes_any_keyword
        assert not Component("model", "int", lambda x: x).takes_any_keyword

    def test_survive_names_that_only_type_checkers_know(self, tmp_path: Path) -> None:
        source = "from __future__ import annotations\ndef f(x: Unknown, y: int = 1): ...\n"
        (tmp_path / "checked_only.py").write_text(source)
        component = registry.get("model", "checked_only.py:f", tmp_path)
        assert list(component.own_keywords) == ["x", "y"]

    def test_are_passed_on_with_what_was_offered_and_declared(self) -> None:
        component = Component("model", "my_net", net)
        built = component.build({"width": 3, "bias": True}, input_shape=(2,), output_size=10)
        assert built == ((2,), 3, 0.0, {"bias": True})

    @pytest.mark.parametrize(
        ("annotation", "given", "expected"),
        [
            (Annotated[float, Gt(0)], 3, 3.0),
            (float | None, 3, 3.0),
            (float | str, 0, 0.0),
            (Sequence[Annotated[float, Gt(0)]], [1, 2], [1.0, 2.0]),
            (float, True, True),
            (int, 3, 3),
            (int | float, 3, 3),
            (Sequence[int], [1, 2], [1, 2]),
            (Any, 3, 3),
            (Annotated[Any, ComponentOf("activation")], 3, 3),
        ],
    )
    def test_of_real_numbers_may_be_whole(
        self, annotation: Any, given: Any, expected: Any
    ) -> None:
        def factory(x: Any) -> Any:
            return x

        factory.__annotations__["x"] = annotation
        built = Component("model", "mine", factory).build({"x": given})
        assert repr(built) == repr(expected)

    def test_that_a_family_shares_belong_to_all_its_components(self) -> None:
        assert "val_fraction" in registry.get("dataset", "digits").keywords
        assert "val_fraction" in Component("dataset", "mine", lambda seed: None).keywords


class TestUserCode:
    def test_is_told_by_its_colon(self) -> None:
        assert registry.is_user_code("package.module:factory")
        assert not registry.is_user_code("mlp")

    def test_from_a_file_beside_the_spec(self, tmp_path: Path) -> None:
        (tmp_path / "helper_of_mine.py").write_text("VALUE = 7\n")
        source = "from helper_of_mine import VALUE\ndef build(): return VALUE\n"
        (tmp_path / "code_of_mine.py").write_text(source)
        component = registry.get("model", "code_of_mine.py:build", tmp_path)
        assert component.build({}) == 7
        assert registry.get("model", "code_of_mine.py:build", tmp_path) == component
        # so that pickle finds what the file defines
        assert sys.modules["code_of_mine"].build is component.factory

    def test_from_a_file_in_another_folder(self, tmp_path: Path) -> None:
        (tmp_path / "deeper").mkdir()
        (tmp_path / "deeper" / "code_below.py").write_text("def build(): return 8\n")
        assert registry.get("model", "deeper/code_below.py:build", tmp_path).build({}) == 8
        absolute = f"{tmp_path}/deeper/code_below.py:build"
        assert registry.get("model", absolute).build({}) == 8

    def test_from_a_module(self, tmp_path: Path) -> None:
        (tmp_path / "package_of_mine").mkdir()
        (tmp_path / "package_of_mine" / "part.py").write_text("def build(): return 9\n")
        assert registry.get("model", "package_of_mine.part:build", tmp_path).build({}) == 9
        assert registry.get("model", "numpy:sqrt").factory(4) == 2

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("nowhere.py:f", "nowhere.py:f: can't be imported: FileNotFoundError: no file"),
            ("no_such_module:f", "can't be imported: ModuleNotFoundError"),
            ("numpy:no_such_name", "can't be imported: AttributeError"),
            ("numpy:pi", "numpy:pi: must be callable, but got 3.14"),
            ("os:system", "os:system: must be your own code or a package's, not Python"),
            ("broken.py:f", "broken.py:f: can't be imported: ZeroDivisionError"),
            ("misspelt.py:f", "misspelt.py:f: can't be imported: SyntaxError"),
            ("json.py:f", "a module 'json' is loaded already: rename json.py"),
            ("this.py:f", "an installed module is named 'this', and workers may have loaded it"),
            ("importlinter.py:f", "named 'importlinter', and workers may have loaded it"),
        ],
    )
    def test_that_cannot_be_used(self, name: str, expected: str, tmp_path: Path) -> None:
        (tmp_path / "broken.py").write_text("def f(): ...\n1 / 0\n")
        (tmp_path / "misspelt.py").write_text("def f(:\n")
        for module in ("json", "this", "importlinter"):
            (tmp_path / f"{module}.py").write_text("def f(): ...\n")
        with pytest.raises(UserCodeError) as caught:
            registry.get("model", name, tmp_path)
        assert expected in str(caught.value)

    def test_that_broke_is_read_again_once_it_is_mended(self, tmp_path: Path) -> None:
        path = tmp_path / "mended.py"
        path.write_text("1 / 0\n")
        with pytest.raises(UserCodeError):
            registry.get("model", "mended.py:f", tmp_path)
        path.write_text("def f(): return 'well'\n")
        assert registry.get("model", "mended.py:f", tmp_path).build({}) == "well"


def test_components_within_components_are_of_the_same_folder(tmp_path: Path) -> None:
    """Workers don't run in the spec's folder."""
    (tmp_path / "parts_within.py").write_text(
        "from torch import nn\n"
        "def act(): return nn.ReLU()\n"
        "def half(): return lambda progress: 0.5\n"
    )
    model = registry.ComponentOf("model").build(
        {"name": "mlp", "activation": "parts_within.py:act"},
        tmp_path,
        input_shape=(2,),
        output_size=2,
    )
    assert any(type(each).__name__ == "ReLU" for each in model.modules())
    then = {"name": "parts_within.py:half"}
    schedule = {"name": "warmup", "epochs": 1, "then": then}
    assert registry.ComponentOf("lr_schedule").build(schedule, tmp_path)
    with pytest.raises(UserCodeError, match="no file"):
        registry.ComponentOf("activation").build("parts_nowhere.py:act", tmp_path)
