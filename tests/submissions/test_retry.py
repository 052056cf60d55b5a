"""Which number a retry takes: one that stands against whatever was not seen when its requests were chosen."""

import json
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from mcp_batch_tools.api.client import BatchClient
from mcp_batch_tools.ledger.database import Database
from mcp_batch_tools.requests.sources import InlineSource
from mcp_batch_tools.submissions.match import Listed
from mcp_batch_tools.submissions.retry import select_for_retry
from tests.submissions.model.ledger import Ledger
from tests.submissions.test_store import NOW, Store

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("retries", "allow_duplicate", "last_seq"),
    [
        ([], False, 0),
        (["created"], False, 1),
        (["created", "not_created"], False, 2),
        (["forgotten", "abandoned"], False, 2),
        (["sent"], False, 0),
        (["not_created", "created", "claimed"], False, 2),
        (["created", "sent", "created"], False, 1),
        (["created", "sent"], True, 2),
    ],
)
async def test_the_number_of_an_open_retry_stands_in_the_way_and_no_other_is_used_again(
    tmp_path: Path, ledger: Ledger, retries: list[str], allow_duplicate: bool, last_seq: int
) -> None:
    saved = tmp_path / "r.jsonl"
    saved.write_text(json.dumps({"custom_id": "c", "result": {"type": "expired"}}) + "\n")
    made = Store(ledger)
    for seq, state in enumerate(retries, start=1):
        batch = {"batch": Listed(f"b{seq}", NOW, 2)} if state in {"created", "forgotten"} else {}
        getattr(made, state)(f"content {seq}", retry_of="R", seq=seq, custom_id=f"other {seq}", **batch)

    class Reading:
        async def read(self, work: Any) -> Any:
            return ledger.run(work, changes=False)

    source = InlineSource([{"custom_id": "c", "params": {"model": "m", "max_tokens": 1, "messages": []}}])
    client, database = BatchClient(base_url="http://127.0.0.1", headers=None), cast("Database", Reading())
    select = partial(select_for_retry, client, database, "w", source, "R", saved)
    selected = await select(allow_duplicate=allow_duplicate)
    assert selected.source is not None
    assert selected.last_seq == last_seq
