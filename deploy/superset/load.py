"""Gives Superset what there is to look at: the dashboards of superset/ on a node's SQLite, and the cluster by Trino.

May be run again: an import replaces what an earlier one made, and adds nothing.
"""

import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

BUNDLES = Path("/app/fts/superset")
URL = "http://127.0.0.1:8088"
STORES = [Path("/data/laptop"), Path("/data/demo")]
PATIENCE_SECONDS = 600
ATTEMPTS = 20
PAUSE_SECONDS = 15


def is_there(host: str) -> bool:
    """Whether a service of that name runs beside this one."""
    try:
        socket.gethostbyname(host)
        return True
    except OSError:
        return False


def wait_for_page() -> None:
    """Returns once Superset answers."""
    for _ in range(PATIENCE_SECONDS):
        try:
            urllib.request.urlopen(f"{URL}/health", timeout=5).close()
            return
        except OSError:
            time.sleep(1)
    sys.exit(f"{URL} does not answer")


def run(*command: str) -> None:
    subprocess.run(command, check=True)


def load(*source: str) -> None:
    """Imports the dashboards that look there."""
    bundle = str(Path(tempfile.mkdtemp()) / "fts.zip")
    run(sys.executable, str(BUNDLES / "export.py"), *source, "-o", bundle)
    run(sys.executable, str(BUNDLES / "import.py"), bundle, "--url", URL)


def main() -> None:
    wait_for_page()
    # Stores and Trino may be slower than this.
    for attempt in range(ATTEMPTS):
        try:
            return load_all()
        except Exception as error:  # noqa: BLE001: whatever it is, it may be over in a while.
            print(f"attempt {attempt + 1} of {ATTEMPTS}: {error}", flush=True)
            time.sleep(PAUSE_SECONDS)
    sys.exit("Superset runs without dashboards: start it again once the stores and Trino are up")


def has_stocks() -> bool:
    """Whether Elasticsearch has them: an index is there from its first row on. ScyllaDB's tables always are."""
    # Of Superset's own environment.
    from trino.dbapi import connect

    cursor = connect(host="trino", port=8080, user="superset").cursor()
    cursor.execute("SHOW TABLES FROM elasticsearch.default")
    return {"finanzas_batch", "transacciones_nrt"} <= {name for (name,) in cursor.fetchall()}


def load_all() -> None:
    # The newest store: `laptop` and `demo` are not meant to run at once, and the dashboards are one set.
    stores = [it for it in STORES if (it / "fts.sqlite").exists()]
    if stores:
        newest = max(stores, key=lambda it: (it / "fts.sqlite").stat().st_mtime)
        load("--data-dir", str(newest))
    if is_there("trino"):
        trino = "trino://superset@trino:8080"
        stocks = ["--elasticsearch", "elasticsearch.default"] if has_stocks() else []
        load("--trino", f"{trino}/scylla/binance_stream", *stocks)
        # For queries of one's own.
        name, uri = "FTS (Trino, Elasticsearch)", f"{trino}/elasticsearch/default"
        run("superset", "set-database-uri", "--database_name", name, "--uri", uri)
    print("Superset has all that there is to look at", flush=True)


main()
