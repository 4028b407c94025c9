"""``make fuzz``: mutated files of every kind through reading and rebuilding, for a bounded time.

``FUZZ_SECONDS`` (300) and ``FUZZ_INPUTS`` (no bound) end it, ``FUZZ_SEED`` (0) repeats it. Each share of the inputs is
sent in a process of its own, so that a decoder that crashes is a finding too. Findings stay in a folder that is named
at the end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

# What ``--memory`` would be: Python and its libraries alone take 350 MiB of it.
_MEMORY = 512 * 2**20
_SHARE = 1000
_SLOW = 10.0


def work(folder: Path, seed: int, inputs: int) -> None:
    """Send so many inputs; one line of JSON for the outcome."""
    import torch
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded
    from hypothesis import strategies as st

    from tests.fuzz.mutate import CHANGES, samples, spoiled
    from tests.fuzz.send import send

    torch.set_num_threads(1)
    out = folder / "out"
    out.mkdir(exist_ok=True)
    counts: Counter[str] = Counter()
    errors: dict[str, str] = {}

    @seeded(seed)
    @settings(
        max_examples=inputs,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(sample=st.sampled_from(samples()), changes=CHANGES, checksums=st.booleans())
    def one(sample, changes, checksums):
        data = spoiled(sample.data, changes, checksums)
        path = folder / f"current{sample.suffix}"
        path.write_bytes(data)
        started = time.monotonic()
        counts["inputs"] += 1
        try:
            sent = send(path, out, _MEMORY)
            counts["memory"] = max(counts["memory"], sent.pop("memory", 0))
            counts.update(sent)
        except Exception as error:
            known = [name for name in ("left behind", "above the memory") if name in str(error)]
            counts[known[0] if known else "unexpected exceptions"] += 1
            last = traceback.extract_tb(error.__traceback__)[-1]
            key = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}: {str(error)[:200]}"
            if key not in errors:
                kept = folder / f"finding-{seed}-{len(errors)}{sample.suffix}"
                kept.write_bytes(data)
                errors[key] = kept.name
            for file in out.iterdir():
                file.unlink()
        if time.monotonic() - started > _SLOW:
            counts["slow"] += 1
            (folder / f"slow-{seed}-{counts['slow']}{sample.suffix}").write_bytes(data)
        path.unlink()

    one()
    sys.stdout.write(json.dumps({"counts": counts, "errors": errors}) + "\n")


def main() -> int:
    seconds, inputs = float(os.environ.get("FUZZ_SECONDS", "300")), int(os.environ.get("FUZZ_INPUTS", "0"))
    if inputs and "FUZZ_SECONDS" not in os.environ:
        seconds = float("inf")
    seed, started = int(os.environ.get("FUZZ_SEED", "0")), time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="hcd-fuzz-"))
    counts: Counter[str] = Counter()
    errors: dict[str, str] = {}
    noise: Counter[str] = Counter()
    while time.monotonic() - started < seconds and (not inputs or counts["inputs"] < inputs):
        share = min(_SHARE, inputs - counts["inputs"]) if inputs else _SHARE
        command = [sys.executable, "-m", "tests.fuzz.run", str(folder), str(seed), str(share)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
        if done.returncode == 0:
            outcome = json.loads(done.stdout.splitlines()[-1])
            largest = max(counts["memory"], outcome["counts"].pop("memory", 0))
            counts.update(outcome["counts"])
            counts["memory"] = largest
            errors |= outcome["errors"]
            noise.update(line[:150] for line in done.stderr.splitlines())
        else:
            counts.update({"crashes": 1, "inputs": share})
            for file in folder.glob("current*"):
                file.rename(folder / f"crash-{seed}{file.suffix}")
            sys.stdout.write(f"crash {done.returncode}: {done.stderr[-2000:]}\n")
        seed += 1
        sys.stdout.write(f"{time.monotonic() - started:.0f} s  {dict(counts)}\n")
        sys.stdout.flush()
    for name in ("inputs", "read", "read as LR", "rebuilt", "rebuilt with --model", "refused"):
        sys.stdout.write(f"{name}: {counts[name]}\n")
    sys.stdout.write(f"most memory: {counts['memory'] / 2**20:.0f} MiB of {_MEMORY / 2**20:.0f} allowed\n")
    findings = ("unexpected exceptions", "left behind", "above the memory", "crashes", "slow")
    for name in findings:
        sys.stdout.write(f"{name}: {counts[name]}\n")
    for key, kept in errors.items():
        sys.stdout.write(f"  {key}  ({kept})\n")
    sys.stdout.write(f"lines of decoders on standard error: {sum(noise.values())}\n")
    for line, times in noise.most_common(8):
        sys.stdout.write(f"  {times} × {line}\n")
    found = sum(counts[name] for name in findings)
    sys.stdout.write(f"findings are in {folder}\n" if found else "no findings\n")
    return 1 if found else 0


if __name__ == "__main__":
    if len(sys.argv) == 4:
        work(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    else:
        sys.exit(main())
