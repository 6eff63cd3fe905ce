"""`pools`: what is known of node pools, where from, and what of them is there."""

import os
from collections.abc import Iterator, Sequence
from typing import Any, Final

import click

from rayorch.cli.errors import NoPoolsError
from rayorch.cli.options import Exit, Options
from rayorch.cli.printing import print_document, print_section, print_table
from rayorch.host.live_pools import LiveNode, live_nodes, live_pools
from rayorch.host.ray_cluster import warm_cluster
from rayorch.observe.figures import bytes_text, counted, usd_text
from rayorch.plan.labels import LOCAL, NAME_IT, SPOT
from rayorch.plan.machines import FACTS, Described
from rayorch.plan.pool_files import PoolFile, read_pool_file
from rayorch.plan.pools import UNKNOWN_BYTES

LABEL: Final = 17
UNKNOWN: Final = "unknown"
_UNITS: Final = {
    "usd_h": "USD an hour",
    "speed": "of a core, 1 is the machine that estimates are stated for",
    "bill_s": "s billed at once",
    "min_bill_s": "s billed at least",
    "provision_s": "s from request to running",
    "boot_s": "s from running to working",
    "reclaims_per_h": "an hour",
    "outage_s": "s",
    "net_gbps": "Gbit/s",
}


def pools(options: Options) -> int:
    """Print the pools of a file, and those of the cluster if there is one."""
    file = read_pool_file(options.file, options.prices) if options.file else None
    address = os.environ.get("RAY_ADDRESS") or getattr(warm_cluster(), "address", None)
    if file is None and address is None:
        raise NoPoolsError
    nodes = [] if address is None else live_nodes(address)
    if options.as_json:
        print_document(_document(file, address, nodes))
        return Exit.OK
    if file is not None:
        _print_file(file)
    if address is not None:
        print_live(address, nodes, file)
    return Exit.OK


def _document(file: PoolFile | None, address: str | None, nodes: list[LiveNode]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    if file is not None:
        document["file"] = file.file
        document["prices"] = file.prices or None
        document["pools"] = [_pool_document(each) for each in file.described]
    if address is not None:
        document["cluster"] = {
            "address": address,
            "pools": [
                {
                    "pool": live.pool,
                    "nodes": live.nodes,
                    "slots": live.slots,
                    "problem": live.problem or None,
                    "facts": None if live.described is None else _facts_document(live.described),
                }
                for live in live_pools(nodes)
            ],
        }
    return document


def _pool_document(pool: Described) -> dict[str, Any]:
    return {
        "pool": pool.spec.name,
        "of": list(pool.machines),
        "nodes_min": pool.nodes_min,
        "nodes_max": pool.spec.max_nodes,
        "labels": pool.spec.labels,
        "facts": _facts_document(pool),
    }


def _facts_document(pool: Described) -> dict[str, Any]:
    known = {
        fact: {"value": pool.facts[fact].value, "from": pool.facts[fact].source}
        for fact in FACTS
        if fact in pool.facts
    }
    return known | dict.fromkeys(pool.unknown)


def _print_file(file: PoolFile) -> None:
    rows = [
        [
            pool.spec.name,
            f"{pool.nodes_min}-{pool.spec.max_nodes}",
            f"{pool.spec.vcpu:g}",
            bytes_text(pool.spec.memory) if pool.spec.memory < UNKNOWN_BYTES else UNKNOWN,
            f"{pool.spec.gpus:g}" if "gpus" in pool.facts else UNKNOWN,
            UNKNOWN if pool.spec.usd_h is None else f"{pool.spec.usd_h:g}",
            str(pool.facts["market"].value) if "market" in pool.facts else UNKNOWN,
            pool.spec.location or UNKNOWN,
            f"{pool.spec.speed:g}" if "speed" in pool.facts else UNKNOWN,
        ]
        for pool in file.described
    ]
    columns = ["pool", "nodes>", "cores>", "memory>", "gpus>", "USD/h>", "market", "region"]
    click.echo(f"{file.file}: {counted(len(rows), 'pool')}\n")
    print_table([*columns, "speed>"], rows)
    for pool in file.described:
        print_section(f"pool {pool.spec.name}", _lines(pool), LABEL)


def _lines(pool: Described) -> Iterator[tuple[str, str]]:
    for fact in FACTS:
        known = pool.facts.get(fact)
        if known is not None:
            yield fact, f"{_value_text(fact, known.value)}  ({known.source})"
    for fact in pool.unknown:
        yield fact, f"{UNKNOWN}{_reckoned(pool, fact)}"


def _value_text(fact: str, value: float | str) -> str:
    if fact == "memory":
        return bytes_text(float(value))
    text = value if isinstance(value, str) else f"{value:g}"
    return f"{text} {_UNITS[fact]}" if fact in _UNITS else text


def _reckoned(pool: Described, fact: str) -> str:
    """Return what a plan has in the place of what is not known."""
    if fact == "usd_h":
        return "; a plan counts core hours, and a budget is refused"
    if fact == "memory":
        return "; taken for enough"
    spec = pool.spec.spot if fact in {"reclaims_per_h", "outage_s"} else pool.spec
    value = getattr(spec, fact, None)
    if fact == "market":
        return f"; taken for on-demand, and not for {SPOT}"
    return f"; a plan reckons with {_value_text(fact, value)}" if value else ""


def print_live(address: str, nodes: Sequence[LiveNode], file: PoolFile | None) -> None:
    """Print what pools the living nodes of a cluster make, beside those of a file."""
    click.echo(f"\ncluster {address}: {counted(len(nodes), 'node')} alive\n")
    in_file = {each.spec.name: each.spec.usd_h for each in file.described} if file else {}
    found = live_pools(nodes)
    rows = []
    for live in found:
        price = None if live.described is None else live.described.spec.usd_h
        price = in_file.get(live.pool) if price is None else price
        rows.append([live.pool, str(live.nodes), str(live.slots), usd_text(price)])
    print_table(["pool", "nodes>", "slots>", "USD/h>"], rows)
    for live in found:
        if live.problem:
            click.echo(f"\npool {live.pool}: {live.problem}")
    if len(found) > 1 or file is not None:
        for live in found:
            if live.pool == LOCAL and live.pool not in in_file:
                them = f"{counted(live.nodes, 'node')} without the label `pool`"
                click.echo(f"\npool {LOCAL}: {them}, which no plan for named pools uses")
                click.echo(f"  {NAME_IT}")
    missing = sorted(in_file.keys() - {live.pool for live in found})
    if missing:
        click.echo(f"\nno node alive of: {', '.join(missing)}")
