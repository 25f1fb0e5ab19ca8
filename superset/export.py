#!/usr/bin/env python3
"""The bundle that Superset imports, with the store's address filled in. Needs Python alone.

    python3 superset/export.py --data-dir DIR -o fts.zip
    python3 superset/export.py --trino trino://superset@127.0.0.1:8080/scylla/binance_stream -o fts.zip
    python3 superset/export.py --trino … --elasticsearch elasticsearch.default -o fts.zip

The last reads finanzas_batch and transacciones_nrt in Elasticsearch, where filters by time are its own affair.
Import it with superset/import.py, or in Superset's own way: POST /api/v1/assets/import/, field `bundle`.
"""

import argparse
import json
import re
import sys
import zipfile
from pathlib import Path
from urllib.parse import quote, urlsplit

HERE = Path(__file__).resolve().parent
# What generate.py wrote in the place of Elasticsearch's catalog and schema, and the table behind it.
ELASTICSEARCH = re.compile(r"\belasticsearch\.default\.(\w+)")


def sqlite_uri(data_dir: Path, is_elsewhere: bool) -> str:
    """Opens the store read-only, from any thread."""
    store = data_dir / "fts.sqlite"
    if not is_elsewhere:
        if not store.is_file():
            sys.exit(f"{store} is not there: start the node first, or add --elsewhere if Superset sees the store at a path that this machine lacks")
        store = store.resolve()
    elif not store.is_absolute():
        sys.exit(f"{store}: with --elsewhere the path must be absolute")
    # `%` is for the file's name, which SQLite decodes; SQLAlchemy would cut at `?` and `#`.
    return f"sqlite:///file:{quote(str(store))}?mode=ro&uri=true&check_same_thread=false"


def trino_uri(uri: str) -> str:
    """As it is, if it can be one."""
    parts = urlsplit(uri)
    if parts.scheme != "trino" or not parts.hostname or [bool(it) for it in parts.path.split("/")] != [False, True, True]:
        sys.exit(f"{uri} is no address of tables: it looks like trino://user@host:8080/<catalog of ScyllaDB>/<keyspace>")
    return uri


def files(source: Path, elasticsearch: str | None, prefix: str) -> dict:
    """Path in the bundle → text."""
    found = {path.relative_to(source): path.read_text() for path in source.rglob("*.yaml")}
    if elasticsearch is not None:
        if not re.fullmatch(r"\w+\.\w+", elasticsearch):
            sys.exit(f"{elasticsearch} is no <catalog of Elasticsearch>.<schema>, such as elasticsearch.default")
        other = HERE / "trino-elasticsearch"
        for path in other.rglob("*.yaml"):
            text, count = ELASTICSEARCH.subn(lambda it: f'{elasticsearch}."{prefix}{it[1]}"', path.read_text())
            if count != 1:
                sys.exit(f"{path} names {count} tables of Elasticsearch, should be one: run superset/generate.py")
            found[path.relative_to(other)] = text
    return dict(sorted(found.items()))


def pack(found: dict, uri: str, target: Path) -> None:
    """Every file at the same place and of the same date: one input, one zip."""
    filled = 0
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as bundle:
        for path, text in found.items():
            if path.parent.name == "databases":
                # A JSON string is a YAML string.
                text, count = re.subn(r"^sqlalchemy_uri: .*$", lambda _: f"sqlalchemy_uri: {json.dumps(uri)}", text, flags=re.M)
                filled += count
            # Superset drops the first folder of each path.
            entry = zipfile.ZipInfo(f"fts/{path}", (2026, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            bundle.writestr(entry, text)
    if filled != 1:
        sys.exit(f"{filled} addresses of databases in the bundle, should be one: run superset/generate.py")


def main() -> None:
    parser = argparse.ArgumentParser(description="The bundle that Superset imports, with the store's address filled in.")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data-dir", type=Path, help="the node's, as Superset sees it")
    source.add_argument("--trino", metavar="URL", help="trino://user@host:port/<catalog of ScyllaDB>/<keyspace>")
    parser.add_argument("--elsewhere", action="store_true", help="the data directory is not on this machine, or not at this path")
    parser.add_argument("--elasticsearch", metavar="CATALOG.SCHEMA", help="with --trino: read the stocks there, such as elasticsearch.default")
    parser.add_argument("--index-prefix", default="", help="with --elasticsearch: the `index_prefix` of that store's configuration")
    parser.add_argument("-o", "--output", type=Path, default=Path("fts.zip"))
    arguments = parser.parse_args()
    if arguments.trino:
        found = files(HERE / "trino", arguments.elasticsearch, arguments.index_prefix)
        pack(found, trino_uri(arguments.trino), arguments.output)
    else:
        pack(files(HERE / "sqlite", None, ""), sqlite_uri(arguments.data_dir, arguments.elsewhere), arguments.output)
    print(arguments.output)


if __name__ == "__main__":
    main()
