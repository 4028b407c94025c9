"""Find the benchmark sets of the field in a data folder, and say where to get the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hcd.errors import UsageError
from hcd_lab.bench import BenchmarkImage, folder_images, sample_images

_SELFEX = "with SelfExSR (J.-B. Huang et al., CVPR 2015), whose repository links all four classic sets"

KNOWN_SETS: dict[str, str] = {
    "Set5": f"5 pictures, M. Bevilacqua et al., BMVC 2012; {_SELFEX}",
    "Set14": f"14 pictures, R. Zeyde et al., 2010; {_SELFEX}",
    "BSD100": f"100 test photographs of BSDS300, D. Martin et al., ICCV 2001; {_SELFEX}",
    "Urban100": f"100 pictures of buildings; {_SELFEX}",
    "Manga109": "109 drawn pages, Y. Matsui et al., 2017; on request from its authors at the University of Tokyo",
    "DIV2K": "the 100 validation pictures, E. Agustsson and R. Timofte, CVPRW 2017; from the data set's own page",
}
"""Folder name of each set → its content and origin."""


def find_sets(data: Path | None, names: Sequence[str], largest: int | None) -> tuple[list[BenchmarkImage], list[str]]:
    """Return the images of the sets that were found, in order, and the names of the missing sets.

    Args:
        data: folder with one folder per set, or with a folder ``benchmarks`` of them; None for the sample
            photographs, which stand in for all sets.
        names: sets to look for.
        largest: number of images per set at most, the first by name.

    Raises:
        UsageError: no such folder, or a set's folder cannot be listed or holds no picture.
        MissingDependencyError: no folder is given and scikit-image is not installed.
    """
    if data is None:
        return sample_images()[:largest], list(names)
    if not data.is_dir():
        raise UsageError(f"{data}: no such folder; give one with a folder of pictures for each set")
    found: list[BenchmarkImage] = []
    missing: list[str] = []
    for name in names:
        folder = next((place for place in (data / name, data / "benchmarks" / name) if place.is_dir()), None)
        if folder is None:
            missing.append(name)
        else:
            found.extend(folder_images(folder, dataset=name, digests=True)[:largest])
    return found, missing
