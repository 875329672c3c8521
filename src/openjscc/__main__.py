"""``openjscc`` and ``python -m openjscc``: the command line, whose modules are imported where Ctrl-C is heeded."""

import sys


def main() -> int:
    """The exit code, see `openjscc.errors`."""
    try:
        from .cli import main as run

        return run()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
