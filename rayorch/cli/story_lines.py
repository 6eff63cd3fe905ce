"""A story from the journal (`rayorch.core.story`), as lines with the time of each."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from rayorch.core.story import Line
from rayorch.observe.figures import seconds_text


def story_lines(told: Sequence[Line], begun_s: float) -> Iterator[tuple[str, str]]:
    """Yield what happened, with the time of day and the seconds since the run was submitted."""
    day = ""
    for line in told:
        when = datetime.fromtimestamp(line.at_s, UTC).astimezone()
        date = f"{when:%Y-%m-%d}"
        if date != day:
            day = date
            yield "", date
        after = seconds_text(max(0.0, line.at_s - begun_s))
        yield f"{when:%H:%M:%S}", f"+{after:<8} {_told(line)}"


def _told(line: Line) -> str:
    attempt = "" if line.attempt is None else f"attempt {line.attempt} on {line.runner} "
    kind = f" ({line.kind})" if line.kind else ""
    said = f": {line.message.partition(chr(10))[0]}" if line.message else ""
    task = "" if line.task is None else f"task {line.task} "
    return f"{task}{attempt}{line.what}{kind}{said}"
