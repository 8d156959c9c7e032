"""An address that MLflow can't use is an error of the spec."""

from __future__ import annotations

import pytest

from hpsearch.errors import SpecError
from hpsearch.validation import check_spec
from tests.support.specs import make_spec


@pytest.mark.parametrize("uri", ["htps://host:5000", "postgres://host/db"])
def test_an_unknown_scheme_is_refused(uri: str) -> None:
    with pytest.raises(SpecError, match=f"tracking_uri: must be a path or begin.*{uri}"):
        check_spec(make_spec(tracking_uri=uri))


@pytest.mark.parametrize("uri", ["http://host", "mysql+pymysql://host/db", "sqlite:///a.db", "a"])
def test_known_ones_and_paths_are_taken(uri: str) -> None:
    check_spec(make_spec(tracking_uri=uri))
