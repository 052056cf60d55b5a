"""Where a story takes place: a sandbox on a port, and a folder for the server's files and the client's home."""

from pathlib import Path
from typing import Any

from mcp_batch_tools.sandbox import Sandbox
from tests.clients.known_clients import CLIENTS
from tests.clients.programs.agent import Task
from tests.clients.running import Report, server_at
from tests.conftest import KEY


class World:
    """One story. `server` is how its client starts the server."""

    def __init__(self, sandbox: Sandbox, address: str, folder: Path) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.server: dict[str, Any] = server_at(address, folder)

    def running_batch(self) -> str:
        """A batch half of whose results would be lost with it, once it has been canceled."""
        return self.sandbox.add_batch(10, key=KEY, status="in_progress", age=300, processing_seconds=600)

    def tell(
        self, client: str, batch: str, *, save_to: str | None = None, confirms: bool = True, closes: str | None = None
    ) -> Report:
        """Have an agent in this client delete a batch."""
        arguments = {"message_batch_id": batch} | ({} if save_to is None else {"save_results_to": save_to})
        task = Task(self.server, ("delete_message_batch", arguments), confirms, closes)
        return CLIENTS[client].run(task, self.folder / "home")

    def acts(self) -> list[str]:
        """What the API was told to do, in order."""
        return [one.method for one in self.sandbox.received if one.method != "GET"]
