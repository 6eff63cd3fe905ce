"""What clients and runners send, checked before it comes near the state.

A client may ask for runs, to stop, cancel or resume them, and for a policy: nothing else. What an
attempt did is for its runner alone to say, in its own name. All sizes have limits, and names are
only what names can be: they become parts of object keys. What is refused changes nothing, and its
sender is told.

This is no wall against those who may run code on the cluster or write under the home: they can do
worse. It keeps their mistakes, and other versions of this library, from the journal.
"""

import math
import re
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from rayorch.core.facts import (
    AttemptFailed,
    AttemptFinished,
    AttemptProgressed,
    AttemptStarted,
    LeaseReturned,
    RunCancelRequested,
    RunResumed,
    RunStopRequested,
    RunSubmitted,
)
from rayorch.core.limit_facts import PolicyApplied
from rayorch.ids import RunId, RunnerId
from rayorch.submit_errors import RefusedRequestError

ClientFact = RunSubmitted | RunStopRequested | RunCancelRequested | RunResumed | PolicyApplied
"""What a client may say."""
RunnerFact = AttemptStarted | AttemptProgressed | AttemptFinished | AttemptFailed | LeaseReturned
"""What a runner may say."""

CLIENT_BYTES_MAX: Final = 4 << 20
"""Of one call; the largest program that is any use has some thousand stages of 100 bytes."""
CLIENT_FACTS_MAX: Final = 100
RUNNER_BYTES_MAX: Final = 256 << 20
"""Of one call; a runner that was cut off for minutes hands in thousands of records at once."""
TEXT_CHARS_MAX: Final = 4096
ITEMS_MAX: Final = 10_000  # stages, sinks
COUNT_MAX: Final = 2**53  # what every JSON reader keeps whole
DEPTH_MAX: Final = 8

RUN_CHARS_MAX: Final = 100
_RUN: Final = re.compile(rf"[a-z0-9](?:[a-z0-9-]{{0,{RUN_CHARS_MAX - 2}}}[a-z0-9])?")
_VERSION: Final = re.compile(r"[0-9A-Za-z]{1,64}")
_CLIENT: Final = msgspec.msgpack.Decoder(list[ClientFact])
_REQUEST: Final = msgspec.json.Decoder(ClientFact)
_RUNNER: Final = msgspec.msgpack.Decoder(list[RunnerFact])

_CLIENT_NAME: Final = "a client"
Decoded = TypeVar("Decoded")


def client_facts(data: bytes) -> list[ClientFact]:
    """Return what a client says in one call. Raises: RefusedRequestError."""
    _check_size(_CLIENT_NAME, data, CLIENT_BYTES_MAX)
    facts = _decoded(_CLIENT_NAME, _CLIENT.decode, data)
    if len(facts) > CLIENT_FACTS_MAX:
        problem = f"more than {CLIENT_FACTS_MAX} facts in one call"
        raise RefusedRequestError(_CLIENT_NAME, problem, str(len(facts)))
    for fact in facts:
        _check_client_fact(fact)
    return facts


def client_request(data: bytes) -> ClientFact:
    """Return what a client left under the home, as JSON. Raises: RefusedRequestError."""
    _check_size(_CLIENT_NAME, data, CLIENT_BYTES_MAX)
    fact: ClientFact = _decoded(_CLIENT_NAME, _REQUEST.decode, data)
    _check_client_fact(fact)
    return fact


def runner_facts(runner: RunnerId, prefix: str, data: bytes) -> list[RunnerFact]:
    """Return what a runner says in one call; `prefix` is how names of the home's runners begin.

    Whether it still is one of ours does not matter here: what a runner had finished when it was
    given up is welcome, and the core knows which attempts there are.
    Raises: RefusedRequestError.
    """
    sender = f"runner {runner[:TEXT_CHARS_MAX]!r}"
    if not runner.startswith(prefix):
        raise RefusedRequestError(sender, "it is none of this home's runners", f"{prefix}...")
    _check_size(sender, data, RUNNER_BYTES_MAX)
    facts = _decoded(sender, _RUNNER.decode, data)
    for fact in facts:
        # Thousands a second come through here: what the decoder has checked is not checked again.
        if fact.runner != runner:
            raise RefusedRequestError(sender, "it speaks for another runner", fact.runner)
        if fact.task < 0 or fact.attempt < 0 or fact.epoch < 0:
            raise RefusedRequestError(sender, "a number is negative", str(fact)[:TEXT_CHARS_MAX])
    return facts


def checked_run_id(text: str) -> RunId:
    """Return a run's id that a client chose. Raises: RefusedRequestError."""
    if not _RUN.fullmatch(text):
        problem = f"a run's id is 1 to {RUN_CHARS_MAX} lower-case letters, digits and inner dashes"
        raise RefusedRequestError(_CLIENT_NAME, problem, repr(text[:TEXT_CHARS_MAX]))
    return RunId(text)


def _check_size(sender: str, data: bytes, bytes_max: int) -> None:
    if len(data) > bytes_max:
        raise RefusedRequestError(
            sender, f"more than {bytes_max} bytes in one call", str(len(data))
        )


def _decoded(sender: str, decode: Callable[[bytes], Decoded], data: bytes) -> Decoded:
    try:
        return decode(data)
    # ValidationError for what is no fact of theirs, DecodeError for what is no message at all.
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedRequestError(sender, "what it sent cannot be read", str(error)) from None


def _check_client_fact(fact: ClientFact) -> None:
    if not isinstance(fact, PolicyApplied):
        checked_run_id(fact.run)
    if isinstance(fact, RunSubmitted | RunResumed) and not _VERSION.fullmatch(fact.version):
        problem = "a version is a hash"
        raise RefusedRequestError(_CLIENT_NAME, problem, repr(fact.version[:TEXT_CHARS_MAX]))
    if isinstance(fact, RunSubmitted):
        if not fact.pipeline or not fact.stages:
            problem = "a run has a pipeline and stages"
            raise RefusedRequestError(_CLIENT_NAME, problem, repr(fact.run))
        _check_links(fact)
    _check_values(fact, type(fact).__name__, DEPTH_MAX)


def _check_links(fact: RunSubmitted) -> None:
    """Stages read stages that come before them, and write sinks that there are."""
    for index, stage in enumerate(fact.stages):
        where = f"stages[{index}]"
        for sink in stage.sinks:
            if not 0 <= sink < len(fact.sinks):
                raise RefusedRequestError(_CLIENT_NAME, f"{where} has no such sink", str(sink))
        for before in stage.after:
            if not 0 <= before < len(fact.stages) or before == index:
                raise RefusedRequestError(_CLIENT_NAME, f"{where} reads no stage", str(before))
        if not stage.cores > 0 or stage.memory_bytes < 1 or not stage.timeout_s >= 0:
            raise RefusedRequestError(_CLIENT_NAME, f"{where} can never run", str(stage))


def _check_values(value: object, where: str, depth: int) -> None:
    """Texts, numbers and sequences are within limits, however deep in a fact."""
    problem = "is nested too deeply" if depth == 0 else _problem(value)
    if problem:
        raise RefusedRequestError(_CLIENT_NAME, f"{where} {problem}", repr(value)[:100])
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            _check_values(getattr(value, name), f"{where}.{name}", depth - 1)
    elif isinstance(value, tuple | list):
        for index, item in enumerate(value):
            _check_values(item, f"{where}[{index}]", depth - 1)


def _problem(value: object) -> str:
    """Return what is wrong with one value by itself, or nothing."""
    if isinstance(value, str) and (len(value) > TEXT_CHARS_MAX or "\0" in value):
        return f"is a text of more than {TEXT_CHARS_MAX} characters, or holds a zero byte"
    if isinstance(value, float) and not math.isfinite(value):
        return "is no number"
    if isinstance(value, int | float) and abs(value) > COUNT_MAX:
        return "is a number out of all bounds"
    if isinstance(value, tuple | list) and len(value) > ITEMS_MAX:
        return f"has more than {ITEMS_MAX} items"
    return ""
