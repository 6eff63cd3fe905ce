"""Expressions in the words of SQL, such as `qty > 10 and day is not null`, as Arrow expressions.

    or, and, not, = != <> < <= > >=, is [not] null, [not] in (..), [not] between .. and ..,
    [not] like '..', + - * /, (..), 1, 1.5, 'text', true, false, null, date '..', timestamp '..'

A column is a bare name, or any name in double quotes; `a.b` is the field b of a struct a. Nulls
follow SQL; arithmetic follows Arrow (whole numbers divide to whole numbers, overflow is an error).
"""

import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from rayorch.errors import SpecError

_TOKEN: Final = re.compile(
    r"""\s*(?:
    (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?) |
    (?P<text>'(?:[^']|'')*') |
    (?P<quoted>"(?:[^"]|"")+") |
    (?P<word>[^\W\d]\w*) |
    (?P<sign><>|<=|>=|==|!=|[=<>+\-*/(),.])
    )""",
    re.VERBOSE,
)
_COMPARE: Final[dict[str, Callable[[pc.Expression, pc.Expression], pc.Expression]]] = {
    "=": lambda left, right: left == right,
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<>": lambda left, right: left != right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}
_WORDS: Final = frozenset(
    "or and not is null in between like true false date timestamp".split()  # noqa: SIM905
)
_DEPTH_MAX: Final = 100  # brackets in brackets; beyond it Python's own stack would end


def parsed_expression(text: str) -> pc.Expression:
    """Return the Arrow expression that the text means.

    Raises: SpecError, showing the place where it stops making sense.
    """
    parser = _Parser(text)
    expression = parser.either()
    parser.expect_end()
    return expression


class _Parser:
    """Recursive descent, one method per level of binding, loosest first."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._split()
        self._at = 0
        self._depth = 0

    def either(self) -> pc.Expression:
        """Parse `a or b`."""
        left = self._both()
        while self._take("or"):
            left = left | self._both()
        return left

    def expect_end(self) -> None:
        """Refuse anything that is left."""
        if self._at < len(self._tokens):
            raise self._error("the expression should end here")

    def _both(self) -> pc.Expression:
        left = self._negated()
        while self._take("and"):
            left = left & self._negated()
        return left

    def _negated(self) -> pc.Expression:
        if self._take("not"):
            return ~self._nested(self._negated)
        return self._compared()

    def _compared(self) -> pc.Expression:
        left = self._sum()
        for sign, compare in _COMPARE.items():
            if self._take(sign):
                return compare(left, self._sum())
        if self._take("is"):
            missing = not self._take("not")
            self._need("null")
            return left.is_null() if missing else left.is_valid()
        inverted = self._take("not")
        result = self._member(left)
        if result is None:
            if inverted:
                raise self._error("in, between or like should follow not")
            return left
        # Arrow's `is_in` says false for null where SQL says null: not must not turn it into true.
        return ~result & left.is_valid() if inverted else result

    def _member(self, left: pc.Expression) -> pc.Expression | None:
        if self._take("in"):
            self._need("(")
            values = [self._literal()]
            while self._take(","):
                values.append(self._literal())
            self._need(")")
            return left.isin(values)
        if self._take("between"):
            low = self._sum()
            self._need("and")
            return (left >= low) & (left <= self._sum())
        if self._take("like"):
            pattern = self._literal()
            if not isinstance(pattern, str):
                raise self._error("like needs a 'text'")
            return pc.match_like(left, pattern)
        return None

    def _sum(self) -> pc.Expression:
        left = self._product()
        while True:
            if self._take("+"):
                left = left + self._product()
            elif self._take("-"):
                left = left - self._product()
            else:
                return left

    def _product(self) -> pc.Expression:
        left = self._signed()
        while True:
            if self._take("*"):
                left = left * self._signed()
            elif self._take("/"):
                left = left / self._signed()
            else:
                return left

    def _signed(self) -> pc.Expression:
        if self._take("-"):
            if self._kind() == "number":
                value = self._literal()
                assert isinstance(value, int | float)
                return pc.scalar(-value)
            return pc.negate(self._nested(self._signed))
        return self._single()

    def _single(self) -> pc.Expression:
        if self._take("("):
            inner = self._nested(self.either)
            self._need(")")
            return inner
        kind, token = self._peek()
        if kind == "quoted" or (kind == "word" and token.lower() not in _WORDS):
            return self._column()
        return pc.scalar(self._literal())

    def _column(self) -> pc.Expression:
        path = [self._name()]
        while self._take("."):
            path.append(self._name())
        return pc.field(*path)

    def _name(self) -> str:
        kind, token = self._peek()
        if kind not in {"word", "quoted"}:
            raise self._error("a column name should stand here")
        self._at += 1
        return token[1:-1].replace('""', '"') if kind == "quoted" else token

    def _literal(self) -> object:
        kind, token = self._peek()
        word = token.lower()
        if self._take("-"):
            value = self._literal()
            if not isinstance(value, int | float):
                raise self._error("a number should follow -")
            return -value
        self._at += 1
        if kind == "number":
            return int(token) if token.isdigit() else float(token)
        if kind == "text":
            return token[1:-1].replace("''", "'")
        if kind == "word" and word in {"true", "false", "null"}:
            return {"true": True, "false": False, "null": None}[word]
        if kind == "word" and word in {"date", "timestamp"}:
            return self._moment(word)
        self._at -= 1
        raise self._error("a value should stand here")

    def _moment(self, word: str) -> object:
        _, token = self._peek()
        text = token.strip("'")
        try:
            value = date.fromisoformat(text) if word == "date" else datetime.fromisoformat(text)
        except ValueError:
            example = "date '2026-11-22'" if word == "date" else "timestamp '2026-11-22 08:00:00'"
            raise self._error(f"write it like {example}") from None
        self._at += 1
        return pa.scalar(value)

    def _nested(self, parse: Callable[[], pc.Expression]) -> pc.Expression:
        self._depth += 1
        if self._depth > _DEPTH_MAX:
            raise self._error(f"more than {_DEPTH_MAX} levels of brackets")
        inner = parse()
        self._depth -= 1
        return inner

    def _split(self) -> list[tuple[str, str, int]]:
        tokens = []
        at = 0
        end = len(self._text.rstrip())
        while at < end:
            match = _TOKEN.match(self._text, at)
            if match is None or match.lastgroup is None:
                raise _error_at(self._text, at, "this is not understood")
            tokens.append((match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
            at = match.end()
        return tokens

    def _peek(self) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            return "end", ""
        kind, token, _ = self._tokens[self._at]
        return kind, token

    def _kind(self) -> str:
        return self._peek()[0]

    def _take(self, wanted: str) -> bool:
        kind, token = self._peek()
        found = kind in {"word", "sign"} and token.lower() == wanted
        self._at += found
        return found

    def _need(self, wanted: str) -> None:
        if not self._take(wanted):
            raise self._error(f"{wanted!r} should stand here")

    def _error(self, problem: str) -> SpecError:
        at = self._tokens[self._at][2] if self._at < len(self._tokens) else len(self._text)
        return _error_at(self._text, at, problem)


def _error_at(text: str, at: int, problem: str) -> SpecError:
    line_start = text.rfind("\n", 0, at) + 1
    line = text[line_start:].partition("\n")[0]
    pointer = " " * (at - line_start) + "^"
    fix = f"{line}\n{pointer} {problem}"
    return SpecError("an expression cannot be understood", field="expression", fix=fix)
