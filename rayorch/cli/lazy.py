"""Commands that are declared here and done elsewhere.

`rayorch --help` must not pay for Ray, Arrow and rich, so a command names the function that does its
work, and only a call imports it. All help begins with what to type.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import cast

import click

from rayorch.cli.options import Options

Work = Callable[[Options], int]


class LazyCommand(click.Command):
    """A command whose work, `module:function`, is imported when it runs."""

    def __init__(
        self,
        name: str,
        *,
        work: str,
        help: str,  # noqa: A002 - click's own word.
        examples: Sequence[tuple[str, str]],
        params: Sequence[click.Parameter],
    ) -> None:
        first = help.partition(".")[0]
        super().__init__(name, params=list(params), help=help, short_help=first)
        self.work = work
        self.examples = tuple(examples)

    def invoke(self, ctx: click.Context) -> int:
        """Import the work and do it; return the exit code."""
        return self.load()(Options(**ctx.params))

    def load(self) -> Work:
        """Return the function that does the work."""
        module, _, function = self.work.partition(":")
        return cast("Work", getattr(import_module(module), function))

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what it does and examples, then usage and options."""
        formatter.write_text(self.help or "")
        write_examples(formatter, self.examples)
        formatter.write_paragraph()
        self.format_usage(ctx, formatter)
        self.format_options(ctx, formatter)
        self.format_epilog(ctx, formatter)


class ExamplesGroup(click.Group):
    """A group whose help begins with examples."""

    examples: Sequence[tuple[str, str]] = ()

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what it is and examples, then the commands."""
        formatter.write_text(self.help or "")
        write_examples(formatter, self.examples)
        self.format_options(ctx, formatter)
        self.format_epilog(ctx, formatter)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order in which they were declared."""
        del ctx
        return list(self.commands)


def write_examples(formatter: click.HelpFormatter, examples: Sequence[tuple[str, str]]) -> None:
    """Write commands to type, each with what comes of it."""
    width = max(len(typed) for typed, _ in examples)
    formatter.write_paragraph()
    formatter.write("Examples:\n")
    for typed, meaning in examples:
        formatter.write(f"  {typed:<{width}}  # {meaning}\n")
