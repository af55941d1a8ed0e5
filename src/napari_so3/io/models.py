"""Model files: safetensors, whose metadata holds a header in JSON.

The metadata has one key, ``napari-so3``: a JSON object with ``format``, the version of this layout,
and ``header``, what the caller keeps there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import safe_open
from safetensors.torch import save

from napari_so3.io.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

FORMAT_VERSION = 1
_KEY = "napari-so3"
_PICKLE_SUFFIXES = (".pt", ".pth", ".sav", ".pkl", ".pickle", ".ckpt")
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


class ModelFileError(ValueError):
    """A file that is no usable model; one sentence that begins with its name."""


def write_model_file(
    path: str | Path, header: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> None:
    """Write a model file; it replaces an older one only when it is complete.

    Parameters
    ----------
    path : str or Path
        File, usually *.safetensors.
    header : mapping
        What is needed to use the tensors, of JSON's types only; NaN and infinities are refused.
    tensors : mapping of str to Tensor
        Any shapes, dtypes and devices; tensors may share memory.

    Raises
    ------
    TypeError, ValueError
        The header is not JSON.
    """
    document = json.dumps({"format": FORMAT_VERSION, "header": dict(header)}, allow_nan=False)
    copies = {
        name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()
    }
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(copies, metadata={_KEY: document}))


def read_model_file(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a model file; nothing in it is ever executed.

    Parameters
    ----------
    path : str or Path
        File written by `write_model_file`.

    Returns
    -------
    header : dict
        As given to `write_model_file`, with tuples as lists.
    tensors : dict of str to Tensor
        On the CPU, independent of the file.

    Raises
    ------
    ModelFileError
        The file is missing, damaged, foreign, pickled, or of a newer format.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise ModelFileError(
            f"{path.name}: it cannot be opened ({error.strerror or error})."
        ) from error
    _check_start(path, start, size)
    try:
        with safe_open(path, framework="pt") as stored:
            header = _parse_metadata(path, stored.metadata())
            tensors = {name: stored.get_tensor(name).clone() for name in stored.keys()}  # noqa: SIM118
    except ModelFileError:
        raise
    except Exception as error:  # whatever the parser makes of damaged bytes
        detail = " ".join(str(error).split())
        raise ModelFileError(
            f"{path.name}: the model file is truncated or damaged ({detail}); get it again."
        ) from error
    return header, tensors


def _check_start(path: Path, start: bytes, size: int) -> None:
    """Refuse what cannot be safetensors, by its first nine bytes."""
    if size == 0:
        raise ModelFileError(f"{path.name}: the model file is empty; get it again.")
    is_safetensors = start[8:] == b"{"
    pickled = start.startswith(_PICKLE_STARTS) or path.suffix.lower() in _PICKLE_SUFFIXES
    if pickled and not is_safetensors:
        raise ModelFileError(
            f"{path.name}: it is a pickled model or an archive; pickled models can run code and "
            "are never loaded; use a model that napari-so3 has saved (.safetensors)."
        )
    if not is_safetensors:
        raise ModelFileError(
            f"{path.name}: it is not a model file of napari-so3 (no safetensors), or is damaged."
        )
    if int.from_bytes(start[:8], "little") > size - 8:
        raise ModelFileError(
            f"{path.name}: the model file is truncated or damaged: its header is longer than the "
            "file; get it again."
        )


def _parse_metadata(path: Path, metadata: Mapping[str, str] | None) -> dict[str, Any]:
    """Header of the metadata's JSON, once its format is known to be ours."""
    if not metadata or _KEY not in metadata:
        raise ModelFileError(
            f"{path.name}: it holds tensors of another program; use a model that napari-so3 has "
            "saved."
        )
    try:
        document = json.loads(metadata[_KEY])
        version, header = document["format"], document["header"]
    except (ValueError, TypeError, KeyError) as error:
        raise ModelFileError(
            f"{path.name}: the header of the model file is damaged; get it again."
        ) from error
    if type(version) is int and version > FORMAT_VERSION:
        raise ModelFileError(
            f"{path.name}: it was written by a newer napari-so3 (model format {version}, this one "
            f"reads {FORMAT_VERSION}); update napari-so3."
        )
    if type(version) is not int or version < 1 or not isinstance(header, dict):
        raise ModelFileError(f"{path.name}: the header of the model file is damaged; get it again.")
    return header
