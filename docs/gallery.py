"""Run the code of gallery.md, and save its pictures.

Usage: ``python docs/gallery.py`` makes the pictures of the docs from simulated micrographs.
``python docs/gallery.py FOLDER --diameter 150 -o PICTURES`` makes them of a folder of micrographs;
with ``--map MAP --symmetry D7`` also those that need a map. No picture of real micrographs belongs
in the docs.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from PIL import Image

from napari_so3.io.volumes import write_image, write_volume
from napari_so3.simulation.density import barrel
from napari_so3.simulation.sample import sample_micrograph
from napari_so3.simulation.volume import rasterise

PAGE = Path(__file__).parent / "gallery.md"
IMAGES = Path(__file__).parent / "images"
DIAMETER, SYMMETRY = 150.0, "D7"  # of the barrel
MICROGRAPHS = 3  # that are simulated
VOXEL_SIZE = 4.0
DPI, COLOURS = 100, 255  # of the pictures
_BLOCK = re.compile(
    r"```python\n(?P<code>.*?)```\n(?:\n!\[[^]]*\]\(images/(?P<name>[^)]+)\))?", re.S
)


@dataclass(frozen=True)
class Block:
    """Code of the page, and the file of its picture if it makes one."""

    code: str
    picture: str | None


def read_blocks(with_map: bool) -> list[Block]:
    """Take the code out of the page, without the first block, which is for the reader to change.

    Parameters
    ----------
    with_map : bool
        Whether there is a map; without one, blocks that need it are left out.

    Returns
    -------
    list of Block
        In their order.
    """
    text = PAGE.read_text(encoding="utf-8")
    blocks = [Block(found["code"], found["name"]) for found in _BLOCK.finditer(text)][1:]
    return [b for b in blocks if with_map or not re.search("density|matcher", b.code)]


def run(names: dict[str, Any], output: Path) -> list[Path]:
    """Run the blocks after the first one, and save every `figure`.

    Parameters
    ----------
    names : dict
        What the first block would say: ``folder``, ``diameter``, ``map_file`` and ``symmetry``.
        The ``map_file`` may be None.
    output : Path
        Folder of the pictures.

    Returns
    -------
    list of Path
        The pictures.
    """
    output.mkdir(parents=True, exist_ok=True)
    written = []
    for block in read_blocks(names["map_file"] is not None):
        exec(compile(block.code, str(PAGE), "exec"), names)
        if block.picture:
            written.append(output / block.picture)
            save(names["figure"], written[-1])
    return written


def save(figure: Any, path: Path) -> None:
    """Save a figure as a small file."""
    figure.savefig(path, dpi=DPI)
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE)
    small.save(path, optimize=True)


def make_sample(folder: Path) -> dict[str, Any]:
    """Simulate micrographs of a barrel, and write its map beside them."""
    micrographs, map_file = folder / "micrographs", folder / "barrel.mrc"
    micrographs.mkdir()
    for seed in range(MICROGRAPHS):
        made = sample_micrograph(seed)
        write_image(micrographs / f"sample_{seed}.mrc", made.image, made.pixel_size)
    write_volume(map_file, rasterise(barrel(), VOXEL_SIZE, "barrel").values, VOXEL_SIZE)
    return {
        "folder": micrographs,
        "diameter": DIAMETER,
        "map_file": map_file,
        "symmetry": SYMMETRY,
    }


def main(
    folder: Annotated[Path | None, typer.Argument(help="Folder of micrographs.")] = None,
    diameter: Annotated[float, typer.Option(help="Of the particle, Å.")] = DIAMETER,
    map_file: Annotated[Path | None, typer.Option("--map", help="Map of the particle.")] = None,
    symmetry: Annotated[str, typer.Option(help="Point group of the map.")] = "C1",
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of pictures.")] = IMAGES,
) -> None:
    """Make the pictures of the gallery."""
    if folder is not None and output == IMAGES:
        raise typer.BadParameter("with micrographs, say where the pictures go: -o PICTURES")
    with tempfile.TemporaryDirectory() as temporary:
        names = make_sample(Path(temporary)) if folder is None else {
            "folder": folder, "diameter": diameter, "map_file": map_file, "symmetry": symmetry,
        }  # fmt: skip
        for path in run(names, output):
            typer.echo(path)


if __name__ == "__main__":
    typer.run(main)
