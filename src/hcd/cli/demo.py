"""``hcd demo``: the whole way of one photograph, from a picture that a dependency ships."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("demo")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), default=Path("hcd-demo"), show_default=True, help="Output folder."
)
@click.option("--model", default="irn-x4", show_default=True, help="Model name, see 'hcd models'.")
def command(out: Path, model: str) -> None:
    """Downscale, rebuild and compare a photograph (scikit-image's cat, extra [demo])."""
    from hcd.cli.compare import print_comparison
    from hcd.cli.progress import solve_progress
    from hcd.collab import get_settings
    from hcd.errors import MissingDependencyError
    from hcd.evaluate import compare
    from hcd.image import read_picture
    from hcd.zoo import load

    try:
        import skimage
    except ImportError as error:
        raise MissingDependencyError("demo: needs scikit-image; install it with pip install 'hcd[demo]'") from error
    photograph = Path(skimage.__file__).parent / "data" / "chelsea.png"
    rescaler = load(model)
    steps = get_settings("balanced").evaluations
    with solve_progress(steps) as progress:
        progress.start(photograph.name, steps)
        comparison = compare(read_picture(photograph), "chelsea.png", rescaler, out, on_evaluation=progress.evaluation)
    print_comparison(comparison, as_json=False)
    small = out / "balanced.lr.png"
    click.echo(f"the small picture: {small}; rebuild it with: hcd upscale {small} -o {out / 'rebuilt.png'}")
