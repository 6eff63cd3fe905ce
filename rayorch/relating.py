"""What a dataset's handle offers of relational operators: those that need all rows at once.

Each takes the name of the dataset that it makes first. Semantics are SQL's, as written down in
rayorch/relational.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from rayorch.authoring import caller_place, checked_schema, located
from rayorch.closures import source_place
from rayorch.conventions import check_extra, convention_of
from rayorch.errors import SpecError
from rayorch.handles import NEEDS, Handle, Needs, input_name, resources_of
from rayorch.operands import (
    check_options,
    keys_of_sides,
    measures_of,
    names_of,
    operator_code,
    ordering,
    sort_keys,
    window_columns,
)
from rayorch.relational import GroupMapCode
from rayorch.spec import (
    AggregateSpec,
    AsofSpec,
    DedupeSpec,
    GroupMapSpec,
    JoinSpec,
    RepartitionSpec,
    SortSpec,
    WindowSpec,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta
    from typing import Self

    import pyarrow as pa

    from rayorch.operands import PlainSpec
    from rayorch.relational import AsofDirection, JoinHow, SortKey, UserAggregate

    Names = str | Sequence[str]
    Order = str | SortKey | Sequence[str | SortKey]
    Flags = bool | Sequence[bool]
    Measured = Sequence[object] | Mapping[str, object]
    """A measure: (column, function, what else it takes), as `Dataset.aggregate` says."""


class GroupMapOptions(Needs, total=False):
    """What may be said of `map_groups` beside its function and keys."""

    output: str | None
    columns: Sequence[str] | None
    schema: pa.Schema | None
    order: Order
    gpus: float | None


class Related(Handle):
    """A handle with the relational operators on its dataset."""

    __slots__ = ()

    def aggregate(  # noqa: PLR0913 - the public face, all by keyword but the name.
        self,
        output: str,
        /,
        *,
        by: Names = (),
        measures: Mapping[str, Measured] | None = None,
        deterministic: bool = False,
        memory: int | str | None = None,
        cores: float | None = None,
        labels: Mapping[str, str] | None = None,
        **more: Measured,
    ) -> Self:
        """Return one row per group: the keys, then one column per measure.

            lines.aggregate("summary", by=["flag", "status"], qty=("l_quantity", "sum"),
                            typical=("l_price", "approx_quantile", 0.5), lines=("*", "count"),
                            latest=("l_status", "last", "l_updated_at"))

        A measure is (column, function): sum, count, mean, min, max, var, std, count_distinct or
        approx_count_distinct; (column, "approx_quantile", q); (column, "first" or "last", what it
        is ordered by); or (column or list of columns, an object of a class of your own made from
        `rayorch.Aggregate`). `("*", "count")` counts rows. Names that Python does not take as an
        argument, or that are options, go into `measures={"by": (...)}`.

        Nulls are left out, and are a group of their own as a key. Without `by` there is one row,
        even of no rows. Sums and means of floats depend on the order of addition, to the last
        bits; `deterministic=True` makes them the same for every division of the rows, and takes
        longer. Its `var` and `std` lose digits where the mean is far above the deviation.

        Raises: SpecError.
        """
        needs = Needs(memory=memory, cores=cores, labels=labels)
        options = ("by", "measures", "deterministic", *NEEDS)
        with located(self.draft.name, output, caller_place()):
            columns, aggregates = measures_of(measures, more, options)
        fields = {"by": names_of(by), "measures": columns, "deterministic": deterministic}
        return self._related(AggregateSpec, output, needs, fields, aggregates)

    def map_groups(
        self, function: Callable[..., object], *, by: Names, **options: Unpack[GroupMapOptions]
    ) -> Self:
        """Return what a function makes of the rows of each group, keys included.

            models = lines.map_groups(fitted, by="l_partkey", order="l_shipdate",
                                      columns=["l_price"], schema=MODEL)

        The function takes and returns a table, as one of `Pipeline.map`; all rows of one group are
        in memory at once. Without `output` the dataset has the function's name. `columns` are what
        it is given beside the keys and the order, `schema` is what its results are cast to; give
        it when the results of some groups may be empty or null.

        Raises: SpecError.
        """
        draft = self.draft
        output = options.get("output")
        name = output if output is not None else getattr(function, "__name__", "")
        where = source_place(function) or caller_place()
        with located(draft.name, name, where):
            check_extra("duckdb", "sql", "a relational operator")
            check_options("map_groups", options, ("by", *GroupMapOptions.__annotations__))
            takes = convention_of(function)
            if name in {"", "<lambda>"}:
                fix = 'for example .map_groups(lambda rows: rows, by="id", output="same")'
                raise SpecError("a function without a name needs output=", fix=fix)
            schema = checked_schema(options.get("schema"))
            order = ordering(options.get("order", ()), False, False)
            resources = resources_of(options, options.get("gpus"))
        spec = draft.part(
            GroupMapSpec,
            name,
            input=self.name,
            by=names_of(by),
            function=getattr(function, "__qualname__", type(function).__qualname__),
            takes=takes,
            columns=names_of(options.get("columns")),
            schema_text=None if schema is None else schema.to_string(),
            order=order,
            resources=resources,
            where=where,
        )
        code = GroupMapCode(
            by=spec.by, function=function, takes=takes, schema=schema, order=sort_keys(spec.order)
        )
        return type(self)(draft, draft.add_transform(spec, code))

    def join(  # noqa: PLR0913 - the public face.
        self,
        output: str,
        other: Self | str,
        *,
        on: Names | None = None,
        left_on: Names | None = None,
        right_on: Names | None = None,
        how: JoinHow = "inner",
        suffix: str = "_right",
        **needs: Unpack[Needs],
    ) -> Self:
        """Return the pairs of rows of this and another dataset whose keys are equal.

            lines.join("priced", parts, left_on="l_partkey", right_on="p_partkey", how="left")

        `how` is inner, left, right, full, semi (rows of this that have a match) or anti (that have
        none). Key columns are there once, under this side's names; another column of the right
        whose name is taken gets the suffix. Null keys match nothing.

        Raises: SpecError.
        """
        options = ("on", "left_on", "right_on", "how", "suffix", *NEEDS)
        with located(self.draft.name, output, caller_place()):
            check_options("join", needs, options)
            ours, theirs = keys_of_sides(("on", "left_on", "right_on"), on, left_on, right_on)
            if ours is None:
                fix = 'on="id" for keys of the same name, else left_on=... and right_on=...'
                raise SpecError("a join needs keys", field="on", fix=fix)
        fields = {
            "other": input_name(self.draft, other),
            "how": how,
            "left_on": names_of(ours),
            "right_on": names_of(theirs),
            "suffix": suffix,
        }
        return self._related(JoinSpec, output, needs, fields)

    def join_asof(  # noqa: PLR0913 - the public face.
        self,
        output: str,
        other: Self | str,
        *,
        on: str | None = None,
        left_on: str | None = None,
        right_on: str | None = None,
        by: Names | None = None,
        left_by: Names | None = None,
        right_by: Names | None = None,
        direction: AsofDirection = "backward",
        tolerance: timedelta | float | None = None,
        suffix: str = "_right",
        **needs: Unpack[Needs],
    ) -> Self:
        """Return every row of this once, with the row of the other that is nearest in time.

            trades.join_asof("quoted", quotes, on="at", by="symbol",
                             tolerance=timedelta(seconds=5))

        backward takes the last row of the other at or before the time, forward the first at or
        after it, nearest the closer of both. Rows match only with equal `by`, and only within the
        tolerance: a timedelta, or a number in the unit of the columns. A row without a match has
        nulls.

        Raises: SpecError.
        """
        options = ("on", "left_on", "right_on", "by", "left_by", "right_by", "direction")
        with located(self.draft.name, output, caller_place()):
            check_options("join_asof", needs, (*options, "tolerance", "suffix", *NEEDS))
            at, theirs_at = keys_of_sides(("on", "left_on", "right_on"), on, left_on, right_on)
            if at is None:
                fix = 'on="at" for columns of the same name, else left_on=... and right_on=...'
                raise SpecError("an as-of join needs a time column", field="on", fix=fix)
            keys, their_keys = keys_of_sides(("by", "left_by", "right_by"), by, left_by, right_by)
        fields = {
            "other": input_name(self.draft, other),
            "left_on": at,
            "right_on": theirs_at,
            "left_by": () if keys is None else names_of(keys),
            "right_by": () if their_keys is None else names_of(their_keys),
            "direction": direction,
            "tolerance": tolerance,
            "suffix": suffix,
        }
        return self._related(AsofSpec, output, needs, fields)

    def sort(
        self,
        output: str,
        by: Order,
        *,
        descending: Flags = False,
        nulls_first: Flags = False,
        deterministic: bool = False,
        **needs: Unpack[Needs],
    ) -> Self:
        """Return all rows in one order: within files, and of the files by their names.

            lines.sort("by_day", ["l_shipdate", "l_orderkey"], descending=[True, False])

        `descending` and `nulls_first` hold for all columns, or are lists with a value for each.
        Rows with equal keys come in any order; with `deterministic=True`, in that of the input.

        Raises: SpecError.
        """
        with located(self.draft.name, output, caller_place()):
            options = ("by", "descending", "nulls_first", "deterministic", *NEEDS)
            check_options("sort", needs, options)
            keys = ordering(by, descending, nulls_first, "by")
        fields = {"by": keys, "deterministic": deterministic}
        return self._related(SortSpec, output, needs, fields)

    def dedupe(
        self,
        output: str,
        by: Names = (),
        *,
        order: Order = (),
        descending: Flags = False,
        nulls_first: Flags = False,
        deterministic: bool = False,
        **needs: Unpack[Needs],
    ) -> Self:
        """Return one row per key: the first by `order`. Without `by`, one of each equal rows.

            events.dedupe("latest", by="id", order="updated_at", descending=True)

        Without an order, or among rows that it ties, any row is kept; with `deterministic=True`,
        the first of the input.

        Raises: SpecError.
        """
        with located(self.draft.name, output, caller_place()):
            options = ("by", "order", "descending", "nulls_first", "deterministic", *NEEDS)
            check_options("dedupe", needs, options)
            keys = ordering(order, descending, nulls_first)
        fields = {"by": names_of(by), "order": keys, "deterministic": deterministic}
        return self._related(DedupeSpec, output, needs, fields)

    def repartition(
        self,
        output: str,
        by: Names = (),
        *,
        ranges: bool = False,
        size: int | str | None = None,
        parts: int | None = None,
        **needs: Unpack[Needs],
    ) -> Self:
        """Return the same rows divided anew: by key, by ranges of keys, or by size alone.

            lines.repartition("by_day", "l_shipdate", ranges=True, size="256 MiB")

        Rows of one key are then in one part. `size` is what a part should hold in memory,
        uncompressed; `parts` is how many there are to be, instead.

        Raises: SpecError.
        """
        with located(self.draft.name, output, caller_place()):
            check_options("repartition", needs, ("by", "ranges", "size", "parts", *NEEDS))
        fields = {"by": names_of(by), "ranges": ranges, "size_bytes": size, "parts": parts}
        return self._related(RepartitionSpec, output, needs, fields)

    def window(  # noqa: PLR0913 - the public face, all by keyword but the name.
        self,
        output: str,
        /,
        *,
        order: Order,
        by: Names = (),
        descending: Flags = False,
        nulls_first: Flags = False,
        columns: Mapping[str, str | Measured] | None = None,
        memory: int | str | None = None,
        cores: float | None = None,
        labels: Mapping[str, str] | None = None,
        **more: str | Measured,
    ) -> Self:
        """Return every row, with further columns made of the rows before it in its group.

            events.window("running", by="user", order="at", visit="row_number",
                          spent=("price", "sum"), before=("page", "lag", 1))

        A column is "row_number", "rank" or "dense_rank"; (column, function) of sum, mean, min,
        max, count, first or last, over all rows of the group up to this one; or (column, "lag" or
        "lead", offset, default), of which the offset is 1 and the default null unless given. Rows
        that `order` ties come in any order: name enough columns to tell rows apart.

        Raises: SpecError.
        """
        needs = Needs(memory=memory, cores=cores, labels=labels)
        with located(self.draft.name, output, caller_place()):
            keys = ordering(order, descending, nulls_first)
            made = window_columns(columns, more)
        fields = {"by": names_of(by), "order": keys, "columns": made}
        return self._related(WindowSpec, output, needs, fields)

    def _related(
        self,
        model: type[PlainSpec],
        output: str,
        needs: Needs,
        fields: dict[str, Any],
        aggregates: Mapping[str, UserAggregate] | None = None,
    ) -> Self:
        draft = self.draft
        with located(draft.name, output, caller_place()):
            check_extra("duckdb", "sql", "a relational operator")
            resources = resources_of(needs)
        spec = draft.part(model, output, input=self.name, resources=resources, **fields)
        return type(self)(draft, draft.add_transform(spec, operator_code(spec, aggregates or {})))
