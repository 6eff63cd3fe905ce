"""The core alone: a million tasks to their end, no Ray, no journal."""

from benchmarks.session import Session


def core(session: Session) -> None:
    """Run the benchmark of the core in a process of its own, so that its memory is its own."""
    session.say("nothing yet")
