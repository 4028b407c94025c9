"""``hcd demo``: downscale, rebuild and compare a photograph that scikit-image ships."""

from __future__ import annotations

from pathlib import Path

import click

from hcd import defaults


@click.command("demo")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), default=Path("hcd-demo"), show_default=True, help="Output folder."
)
@click.option("--model", default=defaults.MODEL, show_default=True, help="Model name, see 'hcd models'.")
def command(out: Path, model: str) -> None:
    """Downscale, rebuild and compare a photograph (scikit-image's cat, extra [demo])."""
    import skimage

    from hcd.cli.compare import print_comparison, run_comparison
    from hcd.collab import get_settings
    from hcd.zoo import load

    photograph = Path(skimage.__file__).parent / "data" / "chelsea.png"
    preset = "balanced"
    print_comparison(run_comparison(photograph, load(model), out, get_settings(preset), preset, "cpu"), as_json=False)
    small = out / f"{preset}.lr.png"
    click.echo(f"the small picture: {small}; rebuild it with: hcd upscale {small} -o {out / 'rebuilt.png'}")
