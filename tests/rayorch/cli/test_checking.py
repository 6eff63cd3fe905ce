"""`fsck`, and what every other command says of a damaged home."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rayorch.clock import SystemClock
from rayorch.home import open_home
from rayorch.host.leader import Leader, sign
from tests.rayorch.cli.conftest import FAILING, PIPELINE, Shell

BOTH = (
    PIPELINE.replace('*.parquet")', '*.parquet", split="file")')
    + '\ndoubled.write("FOLDER/table", format="delta", name="table")\n'
)


def only(folder: Path, pattern: str) -> Path:
    return min(folder.glob(pattern))


def flip(path: Path, bit: int = 800) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8 % len(data)] ^= 1 << bit % 8
    path.write_bytes(data)


def segment(shell: Shell, n: int) -> Path:
    return shell.folder / "home" / "journal" / "log" / f"{n:020d}"


@pytest.fixture
def ran(shell: Shell) -> Shell:
    """A home with one run that has succeeded, into Parquet and into a Delta table."""
    shell.write(BOTH)
    assert shell("run", "nightly.py").code == 0
    return shell


def test_a_whole_home_is_whole(ran: Shell) -> None:
    said = ran("fsck")

    assert said.code == 0
    assert said.out.startswith("file://FOLDER/home: whole. Looked at ")
    assert "2 outputs of 6 files" in said.out
    assert "by their size alone" not in said.out


def test_of_a_home_whose_leader_was_killed_it_is_said_what_nobody_would_notice(ran: Shell) -> None:
    """Segments behind its last note: the log would pass for one that ends there."""
    stopped = ran("fsck")
    leader = Leader("control", "elsewhere", 7, SystemClock().now_s() - 3600, "nightly-1")
    sign(open_home(f"file://{ran.folder}/home"), leader)

    said = ran("fsck")

    assert stopped.err == ""
    assert said.code == 0
    assert "it notes every 3 to 5 s how far the journal goes" in said.err
    assert ran("fsck", "--json").document["looked"]["is_end_noted"] is False


def test_a_home_may_be_an_argument(ran: Shell) -> None:
    said = ran("fsck", str(ran.folder / "home"), "--json")

    assert said.code == 0
    assert said.document["ok"] is True
    assert said.document["looked"]["files"] == 6


def test_a_place_where_nothing_was_kept_is_a_mistake(shell: Shell) -> None:
    said = shell("fsck", str(shell.folder / "hoem"))

    assert said.code == 2
    assert "nothing was ever kept under file://FOLDER/hoem: is it the right home?" in said.err
    assert not (shell.folder / "hoem").exists()


def test_salvage_goes_with_repair(ran: Shell) -> None:
    said = ran("fsck", "--salvage")

    assert said.code == 2
    assert "it goes with --repair" in said.err


# --- a damaged journal, to every command --------------------------------------------------------

SPOILS: tuple[Callable[[Path], object], ...] = (
    flip,
    lambda path: path.write_bytes(path.read_bytes()[:-7]),
    Path.unlink,
)
COMMANDS = {
    "run": ("run", "nightly.py"),
    "runs": ("runs",),
    "show": ("show", "last"),
    "explain": ("explain", "last"),
    "logs": ("logs", "last"),
    "resume": ("resume", "last"),
    "cancel": ("cancel", "last"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_names_what_is_damaged_and_what_to_do(ran: Shell, command: str) -> None:
    """Also the last segment, behind which nothing is missing but the note that it was there."""
    last = max((ran.folder / "home" / "journal" / "log").iterdir())
    for path in (segment(ran, 4), last):
        for spoil in SPOILS:
            kept = path.read_bytes()
            spoil(path)

            said = ran(*COMMANDS[command])

            assert said.code == 1
            assert "error: the journal is damaged" in said.err
            assert f"object=journal/log/{path.name}" in said.err
            assert "`rayorch fsck HOME`" in said.err
            path.write_bytes(kept)


def test_doctor_names_it_too(ran: Shell) -> None:
    flip(segment(ran, 4))

    said = ran("doctor")

    assert said.code == 1
    assert "the journal is damaged" in said.out
    assert "`rayorch fsck` says what is lost and what can be mended" in said.out


def test_a_flipped_bit_is_named_then_mended(ran: Shell) -> None:
    flip(segment(ran, 4))

    looked = ran("fsck")

    assert looked.code == 1
    assert f"DAMAGE    journal/log/{4:020d}" in looked.out
    assert "would: flip bit 0 of byte 100 back, as the checksums prove" in looked.out
    assert looked.err == "`rayorch fsck --repair` does what it would do\n"
    mended = ran("fsck", "--repair")
    assert mended.code == 0
    assert f"mended    journal/log/{4:020d}" in mended.out
    assert ran("fsck").code == 0
    assert ran("show", "last").code == 0


def test_what_is_lost_is_said_and_kept_until_it_is_given_up(shell: Shell) -> None:
    """The run had failed; its records are lost; its files and those of others stay."""
    shell.write(FAILING)
    assert shell("run", "nightly.py").code == 1
    segment(shell, 4).unlink()

    refused = shell("fsck", "--repair")
    assert refused.code == 1
    assert "bring the object back from a copy" in refused.out
    assert shell("runs").code == 1

    assert shell("fsck", "--repair", "--salvage").code == 0
    assert "cancelled" in shell("runs").out
    assert "given up by `rayorch fsck --salvage`" in shell("show", "last").out
    shell.write(PIPELINE)
    assert shell("run", "nightly.py").code == 0
    assert shell("fsck").code == 0


def test_a_repair_says_who_leads(ran: Shell) -> None:
    flip(segment(ran, 4))
    clock = SystemClock()
    sign(open_home("home"), Leader("control-7", "far-away", 7, clock.now_s(), run="other"))

    said = ran("fsck", "--repair")

    assert said.code == 2
    assert "leader=control-7, pid 7 on far-away" in said.err


# --- what was published ---------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["out/_data/*/*.parquet", "table/data/*/*.parquet"])
def test_a_flipped_bit_in_a_published_file_is_named(ran: Shell, pattern: str) -> None:
    path = only(ran.folder, pattern)
    flip(path)

    said = ran("fsck", "--json")

    assert said.code == 1
    (finding,) = said.document["findings"]
    assert finding["object"] == f"file://FOLDER/{path.relative_to(ran.folder)}"
    assert finding["what"] == "its checksum does not match its content"
    assert "run the pipeline again" in finding["advice"]
    # By its size alone it passes: that is what --quick is quick by.
    assert ran("fsck", "--quick").code == 0


@pytest.mark.parametrize("pattern", ["out/_data/*/*.parquet", "table/data/*/*.parquet"])
def test_a_published_file_that_is_gone_is_named(ran: Shell, pattern: str) -> None:
    path = only(ran.folder, pattern)
    path.unlink()

    said = ran("fsck", "--quick")

    assert said.code == 1
    assert f"DAMAGE    file://FOLDER/{path.relative_to(ran.folder)}" in said.out
    assert "it is missing" in said.out


def test_a_flipped_bit_in_a_manifest_is_named_by_readers_and_mended(ran: Shell) -> None:
    path = only(ran.folder, "out/_manifests/*.json")
    before = path.read_bytes()
    flip(path, 8000)
    shown = f"file://FOLDER/{path.relative_to(ran.folder)}"

    ran.write(BOTH.replace('FOLDER/in/*.parquet"', 'FOLDER/out"'), "second.py")
    assert shown in ran("plan", "second.py").err
    assert f"DAMAGE    {shown}" in ran("fsck").out

    assert ran("fsck", "--repair").code == 0
    assert path.read_bytes() == before
    assert ran("fsck").code == 0


def test_a_manifest_that_is_gone_is_missed(ran: Shell) -> None:
    """Readers would see the version before it without a word."""
    assert ran("run", "nightly.py").code == 0
    newest = max((ran.folder / "out" / "_manifests").iterdir())
    newest.unlink()

    said = ran("fsck")

    assert said.code == 1
    assert f"DAMAGE    file://FOLDER/out/_manifests/{newest.name}" in said.out
    assert "readers see manifest" in said.out


def test_a_delta_log_without_its_end_or_its_middle_is_named(ran: Shell) -> None:
    for _ in range(2):
        assert ran("run", "nightly.py").code == 0
    log = ran.folder / "table" / "_delta_log"
    middle, end = log / f"{1:020d}.json", log / f"{2:020d}.json"

    kept = middle.read_bytes()
    middle.unlink()
    assert "version 1 is missing, and version 2 is there" in ran("fsck").out
    middle.write_bytes(kept)
    end.unlink()
    assert "its log ends with version 1, and run nightly-" in ran("fsck").out


def test_a_delta_log_that_cannot_be_read_is_named(ran: Shell) -> None:
    log = only(ran.folder, "table/_delta_log/*.json")
    log.write_bytes(log.read_bytes()[:-40])

    said = ran("fsck")

    assert said.code == 1
    assert f"DAMAGE    file://FOLDER/table/_delta_log/{log.name}" in said.out


def test_a_place_that_was_emptied_is_doubtful(ran: Shell) -> None:
    """Outputs are their owner's to remove: that is no damage of the home."""
    for path in [*ran.folder.glob("out/**/*"), *ran.folder.glob("table/**/*")]:
        if path.is_file():
            path.unlink()

    said = ran("fsck")

    assert said.code == 0
    assert said.out.count("doubt ") == 2


def test_orphans_of_ended_runs_are_deleted_and_nothing_else_is(ran: Shell) -> None:
    """Of runs that this home knows: files of others may be anybody's."""
    run = only(ran.folder, "out/_data/*").name
    orphans = [ran.folder / f"out/_data/{run}/late.parquet", ran.folder / f"table/data/{run}/x"]
    strange = ran.folder / "out/_data/another-home-1/part.parquet"
    strange.parent.mkdir()
    for path in [*orphans, strange]:
        path.write_bytes(b"late")
    before = {p: p.read_bytes() for p in ran.folder.glob("**/*.parquet") if p not in orphans}

    looked = ran("fsck", "--json")
    assert looked.code == 0
    assert [f["severity"] for f in looked.document["findings"]] == ["leftover", "leftover"]
    assert all(path.exists() for path in orphans)

    assert ran("fsck", "--repair").code == 0
    assert not any(path.exists() for path in orphans)
    assert {p: p.read_bytes() for p in ran.folder.glob("**/*.parquet")} == before


def test_older_versions_of_a_table_are_no_orphans(ran: Shell) -> None:
    """Readers of a Delta table may ask for any version, and of manifests some may be open."""
    assert ran("run", "nightly.py").code == 0

    assert json.loads(ran("fsck", "--repair", "--json").out)["findings"] == []


# --- what a run needs that has not ended --------------------------------------------------------

HALF = PIPELINE.replace('*.parquet")', '*.parquet", split="file")').replace(
    'print("doubling", len(batch))', 'assert batch["a"][0].as_py() != 20, "not yet"'
)


def half_run(shell: Shell) -> str:
    """A run of which some tasks are committed and one has failed; return its folder's name."""
    shell.write(HALF)
    assert shell("run", "nightly.py", "--slots", "1").code == 1
    assert shell("fsck").code == 0
    return only(shell.folder, "home/runs/*").name


def test_a_committed_file_that_nobody_can_see_yet_is_looked_at(shell: Shell) -> None:
    run = half_run(shell)
    path = only(shell.folder, f"out/_data/{run}/*.parquet")
    flip(path)

    said = shell("fsck")

    assert said.code == 1
    assert "committed it, and nothing shows it yet" in said.out
    assert f"`rayorch cancel {run}` and run it again" in said.out


@pytest.mark.parametrize("name", ["plan.msgpack", "program-*.pkl", "spec.json"])
def test_a_document_without_which_a_run_cannot_go_on_is_missed(shell: Shell, name: str) -> None:
    run = half_run(shell)
    path = only(shell.folder, f"home/runs/{run}/{name}")
    path.unlink()

    said = shell("fsck")

    assert said.code == 1
    assert f"DAMAGE    runs/{run}/{path.name}" in said.out


@pytest.mark.parametrize("name", ["plan.msgpack", "program-*.pkl"])
def test_a_flipped_bit_of_such_a_document_is_found_by_fsck_and_by_who_reads_it(
    shell: Shell, name: str
) -> None:
    run = half_run(shell)
    path = only(shell.folder, f"home/runs/{run}/{name}")
    flip(path)

    said, resumed = shell("fsck"), shell("resume", "last")

    assert said.code == 1
    assert f"DAMAGE    runs/{run}/{path.name}" in said.out
    assert "its checksum does not match" in said.out
    assert resumed.code != 0
    assert "damaged object: its checksum does not match" in resumed.err


EXCHANGED = FAILING.replace(
    "@nightly.map(lines)",
    'mixed = lines.repartition("mixed", by="a", parts=2)\n\n@nightly.map(mixed)',
)
SPOILT: tuple[tuple[Callable[[Path], object], str], ...] = (
    (flip, "the checksum of its block at byte"),
    (lambda path: path.write_bytes(path.read_bytes()[:-7]), "bytes"),
    (Path.unlink, "it is missing"),
)


@pytest.mark.parametrize(("spoil", "what"), SPOILT)
def test_a_spoilt_exchange_file_is_named_and_costs_its_task_another_run(
    shell: Shell, spoil: Callable[[Path], object], what: str
) -> None:
    shell.write(EXCHANGED)
    assert shell("run", "nightly.py").code == 1
    assert shell("fsck").out.count("harmless") == 0
    path = only(shell.folder, "home/runs/*/exchange/*/*")
    spoil(path)

    said = shell("fsck")
    shell.write(EXCHANGED.replace('raise ValueError("no such price")', "pass"))
    resumed = shell("resume", "last", "nightly.py")

    assert said.code == 0
    assert f"harmless  runs/{path.relative_to(shell.folder / 'home' / 'runs')}" in said.out
    assert what in said.out
    assert "is executed again when it is read" in said.out
    assert resumed.code == 0
