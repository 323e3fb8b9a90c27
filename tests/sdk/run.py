"""Runs every test of this folder against one gateway and ends with a line in the form of cargo's."""

import importlib
import pathlib
import sys
import traceback

# The checkout stays clean.
sys.dont_write_bytecode = True

from gateway import Gateway  # noqa: E402


def main():
    here = pathlib.Path(__file__).parent
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    passed = failed = 0
    with Gateway() as gateway:
        for path in sorted(here.glob("test_*.py")):
            module = importlib.import_module(path.stem)
            for name, test in vars(module).copy().items():
                full = f"{path.stem}.{name}"
                if not name.startswith("test_") or wanted not in full:
                    continue
                try:
                    test(gateway)
                    passed += 1
                    print(f"test {full} ... ok")
                except Exception:
                    failed += 1
                    print(f"test {full} ... FAILED")
                    traceback.print_exc(file=sys.stdout)
    print(f"test result: {'ok' if not failed else 'FAILED'}. {passed} passed; {failed} failed;")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
