"""What clients and runners send: what is theirs to say passes, all else changes nothing."""

from contextlib import suppress
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from rayorch.core.cheap import Cheap
from rayorch.core.facts import (
    FACT_KINDS,
    AttemptFailed,
    AttemptFinished,
    AttemptProgressed,
    AttemptStarted,
    Event,
    Fact,
    LeaseReturned,
    Led,
    PlanReady,
    RunCancelRequested,
    RunnerJoined,
    RunnerLost,
    RunResumed,
    RunStopRequested,
    RunSubmitted,
    SinkPublished,
)
from rayorch.core.limit_facts import PolicyApplied
from rayorch.core.machine import Machine
from rayorch.core.policy import Policy
from rayorch.core.values import AttemptOutput, ErrorInfo, RetryLimits, StageShape
from rayorch.host import intake
from rayorch.host.intake import client_facts, client_request, runner_facts
from rayorch.ids import Epoch, EventId, RunId, RunnerId, TaskId
from rayorch.submit_errors import RefusedRequestError

ENCODE = msgspec.msgpack.encode
RUN = RunId("nightly-20261122-031500-7f3a")
PREFIX = "rayorch-runner-abc-"
RUNNER = RunnerId(f"{PREFIX}1")
ABOUT = (RUN, TaskId(0), 0, Epoch(1), RUNNER)
ERROR = ErrorInfo(message="no such price")
SUBMITTED = RunSubmitted(
    RUN, "nightly", "v1", (StageShape(name="lines", sinks=(0,)),), ("s3://b/o",)
)
ASKED = (
    SUBMITTED,
    RunStopRequested(RUN, "Ctrl-C"),
    RunCancelRequested(RUN),
    RunResumed(RUN, "0123abcd"),
    PolicyApplied(Policy()),
)
REPORTED = (
    AttemptStarted(*ABOUT),
    AttemptProgressed(*ABOUT, rows=1, size_bytes=2),
    AttemptFinished(*ABOUT, AttemptOutput(rows_in=1)),
    AttemptFailed(*ABOUT, "user", ERROR),
    LeaseReturned(*ABOUT),
)
OTHERS = (Led(Epoch(9)), SinkPublished(RUN, 0, "1", 1, 1, 1), RunnerLost(RUNNER, "lost"))


def test_what_a_client_may_say_passes_as_it_is() -> None:
    assert client_facts(ENCODE(ASKED)) == list(ASKED)
    assert [client_request(msgspec.json.encode(fact)) for fact in ASKED] == list(ASKED)


def test_what_a_runner_may_say_passes_as_it_is() -> None:
    assert runner_facts(RUNNER, PREFIX, ENCODE(REPORTED)) == list(REPORTED)


@pytest.mark.parametrize("forged", [*REPORTED, *OTHERS], ids=lambda fact: type(fact).__name__)
def test_a_client_cannot_speak_for_runners_or_for_the_control_actor(forged: Fact) -> None:
    """One AttemptFinished from a client would make files of its choice the output of a run."""
    with pytest.raises(RefusedRequestError, match=f"Invalid value '{type(forged).__name__}'"):
        client_facts(ENCODE([SUBMITTED, forged]))
    with pytest.raises(RefusedRequestError):
        client_request(msgspec.json.encode(forged))


@pytest.mark.parametrize("forged", [*ASKED, *OTHERS], ids=lambda fact: type(fact).__name__)
def test_a_runner_says_what_attempts_did_and_nothing_else(forged: Fact) -> None:
    with pytest.raises(RefusedRequestError, match="cannot be read"):
        runner_facts(RUNNER, PREFIX, ENCODE([forged]))


def test_every_kind_of_fact_is_a_clients_or_a_runners_or_nobodys_to_send() -> None:
    """A new kind is refused from outside until somebody lets it in on purpose."""
    from_outside = {*get_args(intake.ClientFact), *get_args(intake.RunnerFact)}

    assert from_outside == {type(fact) for fact in (*ASKED, *REPORTED)}
    assert from_outside < set(FACT_KINDS)


def test_a_runner_speaks_in_its_own_name() -> None:
    other = RunnerId(f"{PREFIX}2")

    with pytest.raises(RefusedRequestError, match=r"speaks for another runner\. value=" + RUNNER):
        runner_facts(other, PREFIX, ENCODE(REPORTED))
    with pytest.raises(RefusedRequestError, match="none of this home's runners"):
        runner_facts(RunnerId("somebody"), PREFIX, ENCODE([]))


@pytest.mark.parametrize(
    ("fact", "said"),
    [
        (RunStopRequested(RunId("../../etc")), "a run's id is 1 to 100 lower-case"),
        (RunStopRequested(RunId("")), "a run's id is"),
        (RunStopRequested(RunId("a" * 101)), "a run's id is"),
        (RunStopRequested(RUN, "x" * 5000), r"RunStopRequested.reason is a text of more than 4096"),
        (RunResumed(RUN, "../other/program"), "a version is a hash"),
        (RunSubmitted(RUN, "", "v1", (), ()), "a run has a pipeline and stages"),
        (
            RunSubmitted(RUN, "p", "v1", (StageShape(name="s", sinks=(1,)),), ("u",)),
            r"stages\[0\] has no such sink. value=1",
        ),
        (
            RunSubmitted(RUN, "p", "v1", (StageShape(name="s", after=(0,)),), ()),
            r"stages\[0\] reads no stage. value=0",
        ),
        (
            RunSubmitted(RUN, "p", "v1", (StageShape(name="s", cores=float("nan")),), ()),
            r"stages\[0\] can never run",
        ),
        (
            RunSubmitted(RUN, "p", "v1", (StageShape(name="s", cores=float("inf")),), ()),
            r"stages\[0\].cores is no number",
        ),
        (
            RunSubmitted(RUN, "p", "v1", (StageShape(name="s"),) * 10_001, ()),
            r"RunSubmitted.stages has more than 10000 items",
        ),
        (
            RunSubmitted(RUN, "p", "v1", (StageShape(name="s"),), (), retry=RetryLimits(2**60)),
            r"RunSubmitted.retry.attempts_max is a number out of all bounds",
        ),
    ],
)
def test_names_numbers_and_sizes_out_of_bounds_are_refused_by_name(fact: Any, said: str) -> None:
    with pytest.raises(RefusedRequestError, match=said):
        client_facts(ENCODE([fact]))


def test_too_many_facts_and_too_many_bytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RefusedRequestError, match=r"more than 100 facts in one call\. value=101"):
        client_facts(ENCODE([RunStopRequested(RUN)] * 101))
    monkeypatch.setattr(intake, "CLIENT_BYTES_MAX", 10)
    monkeypatch.setattr(intake, "RUNNER_BYTES_MAX", 10)
    with pytest.raises(RefusedRequestError, match="more than 10 bytes"):
        client_facts(ENCODE(ASKED))
    with pytest.raises(RefusedRequestError, match="more than 10 bytes"):
        runner_facts(RUNNER, PREFIX, ENCODE(REPORTED))


def test_a_refusal_says_who_sent_what_and_what_to_do() -> None:
    with pytest.raises(RefusedRequestError) as caught:
        client_facts(b"\xc1")

    assert str(caught.value) == (
        "the control actor refuses what a client sent: what it sent cannot be read. "
        "value=MessagePack data is malformed: invalid opcode '\\xc1' (byte 0)\n"
        "  both ends must run the same rayorch: `pip show rayorch` here and on the cluster"
    )


# --- whatever bytes come ---------------------------------------------------------------------

GOOD = (ENCODE(ASKED), ENCODE(REPORTED), ENCODE(OTHERS))


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """A message as it was sent, with some bytes changed, lost or added."""
    data = bytearray(draw(st.sampled_from(GOOD)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data) - 1))
        spoil = draw(st.sampled_from(("set", "cut", "add")))
        if spoil == "set":
            data[at] = draw(st.integers(0, 255))
        elif spoil == "cut":
            del data[at + 1 :]
        else:
            data[at:at] = draw(st.binary(max_size=4))
    return bytes(data)


@settings(max_examples=150)
@given(st.one_of(st.binary(max_size=200), spoiled()))
def test_whatever_bytes_come_in_they_are_refused_or_facts_that_harm_no_state(data: bytes) -> None:
    """What passes goes into a machine with a run: it may be refused there, and breaks nothing."""
    machine = Machine()
    joined = RunnerJoined(RUNNER, "local", 1.0, 1 << 30)
    begun: list[Fact] = [Led(Epoch(1)), SUBMITTED, PlanReady(RUN, (2,)), joined]
    for number, known in enumerate(begun):
        machine.handle(Event(EventId(1 + number), 1.0, known))
    before = msgspec.msgpack.encode(machine.snapshot())
    passed: list[Fact] = []

    for take in (client_facts, lambda it: runner_facts(RUNNER, PREFIX, it)):
        with suppress(RefusedRequestError):
            passed += take(data)

    for number, fact in enumerate(passed):
        assert isinstance(fact, intake.ClientFact | intake.RunnerFact)
        machine.fold(Event(EventId(9 + number), 2.0, fact))
    if not passed:
        assert msgspec.msgpack.encode(machine.snapshot()) == before


def test_hours_that_no_day_has_are_refused() -> None:
    minutes = msgspec.json.encode(replace(SUBMITTED, cheap=Cheap(60, 120))).replace(b"120", b"1440")

    with pytest.raises(RefusedRequestError, match="to_min"):
        client_request(minutes)
