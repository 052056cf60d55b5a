"""What the tests of sending once share: the ledger of the model, which needs no file."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.submissions.model.ledger import Ledger


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with closing(Ledger()) as opened:
        yield opened
