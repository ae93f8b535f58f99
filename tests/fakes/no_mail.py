"""A mailbox for graphs whose roles write no messages."""

from collections.abc import Sequence
from concurrent.futures import Future

from services.agent.mailbox.delivery import Delivery, Recipient
from services.agent.state import Hop, RunContext
from shared.capability import OutgoingMessage
from shared.pb import common_v1


class NoMail:
    """Hands out nothing."""

    def deliver(self, recipient: Recipient, hops: Sequence[Hop]) -> "Future[Delivery]":
        future: Future[Delivery] = Future()
        future.set_result(Delivery((), 0))
        return future

    async def keep_sent(
        self, sender: Recipient, run_context: RunContext, outgoing: Sequence[OutgoingMessage], failure: str = ""
    ) -> None:
        assert not outgoing

    def recent(self, run_id: str, limit: int) -> Sequence[common_v1.A2aMessage]:
        return ()
