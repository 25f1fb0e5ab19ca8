#!/usr/bin/env python3
"""Imports a bundle into a running Superset. Needs Python alone; may be run again, and changes nothing then.

    SUPERSET_PASSWORD=… python3 superset/import.py fts.zip --url http://127.0.0.1:8088 --user admin

Superset is asked first whether it reaches the database; if it does not, nothing is imported.
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from check.client import Refused, Superset  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description="Imports a bundle into a running Superset.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:8088")
    parser.add_argument("--user", default="admin")
    arguments = parser.parse_args()
    password = os.environ.get("SUPERSET_PASSWORD")
    if not password:
        sys.exit(f"set SUPERSET_PASSWORD to the password of {arguments.user} in Superset")
    try:
        boards = Superset(arguments.url, arguments.user, password).load(arguments.bundle)
    except Refused as error:
        sys.exit(f"{error}")
    for board in boards:
        print(f"{arguments.url.rstrip('/')}/superset/dashboard/{board}/")


if __name__ == "__main__":
    main()
