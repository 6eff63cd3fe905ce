"""`bench data`: data to measure with."""

from dataclasses import asdict

import click

from rayorch.bench.generating import TPCH, Wanted, generate
from rayorch.cli.errors import OptionError
from rayorch.cli.options import Exit, Options
from rayorch.cli.printing import print_document
from rayorch.observe.figures import bytes_text, counted


def data(options: Options) -> int:
    """Make it, telling of each file on standard error."""
    if options.kind == TPCH and options.rows is not None:
        raise OptionError("TPC-H is as large as --scale-factor says", "--rows", str(options.rows))
    wanted = Wanted(
        kind=options.kind,
        to=options.to,
        rows=options.rows,
        files=options.files,
        seed=options.seed,
        scale_factor=options.scale_factor,
    )
    made = generate(wanted, lambda line: click.echo(line, err=True))
    if options.as_json:
        print_document(asdict(made))
    else:
        rows = "" if made.rows is None else f"{made.rows:,} rows, "
        size = bytes_text(made.size_bytes)
        click.echo(f"{made.url}: {rows}{counted(made.files, 'file')}, {size}")
    return Exit.OK
