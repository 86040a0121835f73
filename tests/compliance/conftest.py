from collections.abc import Callable

import pytest

from compliance import services
from compliance.models import Control, Result


@pytest.fixture
def evaluate(db: None) -> Callable[..., Result]:
    """`evaluate("vuln.cadence")`; every result it makes is held to its own rows."""

    def run(key: str, **kwargs: object) -> Result:
        result = services.evaluate(Control.objects.get(key=key), **kwargs)
        rows = list(result.row_set.rows.all())
        assert (result.population, result.failed) == (len(rows), sum(row.failed for row in rows))
        assert services.digest_of(rows) == result.row_set.digest
        return result

    return run
