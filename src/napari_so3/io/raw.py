"""What the readers of the image formats hand to `micrographs`, and the size that they refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_PIXELS = 16384**2
"""The finest rendering of the largest camera (EER at 16K); a header that says more is damaged."""


class UnreadableError(ValueError):
    """A file that is no micrograph; the text says why, and is to follow the file's name."""


class RawImage(NamedTuple):
    """An image as a file has it."""

    data: NDArray[Any]
    """(ny, nx), any real dtype."""
    pixel_size: float | None
    """Å/px as the file says it, unrounded; None where it says nothing."""
    warnings: tuple[str, ...] = ()
    """Sentences about the image."""
    pixel_size_warnings: tuple[str, ...] = ()
    """Sentences that matter only where `pixel_size` is used."""


def check_shape(ny: int, nx: int) -> None:
    """Refuse a shape that no micrograph has, before anything of that size is allocated.

    Raises
    ------
    UnreadableError
        A side is not positive, or there are more than `MAX_PIXELS` pixels.
    """
    if ny < 1 or nx < 1:
        raise UnreadableError(f"the header is damaged: it gives {nx} x {ny} pixels.")
    if ny * nx > MAX_PIXELS:
        raise UnreadableError(
            f"the header is damaged, or this is no micrograph: it gives {nx} x {ny} pixels, "
            "more than any camera has."
        )
