"""What installed packages add, by entry points."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import hpsearch.components  # noqa: F401  # registers them
from hpsearch import importing, registry
from hpsearch.cli import app
from hpsearch.errors import PluginError

Install = Callable[[str], None]
CODE = """
from hpsearch import register
from hpsearch.registry import names

assert "mlp" in names("model")  # a module may ask while it is imported

@register("model", "plugged_in")
def plugged_in():
    return "plugged in"
"""


@pytest.fixture
def install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_registry: None
) -> Iterator[Install]:
    """Installs a package with this code, which is gone after the test."""

    def installed(code: str) -> None:
        (tmp_path / "plugin_for_hpsearch.py").write_text(code)
        metadata = tmp_path / "some_plugin-1.2.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: some-plugin\nVersion: 1.2\n"
        )
        entry = f"[{importing.ENTRY_POINT_GROUP}]\nmine = plugin_for_hpsearch\n"
        (metadata / "entry_points.txt").write_text(entry)

    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(importing, "_plugins_loaded", False)
    monkeypatch.setattr(importing, "_plugin_error", "")
    yield installed
    sys.modules.pop("plugin_for_hpsearch", None)


def test_their_components_have_plain_names(install: Install) -> None:
    install(CODE)
    assert registry.get("model", "plugged_in").build({}) == "plugged in"
    assert "plugged_in" in registry.names("model")
    assert "plugged_in" in CliRunner().invoke(app, ["components", "model"]).output


def test_their_families_are_known_to_whoever_marks_keywords_with_them(install: Install) -> None:
    install("from hpsearch.registry import register_family\nregister_family('noise_level')\n")
    assert "noise_level" not in registry.INJECTED
    assert registry.ComponentOf("noise_level").family == "noise_level"
    assert "noise_level" in registry.families()


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        (
            "register('model', 'mlp')(plugged_in)",
            "ValueError: model 'mlp' is registered already, by "
            "hpsearch.components.models.feedforward",
        ),
    ],
)
def test_one_that_cannot_be_imported_is_named_each_time(
    install: Install, more: str, reason: str
) -> None:
    install(f"{CODE}\n{more}\n")
    for _ in range(2):
        with pytest.raises(PluginError) as caught:
            registry.get("model", "mlp")
        assert str(caught.value) == (
            "package some-plugin 1.2: its entry point (hpsearch.components: "
            f"mine = plugin_for_hpsearch) can't be imported ({reason}); repair or uninstall it"
        )
    result = CliRunner().invoke(app, ["components", "model"])
    assert isinstance(result.exception, PluginError), "the command line prints its message alone"
