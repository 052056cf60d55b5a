"""Requests of a batch, inline and in files."""

import json
from pathlib import Path
from typing import Any


def request(custom_id: str, **params: Any) -> dict[str, Any]:
    whole = {
        "model": "claude-haiku-4-5",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "Hello."}],
        **params,
    }
    return {"custom_id": custom_id, "params": whole}


def write(folder: Path, requests: list[dict[str, Any]], name: str = "r.jsonl") -> str:
    (folder / name).write_text("".join(json.dumps(one) + "\n" for one in requests))
    return name
