"""A chain of layers in one task for each block of its result: what the block needs is followed back to the image.

Zeros are put only where a layer's windows leave the image, so the result is that of the whole image.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from xpconv._arrays.types import Array
from xpconv._chunks.asked import Asked
from xpconv._chunks.grid import Grid, Line, line, lines, slab
from xpconv._chunks.tasks import Place, Slab
from xpconv._shapes.chunks import Read, blocks, output_bounds, pieces, whole
from xpconv._shapes.chunks import read as read_windows
from xpconv._shapes.geometry import Geometry, Interval, Ints


@dataclass(frozen=True)
class Link:
    """A layer of a chain."""

    name: str
    layer: Any  # a frozen record whose `forward` takes parameters and images
    geometry: Geometry | None = None  # None: it takes pixel by pixel
    fixed: tuple[tuple[str, Any], ...] = ()  # options that it has in every block

    def within(self, padding: Any) -> Any:
        """Give the layer with the padding that a block's windows meet."""
        return replace(self.layer, padding=padding, **dict(self.fixed))


class Step(NamedTuple):
    """A layer in a block: how its padded images are laid if the padding repeats pixels, and what is called."""

    name: str
    layer: Any
    laid: Slab | None


class Need(NamedTuple):
    """What a block needs of the images that a layer gets, along an axis."""

    own: Interval  # of the result of the chain
    reads: tuple[Read, ...]  # of the layers with windows, the first layer first
    first: Interval  # of the image itself


def predict(asked: Asked, links: Sequence[Link], parameters: Mapping[str, Array]) -> Array:
    """Make the graph; the layers with windows say how the image is cut."""
    geometries = [link.geometry for link in links if link.geometry is not None]
    rank, last = geometries[0].rank, geometries[-1]
    source, graph = asked.images("x", rank), asked.graph()
    own = []
    for axis in range(rank):
        cuts = source.bounds[axis + 1]
        for geometry in geometries:
            cuts = output_bounds(geometry, axis, cuts)
        own.append(cuts)
    wanted = [source.bounds[0], *own, (0, last.filters)]
    first, *spatial, channels = asked.cut(last.output_shape, source.order, wanted)
    if len(channels) > 2:
        raise ValueError(f"{asked.name}: a chunk has all channels of the result; got chunks={asked.chunks!r}")
    needs = [[need(geometries, axis, one) for one in blocks(cuts)] for axis, cuts in enumerate(spatial)]
    axes = [
        [Line(one.own, found := whole(one.first), source.pieces(axis, found.runs)) for one in those]
        for axis, those in enumerate(needs, start=1)
    ]
    everything = Line((0, last.filters), found := whole((0, source.shape[-1])), source.pieces(-1, found.runs))
    grid = Grid([lines(source, 0, first), *axes, [everything]], source.order)
    known = graph.small(dict(parameters))
    name = graph.name()
    forms: dict[Any, tuple[Step, ...]] = {}
    taken = itertools.product(lines(source, 0, first), *needs)
    for (place, chosen), (batch, *needed) in zip(grid, taken, strict=True):
        arguments, laid = slab(graph, source, chosen)
        form = (batch.size, *((one.first[0], one.first[1], one.reads) for one in needed))
        if form not in forms:
            forms[form] = steps_of(asked, links, batch.size, needed)
        block = asked.block(run, (laid, None), {"steps": forms[form]})
        graph.add((name, *place), block, *arguments, known)
    return graph.array(name, grid.chunks, asked.like)


def need(geometries: Sequence[Geometry], axis: int, own: Interval) -> Need:
    """Follow a range of an axis back through the layers."""
    wanted, reads = own, []
    for geometry in reversed(geometries):
        found = read_windows(geometry, axis, wanted)
        reads.append(found)
        starts = [run.start if run.step >= 0 else run.start - run.length + 1 for run in found.runs]
        ends = [run.start + run.step * (run.length - 1) if run.step >= 0 else run.start for run in found.runs]
        wanted = min(starts, default=0), max(ends, default=-1) + 1
    return Need(own, tuple(reversed(reads)), wanted)


def reaches(geometries: Sequence[Geometry], bounds: Sequence[Ints]) -> bool:
    """Say whether every block between bounds of the result meets the image in every layer."""
    found = (need(geometries, axis, own) for axis, cuts in enumerate(bounds) for own in blocks(cuts))
    return all(one.size for each in found for one in each.reads)


def steps_of(asked: Asked, links: Sequence[Link], images: int, needed: Sequence[Need]) -> tuple[Step, ...]:
    """Say what each layer of a block does."""
    steps, number = [], 0
    here = [one.first for one in needed]  # what there is of the images that the next layer gets
    for link in links:
        if link.geometry is None:
            steps.append(Step(link.name, link.layer, None))
            continue
        geometry, reads = link.geometry, [one.reads[number] for one in needed]
        laid = None
        if geometry.mode != "zeros":
            laid = _repeated(asked, geometry, images, reads, here)
        padding = tuple(
            (one.padding[0], min(one.padding[1], after))
            for one, (_, after) in zip(reads, geometry.padding, strict=True)
        )
        steps.append(Step(link.name, link.within(padding), laid))
        number += 1
        here = [one.own if number == len(one.reads) else _span(one.reads[number]) for one in needed]
    return tuple(steps)


def _span(found: Read) -> Interval:
    """Give the pixels from the first that is read to the last."""
    starts = [min(run.start, run.start + run.step * (run.length - 1)) for run in found.runs]
    ends = [max(run.start, run.start + run.step * (run.length - 1)) for run in found.runs]
    return min(starts), max(ends) + 1


def _repeated(asked: Asked, geometry: Geometry, images: int, reads: Sequence[Read], here: Sequence[Interval]) -> Slab:
    """Lay padded images from what there is of them."""
    order = asked.order(geometry.rank)
    everything = [(slice(None), slice(None), False)]
    axes: list[list[tuple[slice, slice, bool]]] = [everything]
    for found, (low, high) in zip(reads, here, strict=True):
        runs = [replace(run, start=run.start - low) for run in found.runs]
        axes.append([(p.place, slice(*p.spot), p.flipped) for p in pieces((0, high - low), runs)])
    axes.append(everything)
    by_axis = [axes[order.index(axis)] for axis in range(len(order))]
    places = []
    for chosen in itertools.product(*by_axis):
        flipped = tuple(axis for axis, (_, _, turned) in enumerate(chosen) if turned)
        places.append(Place(tuple(target for target, _, _ in chosen), tuple(spot for _, spot, _ in chosen), flipped))
    shape = (images, *(found.size for found in reads), geometry.channels)
    return Slab(tuple(shape[order.index(axis)] for axis in range(len(order))), tuple(places))


def run(x: Array, parameters: Mapping[str, Array], *, steps: Sequence[Step]) -> Array:
    """Run the layers on what a block needs."""
    for step in steps:
        if step.laid is not None:
            x = step.laid.lay((x,) * len(step.laid.places))
        own = {key.partition(".")[2]: value for key, value in parameters.items() if key.startswith(f"{step.name}.")}
        x = step.layer.forward(own, x)[0]
    return x


def of_images(asked: Asked, model: Any, parameters: Mapping[str, Array]) -> Array:
    """Make the graph of a model that sees whole images: a task has some images."""
    x, like = asked["x"], asked.outline
    source, graph = asked.source(x, range(len(x.shape))), asked.graph()
    shape = (x.shape[0], *like.shape[1:])
    first, *rest = asked.cut(shape, range(like.ndim), [source.bounds[0], *((0, n) for n in like.shape[1:])])
    if any(len(cuts) > 2 for cuts in rest):
        raise ValueError(f"{asked.name}: a chunk has the whole result of an image; got chunks={asked.chunks!r}")
    everything = [line(source, axis, (0, n)) for axis, n in enumerate(x.shape)]
    known, name = graph.small(dict(parameters)), graph.name()
    for number, batch in enumerate(lines(source, 0, first)):
        arguments, laid = slab(graph, source, (batch, *everything[1:]))
        block = asked.block(whole_model, (laid, None), {"model": model})
        graph.add((name, number, *(0,) * (like.ndim - 1)), block, *arguments, known)
    chunks = (tuple(b - a for a, b in blocks(first)), *((n,) for n in like.shape[1:]))
    return graph.array(name, chunks, asked.like)


def whole_model(x: Array, parameters: Mapping[str, Array], *, model: Any) -> Array:
    """Run a model on whole images."""
    return model.predict(dict(parameters), x)
