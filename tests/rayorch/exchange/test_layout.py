"""Heavy keys stand apart, with exact counts, and none is missed."""

import numpy as np
import pyarrow as pa
import pytest

from rayorch.exchange.hashing import buckets_of, key_hashes
from rayorch.exchange.layout import HEAVY_MAX, HEAVY_ROWS_MIN, heavy_hashes, layout_of
from rayorch.relational import HashKeys, Spread


@pytest.mark.parametrize("seed", range(20))
def test_the_sketch_counts_exactly_and_misses_nothing(seed: int) -> None:
    """Also where two keys share their lowest bits."""
    source = np.random.default_rng(seed)
    keys = source.integers(0, 1 << 63, 300, dtype=np.uint64)
    keys[1::2] = keys[::2] ^ np.uint64(1 << 40)
    hashes = keys[(source.pareto(0.8, 5000) * 3).astype(int) % 300]
    rows_min = int(source.integers(1, 400))

    found = heavy_hashes(hashes, rows_min)

    unique, firsts, counts = np.unique(hashes, return_index=True, return_counts=True)
    truth = zip(unique.tolist(), counts.tolist(), firsts.tolist(), strict=True)
    assert found == [item for item in truth if item[1] >= rows_min]


@pytest.mark.parametrize("share", [0.004, 0.05, 0.5, 1.0])
@pytest.mark.parametrize("buckets", [1, 64, 1024])
def test_rows_are_by_bucket_and_heavy_keys_behind_the_rest(share: float, buckets: int) -> None:
    source = np.random.default_rng(7)
    rows = 60_000
    keys = np.where(source.random(rows) < share, -5, source.integers(0, 50_000, rows))
    table = pa.table({"k": keys})
    hashes = key_hashes(table, ["k"])

    layout = layout_of(table, HashKeys(("k",)), buckets)

    assert layout.order is not None
    ids = buckets_of(hashes, buckets)
    assert layout.bucket_rows.tolist() == np.bincount(ids, minlength=buckets).tolist()
    assert np.array_equal(np.sort(layout.order), np.arange(rows))
    assert (np.diff(ids[layout.order].astype(int)) >= 0).all()
    hot = hashes[np.flatnonzero(keys == -5)[0]]
    expected = share >= 2 / buckets and share >= 1 / 512
    assert [key.key_hash for key in layout.heavy] == ([int(hot)] if expected else [])
    for key in layout.heavy:
        end = int(np.cumsum(layout.bucket_rows)[key.bucket])
        apart = layout.order[end - key.rows : end]
        assert (hashes[apart] == hot).all()
        assert (np.diff(apart) > 0).all()
        assert key.rows == int((keys == -5).sum())
        assert key.text == "-5"
        rest = layout.order[end - int(layout.bucket_rows[key.bucket]) : end - key.rows]
        assert not (hashes[rest] == hot).any()
        assert (np.diff(rest) > 0).all()


def test_the_sketch_is_bounded() -> None:
    table = pa.table({"k": np.repeat(np.arange(400), 100), "t": ["x" * 500] * 40_000})

    layout = layout_of(table, HashKeys(("k", "t")), 4096)
    few = layout_of(pa.table({"k": [1] * (HEAVY_ROWS_MIN - 1)}), HashKeys(("k",)), 64)

    assert len(layout.heavy) == HEAVY_MAX
    assert max(len(key.text) for key in layout.heavy) <= 40
    assert few.heavy == ()
    assert layout_of(table, Spread(), 1).order is None
