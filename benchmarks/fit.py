"""How long a fit takes: from a cold process with an empty compile cache, in a second process, and again in a warm one.

    python benchmarks/fit.py [--json] [--quick]

Also the front door: `pbpk --help` and `import pbpk`. Each figure is the median of its runs (one, for the cold process).
`import pbpk` defers JAX until it is needed, so the import of the whole engine is timed beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WARM = """
import time, pbpk
pbpk.fit("{study}")
times = []
for _ in range(5):
    t = time.perf_counter(); fit = pbpk.fit("{study}"); times.append(time.perf_counter() - t)
print(sorted(times)[2], fit.ofv)
"""


def run(arguments: list[str], cache: Path, where: Path) -> tuple[float, str]:
    """Wall seconds and stdout of a fresh Python process."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "PBPK_"))}
    env |= {"PBPK_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments], env=env, cwd=where, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    return time.perf_counter() - begun, done.stdout.decode()


def measure(quick: bool) -> dict:
    cli = str(ROOT / "cli.py")
    repeats = 3 if quick else 7
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as t:
        where, cache = Path(t), Path(t) / "cache"
        for name, arguments in {
            "help_s": [cli, "--help"],
            "import_pbpk_s": ["-c", "import pbpk"],
            "import_engine_s": ["-c", "import pbpk; pbpk.simulate, pbpk.load_study"],
        }.items():
            run(arguments, cache, where)
            figures[name] = statistics.median(run(arguments, cache, where)[0] for _ in range(repeats))
        for study in ("theophylline",) if quick else ("theophylline", "phenobarbital", "indomethacin"):
            shelf = cache / study
            cold, out = run([cli, "fit", study, "--json"], shelf, where)
            figures[f"{study}_cold_s"] = cold
            figures[f"{study}_ofv"] = json.loads(out)["ofv"]
            second = [run([cli, "fit", study, "--json"], shelf, where)[0] for _ in range(1 if quick else 3)]
            figures[f"{study}_second_process_s"] = statistics.median(second)
            warm, ofv = run(["-c", WARM.format(study=study)], shelf, where)[1].split()
            figures[f"{study}_warm_refit_s"] = float(warm)
            assert abs(float(ofv) - figures[f"{study}_ofv"]) < 1e-6, "a refit must give the same objective"
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="theophylline alone, fewer repeats")
    options = parser.parse_args()
    begun = os.getloadavg()[0]
    figures = measure(options.quick)
    from importlib.metadata import version

    result = {
        "benchmark": "fit",
        "figures": figures,
        "versions": {"python": platform.python_version(), "jax": version("jax"), "diffrax": version("diffrax")},
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "load_before": begun},
    }
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        for name, value in figures.items():
            print(f"{name:<36}{value:>12.4f}")


if __name__ == "__main__":
    main()
