"""How `make setup` installs: what pip is set to, uv is set to."""

from __future__ import annotations

from pathlib import Path

from deploy.install import uv_settings


def test_uv_finds_what_pip_is_set_to(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    config = f"""\
:env:.find-links='{wheels}'
global.index-url='https://user:secret@mirror.example/simple'
global.extra-index-url='file://{tmp_path}/missing https://second.example/simple'
global.cert='{wheels}'
global.quiet='1'
"""
    assert uv_settings(config) == {
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": str(wheels),
        "UV_DEFAULT_INDEX": "https://user:secret@mirror.example/simple",
        "UV_INDEX": "https://second.example/simple",
        "SSL_CERT_FILE": str(wheels),
    }


def test_lists_may_stand_on_several_lines() -> None:
    settings = uv_settings(r"global.find-links='\nhttps://a.example/w\nhttps://b.example/w'")
    assert settings["UV_FIND_LINKS"] == "https://a.example/w,https://b.example/w"
