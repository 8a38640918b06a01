from msgspec.structs import replace

from faults.byzantine.port import Behaviour
from faults.byzantine.sealing import own_proposal, reseal
from nodes.messages import OptimisticProposal, Vote, block_hash


class TwoStories(Behaviour):
    def __init__(self) -> None:
        super().__init__()
        self.believer: dict[str, bool] = {}  # node -> did it vote for a second story?

    def receive(self, node, sender, message):
        if isinstance(message, Vote) and message.block.hex() in node.blackboard:
            self.believer[message.voter] = node.blackboard[message.block.hex()] == b"second"
        return message

    def send(self, node, to, message):
        proposal = own_proposal(node, message)
        if isinstance(proposal, OptimisticProposal):
            first = proposal.block
            parent = node.blackboard.get(first.parent.hex(), first.parent)  # what believers take for the parent
            second = replace(first, parent=parent, timestamp_ms=first.timestamp_ms + 1)
            node.share(block_hash(first).hex(), block_hash(second))
            node.share(block_hash(second).hex(), b"second")
            if self.believer.get(to, to in node.committee.tribe[1::2]):
                self.receipt.changed += 1
                message = reseal(node, proposal, second)
        yield to, message
