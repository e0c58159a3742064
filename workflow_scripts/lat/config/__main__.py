"""Check config files that Snakemake cannot read: `python -m workflow_scripts.lat.config FILE...`."""

import argparse
import sys

from ..files import InputError
from .reading import read_config_file


def main() -> int:
    """Print one line for each file that cannot be read, and return the exit status."""
    parser = argparse.ArgumentParser(
        description="Check that config files can be read, and say in which line they cannot."
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="a YAML or JSON file")
    status = 0
    for path in parser.parse_args().files:
        try:
            read_config_file(path)
        except InputError as error:
            print(error, file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
