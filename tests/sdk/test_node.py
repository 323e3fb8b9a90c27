"""The callers in JavaScript: one test for each function that a module of `node/` exports, where WEIR_JS names the folder
that its package.json was installed in."""

import functools
import json
import os
import pathlib
import re
import shutil
import subprocess

HERE = pathlib.Path(__file__).parent / "node"
FOLDER = os.environ.get("WEIR_JS")


@functools.cache
def outcomes(gateway, module):
    """Runs a module once, and gives what became of each function."""
    # Modules find their packages beside themselves.
    for path in HERE.glob("*.mjs"):
        shutil.copy(path, FOLDER)
    command = ["node", pathlib.Path(FOLDER) / "run.mjs", f"./{module}.mjs"]
    done = subprocess.run(command, env=gateway.node(), capture_output=True, text=True, timeout=120)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"name"')]
    return {line["name"]: line["failure"] for line in lines}, done.stdout + done.stderr


def case(module, name):
    def test(gateway):
        found, said = outcomes(gateway, module)
        assert name in found, f"{module}.mjs did not come to {name}: {said[-2000:]}"
        assert found[name] is None, found[name]

    return test


if FOLDER:
    for path in sorted(HERE.glob("*.mjs")):
        if path.stem not in ("pairs", "run"):
            for name in re.findall(r"^export const (\w+) =", path.read_text(), re.MULTILINE):
                globals()[f"test_{path.stem}_{name}"] = case(path.stem, name)
