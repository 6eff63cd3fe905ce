"""Move rows between stages: by key, by range of an order, or by size.

A map task writes one object for each side (`ExchangeWriter`) and reports its `ExchangePart`; the
planner divides all parts into reduce tasks of equal measured size (`plan_exchange`), and a reduce
task reads what its `ReduceSplit` takes (`open_side`). Where an aggregate's states of hot keys are
too large for one task, tasks that merge them come first (`plan_merges`).

The object, in bytes:

    0   "RAYXCH01", zeros to 64
    64  segment, segment, ...     each is what once filled the writer's memory
          block, block, ...       each an Arrow IPC record batch message (metadata, body; LZ4 or
                                  ZSTD by buffer, or none), zeros to a multiple of 64

There is no footer: where blocks and buckets are is in the part (`Segment`), so that a reader needs
no request to find out. Rows of a segment are in the order of their buckets, and each bucket's in
that of the input but for heavy keys, whose rows stand behind the others, each key's together, and
by parts where equal values are to stay together:

    bucket 0: rest | bucket 1: rest, key a, key b: part 0, part 1, ... | bucket 2: rest | ...

    blocks   |--------|--------|--------|--------|      at most 128 of equal rows, at least 64 KiB

A bucket is a range of rows and is cut out of its blocks, so that a thousand tiny buckets cost no
message each. Blocks are what is fetched and checked (XXH3-64): a task reads at most two of a
segment for rows of others. Tasks with less than that are planned in groups, leased to one runner
group by group, and read at once (`TogetherReader`).

Rows of a sort are in its order; the keys of up to 256 of them are in the part as samples, ranges
are planned by them, and a reader finds the very row in the block.

Rows keep the order of parts, segments and rows, within a key as within a task's input.
"""

from rayorch.exchange.checking import check_side, check_sides
from rayorch.exchange.errors import ExchangeLostError, KeyRefusedError, KeysApartError
from rayorch.exchange.hashing import bucket_ids
from rayorch.exchange.index import ExchangeIndex
from rayorch.exchange.layout import Apart
from rayorch.exchange.parts import ExchangePart, carried_schema, dump_part, load_part
from rayorch.exchange.pieces import joined_pieces, pieces_of_task
from rayorch.exchange.planner import ExchangePlan, plan_exchange, plan_merges
from rayorch.exchange.reader import Fetched, open_side
from rayorch.exchange.sizing import PlanLimits, Reason
from rayorch.exchange.splits import ReduceSplit, dump_split, load_split
from rayorch.exchange.together import TogetherReader
from rayorch.exchange.writer import ExchangeWriter, codec_for

__all__ = [
    "Apart",
    "ExchangeIndex",
    "ExchangeLostError",
    "ExchangePart",
    "ExchangePlan",
    "ExchangeWriter",
    "Fetched",
    "KeyRefusedError",
    "KeysApartError",
    "PlanLimits",
    "Reason",
    "ReduceSplit",
    "TogetherReader",
    "bucket_ids",
    "carried_schema",
    "check_side",
    "check_sides",
    "codec_for",
    "dump_part",
    "dump_split",
    "joined_pieces",
    "load_part",
    "load_split",
    "open_side",
    "pieces_of_task",
    "plan_exchange",
    "plan_merges",
]
