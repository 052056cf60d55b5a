"""A server of the model: what `send`, `upload` and the tools do, in steps between which anything may happen.

Reconciling is the real one: it is given the client and the ledger of the model.
"""

from dataclasses import replace
from functools import partial
from random import Random
from typing import cast

from mcp_batch_tools.api.client import BatchClient
from mcp_batch_tools.api.errors import BatchError
from mcp_batch_tools.clock import milliseconds
from mcp_batch_tools.ledger.database import Database, Transaction
from mcp_batch_tools.ledger.receipts import Intent, complete_receipt, open_receipt
from mcp_batch_tools.requests.fingerprint import request_digest
from mcp_batch_tools.submissions import store
from mcp_batch_tools.submissions.decide import Blocked, Mode, Send, decide
from mcp_batch_tools.submissions.match import Listed
from mcp_batch_tools.submissions.reconcile import Reconciled, find_lost_batch, reconcile
from mcp_batch_tools.submissions.retry import last_seq_of
from mcp_batch_tools.submissions.states import LEASE_ANSWER, LEASE_PIECE, LONGEST_HANDOVER, REMEMBERED, Attempt
from tests.submissions.model.ledger import Ledger
from tests.submissions.model.machine import Client, Machine, Step, Steps
from tests.submissions.model.rules import Rules
from tests.submissions.model.truth import Call, Truth
from tests.submissions.model.wishes import PLANS, RETRIED, RETRIED_FILES, Habits, Part, Wish
from tests.submissions.model.world import DAY, OWN_ANSWER, SIZE, Post, World

RENEW_EVERY = 60_000


class Caller:
    """One server process with one key."""

    def __init__(
        self,
        world: World,
        ledger: Ledger,
        truth: Truth,
        machine: Machine,
        workspace: str,
        rules: Rules,
        dice: Random,
        habits: Habits,
    ) -> None:
        self._world, self._truth, self._rules, self._dice, self._habits = world, truth, rules, dice, habits
        self.machine, self.workspace = machine, workspace
        self._ledger = Steps(ledger)
        self._client = Client(world, machine, workspace, rules, self._ledger, dice)
        self._seq = 0

    async def live(self) -> None:
        """Do one thing after the other."""
        habits = self._habits
        while True:
            await Step()
            try:
                match self._dice.choices(habits.acts, habits.weights)[0]:
                    case "create":
                        plan = self._dice.choice(habits.plans)
                        await self._create(Wish(plan, PLANS[plan], self._dice.random() < habits.again))
                    case "retry":
                        await self._retry(again=self._dice.random() < habits.again)
                    case "look":
                        await self.reconcile()
                    case "delete":
                        await self._delete()
            except BatchError:
                pass  # the API did not answer: the user hears of it, and the next call begins anew

    async def reconcile(self) -> Reconciled:
        """Find out what became of what is open, by the real function."""
        client, database = cast("BatchClient", self._client), cast("Database", self._ledger)
        return await reconcile(client, database, self.workspace)

    async def _retry(self, *, again: bool) -> None:
        reconciled = await self.reconcile()
        for left in reconciled.unresolved:
            given_up = again and left.attempt.id in self._hopeless(reconciled)
            if left.attempt.retry_of == RETRIED and not given_up:
                return
        read = partial(store.attempts_of_retries, scope=self.workspace, message_batch_id=RETRIED)
        retries = await self._ledger.read(read)
        wanted = self._dice.choice(RETRIED_FILES)
        if not again:
            wanted -= {item for attempt in retries if attempt.message_batch_id for item in attempt.fingerprint[1:]}
        if not wanted:
            return
        last_seq = last_seq_of(retries)
        open_seqs = [attempt.seq or 0 for attempt in retries if attempt.state in {"claimed", "sent"}]
        if open_seqs and not again and self._rules.open_retries_stand_in_the_way:
            last_seq = min(open_seqs) - 1
        part = Part("R" + "".join(sorted(wanted)), tuple(f"r{item}" for item in sorted(wanted)), wanted)
        await self._decide_and_send(Wish(part.fingerprint, (part,), again, RETRIED, last_seq), reconciled)

    async def _create(self, wish: Wish) -> None:
        await self._decide_and_send(wish, await self.reconcile())

    def _hopeless(self, reconciled: Reconciled) -> frozenset[str]:
        if self._rules.all_hopeless:
            return frozenset(left.attempt.id for left in reconciled.unresolved)
        return reconciled.hopeless

    async def _decide_and_send(self, wish: Wish, reconciled: Reconciled) -> None:
        history = await self._ledger.read(partial(self._history, wish=wish))
        now = self.machine.wall()
        old = now - REMEMBERED + 2 * DAY
        if any(attempt.batch_created_at and attempt.batch_created_at < old for attempt in history):
            page = await self._client.list(limit=1)
            if page.api_time is not None:
                forget = partial(store.forget_old, scope=self.workspace, api_now=milliseconds(page.api_time))
                await self._ledger.write(forget)
                history = await self._ledger.read(partial(self._history, wish=wish))
        mode = Mode(wish.plan, allow_duplicate=wish.again, retry_of=wish.retry_of, hopeless=self._hopeless(reconciled))
        decisions = decide([part.fingerprint for part in wish.parts], history, mode)
        if any(isinstance(decision, Blocked) for decision in decisions):
            return
        for _ in range(self._dice.choice((0, 0, 1, 3))):
            await Step()  # the question before spending
        self._seq = wish.last_seq
        for number, decision in enumerate(decisions):
            if isinstance(decision, Send) and not await self._send_part(wish, number, decision, history):
                return

    def _history(self, transaction: Transaction, wish: Wish) -> list[Attempt]:
        found = store.attempts_of_content(transaction, self.workspace, [part.fingerprint for part in wish.parts])
        if wish.retry_of is not None:
            found += store.attempts_of_retries(transaction, self.workspace, wish.retry_of)
        return list({attempt.id: attempt for attempt in found}.values())

    async def _send_part(self, wish: Wish, number: int, decision: Send, history: list[Attempt]) -> bool:
        """Claim and send; returns whether the next part may follow."""
        self.machine.disturbed = None
        listed = self._moment()
        attempt = await self._claim(wish, number, decision, history)
        if attempt is None:
            return False
        renewed = self._moment()
        for _ in range(self._dice.choice((0, 0, 1, 2))):
            await Step()  # a piece
            if self._dice.random() < 0.05:
                await self._not_created(attempt, "cut while sending")
                return False
            if self._since(renewed) > RENEW_EVERY:
                renewed = self._moment()
                renew = partial(store.renew_lease, attempt=attempt, lease_expires_at=renewed[0] + LEASE_PIECE)
                if not await self._ledger.write(renew) and self._rules.stop_where_not_marked:
                    await self._not_created(attempt, "stalled")
                    return False
        part = wish.parts[number]
        if not self._rules.sent_before_last_piece:
            post = self._post(attempt, part)
            sent, _ = await self._mark_sent(attempt, listed)
            return await self._await_answer(sent, post)
        sent, in_time = await self._mark_sent(attempt, listed)
        if not in_time:
            await self._not_created(sent, "stalled")
            return False
        return await self._await_answer(sent, self._post(sent, part))

    async def _claim(self, wish: Wish, number: int, decision: Send, history: list[Attempt]) -> Attempt | None:
        self._client.for_claim = True
        try:
            page = await self._client.list(limit=1)
        finally:
            self._client.for_claim = False
        part, newest = wish.parts[number], page.data[0] if page.data else None
        now = self.machine.wall()
        self._seq += 1
        wanted = store.Claim(
            scope=self.workspace,
            plan_fingerprint=wish.plan,
            round=decision.round,
            fingerprint=part.fingerprint,
            copy=decision.copy,
            part=number,
            parts=len(wish.parts),
            requests=SIZE,
            retry_of=wish.retry_of,
            seq=self._seq if wish.retry_of else None,
            label=None,
            estimate_usd=None,
            consent="",
            consent_id=None,
            client=None,
            newest_before=newest.id if newest else None,
            newest_created_at=newest.created if newest else None,
            api_claimed=None if page.api_time is None else milliseconds(page.api_time) + self._rules.claimed_later_by,
            lease_expires_at=now + LEASE_PIECE,
            models=["m"],
            hashes=b"".join(request_digest(custom_id, part.fingerprint.encode()) for custom_id in part.custom_ids),
        )
        seen = {attempt.id: attempt.state for attempt in history}
        abandons = frozenset(attempt.id for attempt in decision.abandons)
        paid = part.retries or {part.fingerprint}
        created = [attempt for attempt in history if attempt.state == "created" and attempt.retry_of == wish.retry_of]
        call = Call(
            paid=frozenset(f"{self.workspace} {one}" for one in paid),
            custom_ids=frozenset(part.custom_ids),
            number=wanted.seq or wanted.copy,
            seen=seen,
            numbers=frozenset(attempt.seq or attempt.copy for attempt in created),
            again=wish.again,
            abandons=abandons,
        )

        def work(transaction: Transaction) -> Attempt | None:
            if not all(store.abandon(transaction, attempt, now) for attempt in decision.abandons):
                return None
            attempt = store.claim(transaction, wanted, now)
            if attempt is not None:
                self._truth.calls[attempt.id] = call
            return attempt

        return await self._ledger.write(work)

    async def _mark_sent(self, attempt: Attempt, listed: tuple[int, int]) -> tuple[Attempt, bool]:
        """Claimed -> sent, and whether the last piece may be handed over now."""
        began = self._moment()
        claimed = attempt.api_claimed
        api_sent = None if claimed is None else claimed + self._since(listed)
        sent = replace(attempt, state="sent", api_sent=api_sent, lease_expires_at=began[0] + LEASE_ANSWER)
        mark = partial(store.mark_sent, attempt=sent, api_sent=api_sent, lease_expires_at=sent.lease_expires_at)
        if not await self._ledger.write(mark) and self._rules.stop_where_not_marked:
            return attempt, False
        return sent, self._since(began) <= LONGEST_HANDOVER or not self._rules.hand_over_in_time

    def _post(self, attempt: Attempt, part: Part) -> Post:
        post = self._world.post(attempt.id, self.workspace, part.custom_ids)
        self._truth.posted[attempt.id] = post
        return post

    async def _await_answer(self, attempt: Attempt, post: Post) -> bool:
        began = self.machine.steady()
        while self.machine.steady() - began <= OWN_ANSWER and self._dice.random() > 0.02:
            await Step()
            if self._world.now - post.posted > DAY:
                break  # no connection lives so long
            if post.answers_at is None or self._world.now < post.answers_at:
                continue
            if post.refused or (post.garbled and not self._rules.only_refusals_refuse):
                await self._not_created(attempt, "refused")
                return False
            if post.garbled or post.batch is None:
                break
            batch = Listed(post.batch.id, post.batch.created, SIZE)
            now = self.machine.wall()
            await self._ledger.write(partial(store.answered, attempt=attempt, batch=batch, now=now, request_id=None))
            self._truth.answered(attempt.id, post.batch)
            return True
        stop = partial(store.sender_stopped, attempt=attempt, now=self.machine.wall())
        await self._ledger.write(stop)
        if self._dice.random() < 0.2:
            return False  # given up by the user
        read = partial(store.attempt_by_id, attempt_id=attempt.id)
        current = await self._ledger.read(read)
        if current is not None and current.state == "sent":
            client, database = cast("BatchClient", self._client), cast("Database", self._ledger)
            await find_lost_batch(client, database, current)
            current = await self._ledger.read(read)
        return current is not None and current.state == "created"

    async def _not_created(self, attempt: Attempt, note: str) -> None:
        await self._ledger.write(partial(store.not_created, attempt=attempt, now=self.machine.wall(), note=note))

    async def _delete(self) -> None:
        if self._rules.reconcile_before_delete:
            await self.reconcile()
        ended = [batch for batch in self._world.listed(self.workspace) if batch.ended]
        if not ended:
            return
        batch, now = self._dice.choice(ended), self.machine.wall()
        intent = Intent(self.workspace, "delete", batch.id, batch.created, {"succeeded": SIZE}, "", None)
        receipt = await self._ledger.write(partial(open_receipt, intent=intent, now=now))
        await Step()
        batch.deleted = True
        await Step()
        await self._ledger.write(partial(complete_receipt, receipt_id=receipt, outcome="done", now=now))

    def _moment(self) -> tuple[int, int]:
        return self.machine.wall(), self.machine.steady()

    def _since(self, moment: tuple[int, int]) -> int:
        return self._rules.elapsed(self.machine.wall() - moment[0], self.machine.steady() - moment[1])
