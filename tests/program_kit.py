"""A target in memory: nodes that say what they are told to say, for tests of what is round it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from faults.port import Capability, Roster
from harness.targets.packaged import Packaged
from harness.targets.port import Address, Node, Operation, Outcome, Program, Report, Site, Target

ROSTER = Roster(("n0", "n1", "n2"), (), ())


class Scripted(Target):
    """Answers `status` with the next of `reports`, and `perform` with the next of `outcomes`; exceptions are raised."""

    name: ClassVar[str] = "scripted"
    binaries: ClassVar[tuple[Packaged, ...]] = ()
    ports: ClassVar[tuple[str, ...]] = ("peer",)
    workloads: ClassVar[tuple[str, ...]] = ("registers",)
    checkers: ClassVar[tuple[str, ...]] = ("liveness",)
    refuses: ClassVar[Mapping[Capability, str]] = {Capability.CLOCK: "it has no clock"}
    least: ClassVar[int] = 2

    def __init__(self, roster: Roster = ROSTER, seed: int = 1, weak: bool = False) -> None:
        super().__init__(roster, seed)
        self.weak = weak
        self.reports: list[Any] = []
        self.outcomes: list[Any] = []
        self.asked: list[Any] = []

    def programs(self, site: Site) -> Sequence[Program]:
        return [Program(node, ("true",)) for node in site.nodes]

    async def status(self, node: Node, since: int) -> Report | None:
        self.asked.append(since)
        return _next(self.reports)

    async def perform(self, operation: Operation, node: Node) -> Outcome:
        self.asked.append((operation, node.id))
        outcome: Outcome = _next(self.outcomes)
        return outcome

    def beyond(self, crashes: int) -> Sequence[str]:
        return ["it is weak"] if self.weak else []


def _next(answers: list[Any]) -> Any:
    answer = answers.pop(0)
    if isinstance(answer, BaseException):
        raise answer
    return answer


class FakeNode:
    """A node that answers requests from a script: (status, object) or an exception, in turn."""

    def __init__(self, name: str = "n0", *answers: Any) -> None:
        self.id = name
        self.http: Any = None
        self.answers = list(answers)
        self.asked: list[tuple[str, Any]] = []

    def address(self, port: str) -> Address:
        return "127.0.0.1", 1

    def url(self, port: str) -> str:
        return "http://127.0.0.1:1"

    async def ask(self, port: str, path: str, body: Any = None, timeout_s: float = 1.0) -> tuple[int, dict[str, Any]]:
        self.asked.append((path, body))
        answer: tuple[int, dict[str, Any]] = _next(self.answers)
        return answer


class FakeSite:
    """Three nodes at addresses that tell who dials whom."""

    nodes = ROSTER.tribe
    seed = 7

    def binary(self, name: str) -> str:
        return f"/programs/{name}"

    def home(self, node: str) -> str:
        return f"/homes/{node}"

    def listen(self, node: str, port: str) -> Address:
        return f"{node}.{port}", 1000

    def dial(self, source: str, node: str) -> Address:
        return f"{source}-to-{node}", 2000

    def shared(self, node: str) -> Address:
        return "everybody", 3000 + int(node[1:])

    def resolver(self, node: str) -> Mapping[str, str]:
        return {"HOSTS": node}
