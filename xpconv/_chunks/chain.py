"""A chain of layers in one task for each block of its result: what the block needs is followed back to the image.

Zeros are put only where a layer's windows leave the image, so the result is that of the whole image. A task goes band
by band along the first spatial axis where what lies between the layers would be larger than ``max_workspace``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from xpconv import _options
from xpconv._arrays.dtypes import itemsize
from xpconv._arrays.space import space_of
from xpconv._arrays.types import Array
from xpconv._arrays.views import contiguous
from xpconv._chunks import local
from xpconv._chunks.asked import Asked
from xpconv._chunks.grid import Grid, Line, line, lines, slab
from xpconv._chunks.tasks import Place, Slab
from xpconv._convolution.inside import Spot, Spots, image_spots, needed, spots
from xpconv._plan.record import Plan
from xpconv._pooling.windows import Windows
from xpconv._shapes.chunks import Read, blocks, output_bounds, pieces, whole
from xpconv._shapes.chunks import read as read_windows
from xpconv._shapes.geometry import Geometry, Interval, Ints


@dataclass(frozen=True)
class Link:
    """A layer of a chain."""

    name: str
    layer: Any  # a frozen record whose `forward` takes parameters and images
    geometry: Geometry | None = None  # None: it takes pixel by pixel
    plan: Plan | None = None  # of a convolution of the whole images
    windows: Windows | None = None  # of an average pooling of them
    fixed: tuple[tuple[str, Any], ...] = ()  # options that it has in every block

    def within(self, padding: Any) -> Any:
        """Give the layer with the padding that a block's windows meet."""
        return replace(self.layer, padding=padding, **dict(self.fixed))


class Step(NamedTuple):
    """A layer in a block: how its padded images are laid if the padding repeats pixels, and what is called."""

    name: str
    layer: Any
    laid: Slab | None
    plan: Plan | None = None
    places: Spots = ()  # in the tiles of the plan
    windows: Windows | None = None


class Band(NamedTuple):
    """A part of a block, along the first spatial axis."""

    between: int  # bytes that a layer takes from the one before and gives to the next, at most
    source: tuple[slice, ...]  # of what the block needs of the image
    part: tuple[slice, ...]  # of the block
    steps: tuple[Step, ...]


# what a layer gives for its parameters and images, which nobody else holds if the last argument is True
Value = Callable[[Any, dict[str, Array], Array, bool], Array]


class Need(NamedTuple):
    """What a block needs of the images that a layer gets, along an axis."""

    own: Interval  # of the result of the chain
    wanted: tuple[Interval, ...]  # of the results of the layers with windows, the first layer first
    reads: tuple[Read, ...]  # of these layers
    first: Interval  # of the image itself

    def places(self, axis: int, number: int, plan: Plan) -> tuple[Spot, ...]:
        """Place what is wanted of a convolution in the tiles of the whole."""
        return spots(plan, axis, self.wanted[number], self.reads[number].start)

    def form(self, axis: int, links: Sequence[Link]) -> Any:
        """Say what the layers with windows have in common with those of other blocks: all but the place."""
        found: list[Any] = []
        for number, (link, one) in enumerate(zip(links, self.reads, strict=True)):
            low = _span(one)[0]
            found += [one.padding, one.size, [(run.first, run.length, run.start - low, run.step) for run in one.runs]]
            found += [] if link.plan is None else self.places(axis, number, link.plan)
        return repr(found)


def predict(asked: Asked, links: Sequence[Link], parameters: Mapping[str, Array], value: Value) -> Array:
    """Make the graph; the layers with windows say how the image is cut."""
    windowed = [link for link in links if link.geometry is not None]
    geometries = [link.geometry for link in windowed if link.geometry is not None]
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
    needs = [[need(windowed, axis, one) for one in blocks(cuts)] for axis, cuts in enumerate(spatial)]
    axes = [
        [Line(one.own, found := whole(one.first), source.pieces(axis, found.runs)) for one in those]
        for axis, those in enumerate(needs, start=1)
    ]
    everything = Line((0, last.filters), found := whole((0, source.shape[-1])), source.pieces(-1, found.runs))
    grid = Grid([lines(source, 0, first), *axes, [everything]], source.order)
    known = graph.small(dict(parameters))
    name = graph.name()
    bands: dict[Any, tuple[Band, ...]] = {}
    forms = [[(one, one.form(axis, windowed)) for one in those] for axis, those in enumerate(needs)]
    taken = itertools.product(lines(source, 0, first), *forms)
    for (place, chosen), (batch, *those) in zip(grid, taken, strict=True):
        arguments, laid = slab(graph, source, chosen)
        form = (batch.own, *[own for _, own in those])
        if form not in bands:
            bands[form] = bands_of(asked, links, batch.own, [one for one, _ in those])
        settings = {"bands": bands[form], "shape": grid.shape(chosen), "value": value}
        block = asked.block(run, (laid, None), settings)
        graph.count(max(band.between for band in bands[form]))
        graph.add((name, *place), block, *arguments, known)
    return graph.array(name, grid.chunks, asked.like)


def need(links: Sequence[Link], axis: int, own: Interval) -> Need:
    """Follow a range of an axis back through the layers with windows."""
    wanted, ranges, reads = own, [], []
    for link in reversed(links):
        assert link.geometry is not None
        ranges.append(wanted)
        found = read_windows(link.geometry, axis, wanted if link.plan is None else needed(link.plan, axis, wanted))
        reads.append(found)
        starts = [run.start if run.step >= 0 else run.start - run.length + 1 for run in found.runs]
        ends = [run.start + run.step * (run.length - 1) if run.step >= 0 else run.start for run in found.runs]
        wanted = min(starts, default=0), max(ends, default=-1) + 1
    return Need(own, tuple(reversed(ranges)), tuple(reversed(reads)), wanted)


def reaches(links: Sequence[Link], bounds: Sequence[Ints]) -> bool:
    """Say whether every block between bounds of the result meets the image in every layer."""
    found = (need(links, axis, own) for axis, cuts in enumerate(bounds) for own in blocks(cuts))
    return all(one.size for each in found for one in each.reads)


def bands_of(asked: Asked, links: Sequence[Link], images: Interval, needs: Sequence[Need]) -> tuple[Band, ...]:
    """Cut a block into bands between whose layers there are at most ``max_workspace`` bytes, halos aside."""
    windowed = [link for link in links if link.geometry is not None]
    (start, stop), rest = needs[0].own, needs[1:]
    found = [needs[0]]
    if asked.call("x").traits.threads:
        between = _between(asked, windowed, images, needs)
        count = min(max(-(-between // _options.current().max_workspace), 1), stop - start)
        cuts = tuple(start + (stop - start) * number // count for number in range(count + 1))
        if reaches(windowed, [cuts]):
            found = [need(windowed, 0, own) for own in blocks(cuts)]
    axis, axes = asked.order(len(needs))[1], len(needs) + 2
    bands = []
    for one in found:
        source, part = [slice(None)] * axes, [slice(None)] * axes
        source[axis] = slice(*(pixel - needs[0].first[0] for pixel in one.first))
        part[axis] = slice(*(pixel - start for pixel in one.own))
        steps = steps_of(asked, links, images, [one, *rest])
        bands.append(Band(_between(asked, windowed, images, [one, *rest]), tuple(source), tuple(part), steps))
    return tuple(bands)


def _between(asked: Asked, windowed: Sequence[Link], images: Interval, needs: Sequence[Need]) -> int:
    sizes = []
    for number, link in enumerate(windowed[:-1]):
        assert link.geometry is not None
        pixels = math.prod(high - low for low, high in (one.wanted[number] for one in needs))
        sizes.append((images[1] - images[0]) * pixels * link.geometry.filters)
    largest = max(a + b for a, b in itertools.pairwise((0, *sizes, 0)))
    return largest * itemsize(space_of(asked.like).xp, asked.like.dtype)


def steps_of(asked: Asked, links: Sequence[Link], images: Interval, needs: Sequence[Need]) -> tuple[Step, ...]:
    """Say what each layer of a block does."""
    steps, number = [], 0
    here = [one.first for one in needs]  # what there is of the images that the next layer gets
    for link in links:
        if link.geometry is None:
            steps.append(Step(link.name, link.layer, None))
            continue
        geometry, reads = link.geometry, [one.reads[number] for one in needs]
        laid = None
        if geometry.mode != "zeros":
            laid = _repeated(asked, geometry, images[1] - images[0], reads, here)
        if link.plan is None:
            padding = tuple(
                (one.padding[0], min(one.padding[1], after))
                for one, (_, after) in zip(reads, geometry.padding, strict=True)
            )
            steps.append(Step(link.name, link.within(padding), laid, windows=link.windows))
        else:
            axes = [one.places(axis, number, link.plan) for axis, one in enumerate(needs)]
            places = tuple(zip(image_spots(link.plan, images), *axes, strict=True))
            steps.append(Step(link.name, link.layer, laid, link.plan, places))
        number += 1
        here = [one.own if number == len(one.reads) else _span(one.reads[number]) for one in needs]
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


def run(x: Array, parameters: Mapping[str, Array], *, bands: Sequence[Band], shape: Ints, value: Value) -> Array:
    """Run the layers on what a block needs."""
    if len(bands) == 1:
        return _run_band(x, parameters, bands[0].steps, value)
    space, block = space_of(x), None
    for band in bands:
        # in order, as it is after a journey: how some sums are taken depends on it
        found = _run_band(contiguous(space.xp, x[band.source]), parameters, band.steps, value)
        if block is None:
            block = space.empty(shape, found.dtype)
        block[band.part] = found
    return block


def _run_band(x: Array, parameters: Mapping[str, Array], steps: Sequence[Step], value: Value) -> Array:
    spare = False  # whether nobody else holds x
    for step in steps:
        if step.laid is not None:
            x = step.laid.lay((x,) * len(step.laid.places))
        own = {key.partition(".")[2]: array for key, array in parameters.items() if key.startswith(f"{step.name}.")}
        if step.windows is not None:
            x = local.averaged(x, step.layer, step.windows)
        elif step.plan is None:
            x = value(step.layer, own, x, spare)
        else:
            weight, bias, layout = own["weight"], own["bias"], step.layer.layout
            x = local.within(x, weight, bias, name=step.name, layout=layout, plan=step.plan, places=step.places)
        spare = True
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
