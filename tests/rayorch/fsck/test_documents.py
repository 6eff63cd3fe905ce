"""What fsck says of the documents of a run that is still to go on."""

import pytest

from connectors.stores.memory import MemoryStore
from rayorch.core.run import Run
from rayorch.fsck.kept import document_findings
from rayorch.home import Home
from rayorch.ids import RunId, new_nonce
from tests.rayorch import make
from tests.rayorch.exchanges import run_divided
from tests.rayorch.plan.test_waiting import DIRECT, FACTS, LARGE, NAMES, joined


@pytest.mark.parametrize("how", ["whole", "cut", "gone", "flipped"])
def test_what_became_of_a_stage_that_waited_is_read_as_such(how: str) -> None:
    store = MemoryStore(new_nonce())
    done = run_divided(joined, {"facts": FACTS, "names": NAMES}, DIRECT, store=store)
    run = _going_on(RunId(done.view.run), done.view.version)
    key = f"runs/{run.id}/stage-{LARGE}.msgpack"
    if how == "cut":
        data = store.get(key)
        store.delete([key])
        store.put(key, data[: len(data) // 2])
    if how == "flipped":
        data = store.get(key)
        store.put(key, data[:9] + bytes([data[9] ^ 1]) + data[10:])
    if how == "gone":
        store.delete([key])

    found = [each.object for each in document_findings(Home(store), {run.id: run})]

    assert found == ([] if how == "whole" else [key])


def _going_on(name: RunId, version: str) -> Run:
    return Run(
        id=name,
        pipeline="exchanges",
        version=version,
        owner="",
        stages=(),
        sinks=(),
        retry=make.RETRY,
        submitted_s=0.0,
        planned=True,
        revisions={LARGE: 1, 2: 1},
        waits={LARGE: (1,)},
    )
