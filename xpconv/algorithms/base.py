"""What the plan and the driver ask of an algorithm, and the plain answers."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

from xpconv._arrays.types import Array
from xpconv._shapes.geometry import Geometry, Interval, Ints
from xpconv._work.workspace import Workspace
from xpconv.algorithms.cost import Work


class Algorithm(ABC):
    """A convolution of one tile. All arrays are channels last and in the dtype of the sums, or of factors.

    The plain answers are those of a sum of products, each of which is rounded once.
    """

    exact = True  # it serves integers, and sums a weight gradient in the form of the result
    spreads = False  # a NaN can reach windows that do not contain it
    transforms = False  # it multiplies in another domain: larger errors, not exact on whole numbers, many array calls
    fourier = False  # it needs the library's Fourier transforms
    by_tap = False  # it serves a kernel as the sum of its taps, each by itself
    copies_weight = False  # it lays a weight of several taps out anew, as a copy

    narrow = False  # it takes factors of 16 bits as they are, where the library sums their products in 32
    overlaps = False  # it multiplies overlapping matrices where they lie, which takes a library that can
    # it reads NumPy's images where they lie and leaves out the taps beyond them (`clipped`, `clipped_weight_grad`), in
    # loops that are compiled (`kernel`)
    clips = False
    in_place = False  # `clips`, and the bits are the same however images and results are cut into pieces
    in_strips = False  # `clips`, by strips of tiles whose results are looked at
    spreads_gradient = False  # a NaN can reach elements of the weight's gradient that it is no factor of

    def refuses(self, geometry: Geometry) -> str:
        """Say why this geometry cannot be served; empty if it can."""
        return ""

    def behind(self, geometry: Geometry) -> int:
        """Say how many pixels of memory it reads behind those of a tile."""
        return 0

    @abstractmethod
    def forward_work(self, geometry: Geometry) -> Work:
        """Count what one output pixel costs in `correlate`."""

    @abstractmethod
    def weight_grad_work(self, geometry: Geometry) -> Work:
        """Count what one output pixel costs in `weight_grad`."""

    def noted(self, geometry: Geometry) -> bool:
        """Say whether `correlate` has all its calls made by the workspace, which can note them."""
        return False

    def noted_gradient(self, geometry: Geometry) -> bool:
        """Say whether `weight_grad` has, too."""
        return False

    def panelled(self, geometry: Geometry) -> Ints | None:
        """Give (rows, columns) of the matrix that a weight becomes, if its columns may lie in panels."""
        return None

    def summed(self, geometry: Geometry) -> int:
        """Count the rounding steps that one output element can have gone through, for the error bound.

        Each product is rounded once and passes at most K - 1 additions, in whatever order.
        """
        return geometry.products

    def summed_pixels(self, geometry: Geometry, tile: Ints) -> int:
        """Count those of an element of the weight gradient, in `weight_grad` of one tile and in `finish`.

        Each product is rounded once and passes at most as many additions as the tile has pixels.
        """
        return math.prod(tile)

    def matrices(self, geometry: Geometry) -> int:
        """Count the matrix products that a number goes through one after another."""
        return 1

    def grain(self, geometry: Geometry) -> float:
        """Say how many times the smallest normal number an underflow on the way can cost; 1 if nothing amplifies it."""
        return 1.0

    def amplification(self, geometry: Geometry) -> float:
        """Say by how much rounding errors are magnified, for numbers of one size."""
        return 1.0

    @property
    def of_magnitudes(self) -> Algorithm:
        """Give the algorithm that measures the error of this one: the same sums over absolute values."""
        return self

    def prepared_shape(self, geometry: Geometry, *, complex_data: bool) -> Ints | None:
        """Give the shape of a prepared weight whose axis -2 is that of (*kernel, C/G, F), if preparing is much work.

        It is then done for some channels at a time. None where the weight is only laid out anew.
        """
        return None

    def multiplies(self, geometry: Geometry) -> bool:
        """Say whether `correlate` multiplies matrices, for which BLAS is limited to one thread."""
        return not self.clips or self.spreads

    def kernel(self, geometry: Geometry, gradient: bool = False) -> str:
        """Name the compiled loops that `correlate` takes, or with `gradient` `weight_grad`; empty for none."""
        return ""

    def crowds(self, geometry: Geometry, gradient: bool = False) -> bool:
        """Say whether its compiled loops keep more sums at once than there are registers for in float64."""
        return False

    def form(self, geometry: Geometry) -> Ints:
        """Give what the form of a prepared weight depends on, beside the weight: other numbers, another form."""
        return ()

    @abstractmethod
    def prepare(self, work: Workspace, w: Array, geometry: Geometry, out: Array | None = None) -> Array:
        """Bring the weight (*kernel, C/G, F) into the form that `correlate` takes, once a call.

        Where `prepared_shape` gives a shape, it may be wanted in `out`.
        """

    @abstractmethod
    def correlate(
        self, work: Workspace, slab: Array, weight: Array, geometry: Geometry, output: Ints, out: Array | None
    ) -> Array:
        """(n, *slab, C) -> (n, *output, F), unpadded; may write into `out`, an array of the result's size.

        The slab may hold more pixels at the end of an axis than the outputs read.
        """

    @abstractmethod
    def weight_grad(self, work: Workspace, slab: Array, dz: Array, geometry: Geometry, output: Ints) -> Array:
        """(n, *slab, C), (n, *output, F) -> the tile's part of a sum that `finish` turns into the gradient."""

    def clipped(
        self,
        work: Workspace,
        x: Array,
        weight: Array,
        bias: Array | None,
        geometry: Geometry,
        tile: tuple[tuple[int, Ints], Ints],
        out: Array | None,
    ) -> Array:
        """Give the outputs of a tile of images without their padding, the bias added: where it begins, (n, *output)."""
        raise NotImplementedError

    def blocks(self, geometry: Geometry) -> Ints | None:
        """Give the shape of a prepared weight in blocks of filters (axis 0), if `prepare_blocks` makes them so."""
        return None

    def prepare_blocks(self, work: Workspace, w: Array, geometry: Geometry, blocks: Interval, out: Array) -> None:
        """Prepare some blocks of filters."""
        raise NotImplementedError

    def clipped_weight_grad(
        self,
        work: Workspace,
        x: Array,
        dz: Array,
        geometry: Geometry,
        place: tuple[int, Ints],
        out: Array | None = None,
    ) -> Array:
        """Give the part that a tile's gradient has in the sum, of images without their padding; in `out`, if given."""
        raise NotImplementedError

    def parts(self, geometry: Geometry) -> Ints | None:
        """Give the shape of a part, if parts are left side by side for `finish_all`, not added as they come."""
        return None

    def finish_all(self, work: Workspace, parts: Array, geometry: Geometry) -> Array:
        """Add parts up, or some of their channels (axis -2), and turn them into (*kernel, C/G, F)."""
        raise NotImplementedError

    def finish(self, work: Workspace, total: Array, geometry: Geometry) -> Array:
        """Turn the sum over the tiles, or some of its channels (axis -2), into (*kernel, C/G, F)."""
        return total
