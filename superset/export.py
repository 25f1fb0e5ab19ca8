#!/usr/bin/env python3
"""The bundle that Superset imports, with the store's address filled in. Needs Python alone.

    python3 superset/export.py --data-dir DIR -o fts.zip
    python3 superset/export.py --trino trino://superset@127.0.0.1:8080/scylla/binance_stream -o fts.zip

Import it with superset/import.py, or in Superset's own way: POST /api/v1/assets/import/, field `bundle`.
"""

import argparse
import json
import sys
import zipfile
from pathlib import Path
from urllib.parse import quote

HERE = Path(__file__).resolve().parent


def sqlite_uri(data_dir: Path) -> str:
    """Opens the store read-only, from any thread."""
    store = (data_dir / "fts.sqlite").resolve()
    # `%` is for the file's name, which SQLite decodes; SQLAlchemy would cut at `?` and `#`.
    return f"sqlite:///file:{quote(str(store))}?mode=ro&uri=true&check_same_thread=false"


def pack(source: Path, uri: str, target: Path) -> None:
    """Every file at the same place and of the same date: one input, one zip."""
    filled = 0
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as bundle:
        for path in sorted(source.rglob("*.yaml")):
            lines = path.read_text().splitlines(keepends=True)
            if path.parent.name == "databases":
                for at, line in enumerate(lines):
                    if line.startswith("sqlalchemy_uri: "):
                        # A JSON string is a YAML string.
                        lines[at] = f"sqlalchemy_uri: {json.dumps(uri)}\n"
                        filled += 1
            # Superset drops the first folder of each path.
            entry = zipfile.ZipInfo(f"fts/{path.relative_to(source)}", (2026, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            bundle.writestr(entry, "".join(lines))
    if filled != 1:
        sys.exit(f"{source}: {filled} addresses of databases, should be one")


def main() -> None:
    parser = argparse.ArgumentParser(description="The bundle that Superset imports, with the store's address filled in.")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data-dir", type=Path, help="the node's, as Superset sees it")
    source.add_argument("--trino", metavar="URL", help="trino://user@host:port/<catalog of ScyllaDB>/<keyspace>")
    parser.add_argument("-o", "--output", type=Path, default=Path("fts.zip"))
    arguments = parser.parse_args()
    if arguments.trino:
        pack(HERE / "trino", arguments.trino, arguments.output)
    else:
        pack(HERE / "sqlite", sqlite_uri(arguments.data_dir), arguments.output)
    print(arguments.output)


if __name__ == "__main__":
    main()
