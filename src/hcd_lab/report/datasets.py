"""The benchmark sets of the field: which are there, what each picture is, and where to get the others."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import Tensor

from hcd.errors import UsageError, printable
from hcd.image import list_pictures, read_picture
from hcd_lab.bench import sample_pictures

SAMPLES = "samples"
"""Name of the set that stands in where no folder is given: parts of photographs that scikit-image ships."""

_SELFEX = "with SelfExSR (J.-B. Huang et al., CVPR 2015), whose repository links all four classic sets"

KNOWN_SETS: dict[str, str] = {
    "Set5": f"5 pictures, M. Bevilacqua et al., BMVC 2012; {_SELFEX}",
    "Set14": f"14 pictures, R. Zeyde et al., 2010; {_SELFEX}",
    "BSD100": f"100 test photographs of BSDS300, D. Martin et al., ICCV 2001; {_SELFEX}",
    "Urban100": f"100 pictures of buildings; {_SELFEX}",
    "Manga109": "109 drawn pages, Y. Matsui et al., 2017; on request from its authors at the University of Tokyo",
    "DIV2K": "the 100 validation pictures, E. Agustsson and R. Timofte, CVPRW 2017; from the data set's own page",
}
"""Names of folders → what belongs into them, and where it comes from."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkImage:
    """A picture that is measured.

    Attributes:
        dataset, name: where it is from; together they are unique.
        digest: of its content, so that results are known again.
        read: its float ``[1, 3, H, W]``, RGB in [0, 1].
        crop: largest side of its middle part that is used; None for the whole.
    """

    dataset: str
    name: str
    digest: str
    read: Callable[[], Tensor]
    crop: int | None = None

    @property
    def label(self) -> str:
        return f"{self.dataset}/{self.name}"


def find_sets(data: Path | None, names: Sequence[str], largest: int | None) -> tuple[list[BenchmarkImage], list[str]]:
    """The pictures of the sets that are there, in order, and the names of those that are not.

    Args:
        data: a folder with one folder per set, or with ``benchmarks`` that has them; None for scikit-image's
            photographs, which stand in for all of them.
        largest: pictures per set at most, the first by name.

    Raises:
        UsageError: no such folder; or that of a set cannot be listed, or holds no picture.
        MissingDependencyError: no folder is given and scikit-image is not installed.
    """
    if data is None:
        return [
            BenchmarkImage(dataset=SAMPLES, name=sample.name, digest=_tensor_digest(sample.read()), read=sample.read)
            for sample in sample_pictures()[:largest]
        ], list(names)
    if not data.is_dir():
        raise UsageError(f"{data}: no such folder; give one with a folder of pictures for each set")
    found: list[BenchmarkImage] = []
    missing: list[str] = []
    for name in names:
        folder = next((place for place in (data / name, data / "benchmarks" / name) if place.is_dir()), None)
        if folder is None:
            missing.append(name)
            continue
        files = list_pictures(folder)[:largest]
        stems = [file.stem for file in files]
        found.extend(
            BenchmarkImage(
                dataset=name,
                # With its suffix only where a.png stands beside a.jpg.
                name=printable(file.stem if stems.count(file.stem) == 1 else file.name),
                digest=_file_digest(file),
                read=partial(_read, file),
            )
            for file in files
        )
    return found, missing


def _read(file: Path) -> Tensor:
    return read_picture(file).rgb


def _file_digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        # Reading it fails again when its turn comes, and is told then.
        return f"unreadable {file}"


def _tensor_digest(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()
