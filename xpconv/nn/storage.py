"""Keep parameters in a file: safetensors, or NumPy's .npz without pickle; written whole or not at all."""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xpconv._shapes.keywords import keywords
from xpconv._tools.files import write_atomic
from xpconv._tools.libraries import Library, load, of
from xpconv.nn.checks import Array, Params

METADATA = "__metadata__"  # the key that a safetensors header reserves for it, used in .npz as well
HostParams = dict[str, np.ndarray[Any, Any]]


class StorageError(ValueError):
    """A file that is no complete archive of arrays; the message is one line."""


def has_safetensors() -> bool:
    """Say whether the optional package safetensors is installed."""
    return importlib.util.find_spec("safetensors") is not None


@keywords
def save_parameters(
    path: str | os.PathLike[str], params: Mapping[str, Array], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a dictionary of arrays of any library to `path`.

    Parameters
    ----------
    path : str or path
        Ends in ``.safetensors`` (needs the package safetensors) or ``.npz``.
    params : mapping of str to array
        Arrays of any library on any device; they are copied to the host.
    metadata : mapping of str to str, optional
        Text that is kept beside the arrays.

    Raises
    ------
    ImportError
        The package safetensors is wanted and not installed.
    TypeError
        A key or a text is no string, or a value no array.
    ValueError
        The extension is neither of the two, or a key is ``__metadata__``.
    OSError
        The file cannot be written; what was at `path` before is still there.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_parameters(f"{folder}/w.npz", {"w": np.ones(2)}, {"note": "ones"})
    ...     load_parameters(f"{folder}/w.npz"), load_metadata(f"{folder}/w.npz")
    ({'w': array([1., 1.])}, {'note': 'ones'})
    """
    kind = _kind("save_parameters", path)
    metadata = dict(metadata or {})
    for text in (*params, *metadata, *metadata.values()):
        if not isinstance(text, str):
            raise TypeError(f"save_parameters: keys and metadata are strings; got {text!r}")
    if METADATA in params:
        raise ValueError(f"save_parameters: {METADATA!r} is reserved; got it as a key of params")
    arrays = {name: np.asarray(of(value).to_numpy(value), order="C") for name, value in params.items()}
    if kind == ".safetensors":
        write_atomic(path, _safetensors().save(arrays, metadata))
        return
    buffer = io.BytesIO()
    texts: HostParams = {METADATA: np.asarray(json.dumps(metadata))}
    np.savez(buffer, allow_pickle=False, **(arrays | texts))
    write_atomic(path, buffer.getvalue())


@keywords
def load_parameters(path: str | os.PathLike[str], library: Library | None = None) -> Params:
    """Read the arrays that `save_parameters` wrote.

    Parameters
    ----------
    path : str or path
        Ends in ``.safetensors`` or ``.npz``. Pickled objects are refused.
    library : Library, optional
        Library and device of the result, from `load_library`; NumPy if it is None.

    Returns
    -------
    dict of array
        The dtypes that were saved, on the library's device.

    Raises
    ------
    ImportError
        The package safetensors is wanted and not installed.
    ValueError
        The extension is neither of the two, or the file is truncated or malformed.
    OSError
        The file is missing or cannot be read.
    """
    arrays, _ = _read("load_parameters", path)
    library = library or load("numpy")
    return {name: library.asarray(value) for name, value in arrays.items()}


@keywords
def load_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read the text that `save_parameters` kept beside the arrays; it raises what `load_parameters` raises."""
    return _read("load_metadata", path)[1]


def read_npz(where: str, path: str | os.PathLike[str], only: tuple[str, ...] | None = None) -> HostParams:
    """Read the arrays of an .npz archive, or those of `only` that it has; StorageError says in one line why not."""
    with Path(path).open("rb") as file:
        try:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise StorageError("it holds a single array, as an .npy file does")
            return {name: archive[name] for name in archive.files if only is None or name in only}
        except Exception as error:  # foreign bytes: zip, zlib, header and memory errors all mean the same
            text = " ".join(str(error).split()) or type(error).__name__
            if "allow_pickle" in text:
                text = "it holds pickled Python objects or is no archive at all; pickle is refused"
            named = f"{where}: " if where else ""
            raise StorageError(f"{named}{path} is not a complete .npz archive of plain arrays: {text}") from error


def _read(where: str, path: str | os.PathLike[str]) -> tuple[HostParams, dict[str, str]]:
    kind = _kind(where, path)
    if kind == ".npz":
        arrays = read_npz(where, path)
        return arrays, _texts(where, path, str(arrays.pop(METADATA, "{}")))
    numpy = _safetensors()
    data = Path(path).read_bytes()
    try:
        arrays = numpy.load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])  # safetensors has no call for this
    except Exception as error:
        text = " ".join(str(error).split())
        raise StorageError(f"{where}: {path} is not a complete safetensors file: {text}") from error
    return arrays, header.get(METADATA, {})


def _texts(where: str, path: str | os.PathLike[str], text: str) -> dict[str, str]:
    try:
        return dict(json.loads(text))
    except ValueError as error:
        raise StorageError(f"{where}: {path} has malformed metadata: {error}") from error


def _kind(where: str, path: str | os.PathLike[str]) -> str:
    kind = Path(path).suffix
    if kind not in (".safetensors", ".npz"):
        raise ValueError(f"{where}: path ends in .safetensors or .npz; got {os.fspath(path)!r}")
    return kind


def _safetensors() -> Any:
    if not has_safetensors():
        raise ImportError(
            "the package safetensors is not installed: python -m pip install 'xpconv[cli]', or use the extension .npz"
        )
    return importlib.import_module("safetensors.numpy")
