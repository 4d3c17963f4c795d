"""Make the figures of the documentation again: run each command of docs/nis_body.md and keep its curves.png.

python docs/figures/make.py            all of them
python docs/figures/make.py oral diet  those
"""

import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
LARGEST = 150_000  # bytes
FIGURE = re.compile(r"```\n(pbpk simulate .*?)```\n\n!\[[^]]*\]\(figures/(\w+)\.png\)", re.DOTALL)


def commands(page: Path = HERE.parent / "nis_body.md") -> dict[str, list[str]]:
    """By the name of its figure, each command's words after `pbpk`."""
    found = FIGURE.findall(page.read_text(encoding="utf-8"))
    return {name: shlex.split(text.replace("\\\n", ""))[1:] for text, name in found}


def make(name: str, words: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, ROOT / "cli.py", *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        made = Path(folder) / words[words.index("--out") + 1] / "curves.png"
        size = made.stat().st_size
        if size > LARGEST:
            raise SystemExit(f"{name}.png has {size:,} bytes, more than {LARGEST:,}: show fewer observables")
        shutil.copyfile(made, HERE / f"{name}.png")
        print(f"docs/figures/{name}.png: {size:,} bytes")


if __name__ == "__main__":
    known = commands()
    for wanted in sys.argv[1:] or known:
        make(wanted, known[wanted])
