"""Bytes that reach ever more of this project's own parsers, chosen by atheris, where it is installed.

The parsers in Python alone: of headers, and of the metadata. Decoders are compiled, which atheris does not see into;
``tests.fuzz.run`` sends them whole files. ``GUIDED_SECONDS`` (60) ends it.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
from pathlib import Path


def main() -> None:
    try:
        import atheris
    except ImportError:
        sys.stdout.write("atheris is not installed; left out (pip install atheris)\n")
        return
    with atheris.instrument_imports(include=["hcd.image"]):
        from hcd.errors import HcdError
        from hcd.image import headers, lrfile

    from tests.fuzz.mutate import samples, texts

    folder = Path(tempfile.mkdtemp(prefix="hcd-guided-"))
    for index, sample in enumerate(samples()):
        (folder / f"{index}-file").write_bytes(b"\0" + sample.data[:4096])
    for index, text in enumerate(texts()):
        (folder / f"{index}-text").write_bytes(b"\1" + text.encode())

    def one(data: bytes) -> None:
        if data[:1] == b"\1":
            with contextlib.suppress(HcdError):
                lrfile._parse(data[1:].decode("latin-1"), Path("photo"))
            return
        header = headers.read_header(io.BytesIO(data[1:]))
        if header is not None and header.size is not None:
            assert min(header.size) >= 0

    seconds = os.environ.get("GUIDED_SECONDS", "60")
    options = [
        f"-max_total_time={seconds}",
        f"-artifact_prefix={folder}/finding-",
        "-verbosity=0",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(folder)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
