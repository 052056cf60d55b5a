"""The ways in which a client can answer a question."""

from typing import Any

from tests.support.raw import Answer


def answering(how: str) -> Answer:
    def answer(asked: dict[str, Any]) -> dict[str, Any] | None:
        choice = asked["requestedSchema"]["properties"]["choice"]["enum"]
        match how:
            case "accept":
                return {"result": {"action": "accept", "content": {"choice": choice[0]}}}
            case "keep":
                return {"result": {"action": "accept", "content": {"choice": choice[1]}}}
            case "decline":
                return {"result": {"action": "decline"}}
            case "dismiss":
                return {"result": {"action": "cancel"}}
            case "malformed":
                return {"result": {"action": "accept", "content": {"choice": ["delete"]}}}
            case "another word":
                return {"result": {"action": "accept", "content": {"choice": "yes, whatever"}}}
            case "empty":
                return {"result": {"action": "accept", "content": {}}}
            case "nothing":
                return {"result": {"action": "accept"}}
            case "error":
                return {"error": {"code": -32000, "message": "the form could not be shown"}}
            case _:
                return None

    return answer
