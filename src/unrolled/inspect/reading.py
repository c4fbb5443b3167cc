"""Pictures of what was read: where attention looked, and contexts that leave like states."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from unrolled.inspect import figures, page
from unrolled.inspect.contexts import Neighbours, Place, neighbours
from unrolled.inspect.coverage import READ, Alignment, alignment
from unrolled.inspect.findings import Examined
from unrolled.inspect.looks import Looked
from unrolled.inspect.texts import Read

MAPS = 4  # sequences whose attention is shown
PLACES = 40  # steps and sources of such a map at most
ASKED = 6  # states whose neighbours are shown, each of another row
NEAREST = 3  # of them
TWICE = 1.5  # of a look: a place that got more was read again


def looks(
    looked: Sequence[Looked], lengths: Tensor | None, reads: Sequence[Read] = ()
) -> Iterator[page.Block]:
    """Show where attention looked: maps of a few sequences, and what they read and left out."""
    for one in looked:
        rows = range(min(MAPS, one.weights.shape[1]))
        if not rows or not one.weights.shape[2]:
            continue
        steps, places = _names(one, reads)
        ends = _ends(one, lengths, steps)
        maps = [_map(one, row, ends, steps, places) for row in rows]
        yield page.Grid([page.Figure(chart, "") for chart in maps])
        yield page.Prose(
            f"{one.name}: a row is a step, a column a place of what is looked at; the stronger the "
            f"shade, the more was read there. A look spreads over {float(one.breadth.mean()):.1f} "
            f"of {one.weights.shape[2]} places on average; one that spreads over all of them has "
            "not found out where to look."
        )
        if max(ends) > 1:  # a single look, such as one that pools, goes over nothing again
            yield from _coverage(one, ends, places)


def _names(looked: Looked, reads: Sequence[Read]) -> tuple[Read | None, Read | None]:
    """Find what a look's steps read, and what its places are: where there is one of each."""
    own = [read for read in reads if read.covers(looked.name)]
    others = [read for read in reads if not read.covers(looked.name)]
    if len(own) != 1 or len(others) != 1:
        return None, None
    time, batch, source = looked.weights.shape
    for read, size in ((own[0], time), (others[0], source)):
        if len(read.rows) != batch or max(map(len, read.rows), default=0) > size:
            return None, None
    return own[0], others[0]


def _ends(looked: Looked, lengths: Tensor | None, steps: Read | None) -> list[int]:
    """Give each row's number of steps."""
    time, batch, _ = looked.weights.shape
    if steps is not None:
        return [len(row) for row in steps.rows]
    if lengths is not None and len(lengths) == batch and int(lengths.max()) <= time:
        return lengths.tolist()
    return [time] * batch


def _map(
    looked: Looked, row: int, ends: Sequence[int], steps: Read | None, places: Read | None
) -> figures.Markup:
    there = [int(place) for place in looked.visible[row].nonzero()[:PLACES, 0]]
    weights = looked.weights[: min(ends[row], PLACES), row].cpu()[:, there]
    labels = [str(step + 1) for step in range(len(weights))]
    if steps is not None:
        labels = list((steps.writes or steps.rows)[row][: len(weights)])
    columns = [str(place + 1) for place in there]
    if places is not None:
        columns = [places.rows[row][place] for place in there]
    return figures.heat_map(
        labels,
        columns,
        weights.numpy(),
        title=f"Sequence {row + 1}",
        row_title="step" if steps is None or not steps.writes else "wrote",
        column_title="place" if places is None else "read",
    )


def _coverage(looked: Looked, ends: Sequence[int], places: Read | None) -> Iterator[page.Block]:
    """Say what was read of the same sequences, and how often."""
    found = alignment(looked.weights, ends, sources=looked.visible.sum(1))
    columns = ["sequence", "hardly read", "read again", "gone over again", "never goes back"]
    rows = [_read(found, row, places) for row in range(min(MAPS, len(ends)))]
    title = "What was read of each sequence, all its steps together"
    yield page.Table(title, columns, rows, columns[3:])
    unread, again = float(found.unread.nanmean()), float(found.repetition.nanmean())
    yield page.Prose(
        f"A place is hardly read if all looks together gave it less than {READ:g} of one, and read "
        f"again if they gave it more than {TWICE:g}. Over all {len(ends)} sequences {unread:.0%} "
        f"of the places are hardly read, {again:.0%} of the looking goes where earlier steps had "
        f"looked, and {float(found.monotone.nanmean()):.0%} of the moves do not go back. What is "
        "hardly read was left out or known from its neighbours; what is read again is where a "
        "model stutters."
    )


def _read(found: Alignment, row: int, places: Read | None) -> tuple[str, ...]:
    coverage = found.coverage[row]
    there = range(int(coverage.isfinite().sum()))

    def named(some: Tensor) -> str:
        chosen = [place for place in there if bool(some[place])]
        names = [str(p + 1) if places is None else places.rows[row][p] for p in chosen]
        return " ".join(names) or "none"

    whole = places.context(len(there) - 1, row) if places and there else ""
    shares = (f"{float(share[row]):.0%}" for share in (found.repetition, found.monotone))
    name = f"{row + 1}: {whole}" if whole else str(row + 1)
    return (name, named(coverage < READ), named(coverage > TWICE), *shares)


def alike(some: Sequence[Examined], reads: Sequence[Read]) -> Iterator[page.Block]:
    """Show states of each part's last layer beside the contexts that left the most like them."""
    tables = [table for read in reads for table in _tables(some, read)]
    if not tables:
        return
    yield from tables
    yield page.Prose(
        "A state is all that a recurrence knows of what it has read. Beside what it had read stand "
        "the contexts of other sequences that left it in the most similar states; a distance of "
        "0 % is the same state, 100 % the average of all. What neighbours have in common is what "
        "it remembers, what tells them apart is what it has forgotten or does not need."
    )


def _tables(some: Sequence[Examined], read: Read) -> Iterator[page.Table]:
    forwards = [e for e in some if read.covers(e.name) and "backwards" not in e.name]
    for examined in forwards[-1:]:
        recurrence = examined.recurrence
        symbols = read.ids(recurrence)
        asked = _asked(read)
        if symbols is None or not asked:
            continue
        symbols = symbols.to(recurrence.active.device)
        found = neighbours(recurrence, asked, count=NEAREST, symbols=symbols)
        rows = list(_rows(found, read))
        if rows:
            title = f"{examined.name}: contexts that leave its {found.state} alike"
            columns = ["having read", "is most like having read", "distance"]
            yield page.Table(title, columns, rows, columns[2:])


def _asked(read: Read) -> list[Place]:
    """Choose states, from early in a row to the end of one."""
    rows = [row for row, symbols in enumerate(read.rows) if symbols]
    chosen = torch.linspace(0, len(rows) - 1, min(ASKED, len(rows))).round().long().tolist()
    return [
        ((len(read.rows[rows[c]]) * (place + 1) - 1) // len(chosen), rows[c])
        for place, c in enumerate(chosen)
    ]


def _rows(found: Neighbours, read: Read) -> Iterator[tuple[str, ...]]:
    for asked, places, apart in zip(found.asked, found.places, found.distances, strict=True):
        for place, distance in zip(places, apart, strict=True):
            yield read.context(*asked), read.context(*place), f"{distance:.0%}"
