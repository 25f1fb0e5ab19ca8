"""Makes known to Superset what there is to look at: a node's SQLite, or the cluster by Trino. May be run again."""

import os
import socket
import subprocess

SQLITE = "sqlite:///file:{}?mode=ro&uri=true&check_same_thread=false"


def is_there(host: str) -> bool:
    """Whether a service of that name runs beside this one."""
    try:
        socket.gethostbyname(host)
        return True
    except OSError:
        return False


def connect(name: str, uri: str) -> None:
    """Sets a database's address, or that of the one that has the name already."""
    subprocess.run(["superset", "set-database-uri", "--database_name", name, "--uri", uri], check=True)
    print(f"{name}: {uri}")


for name, folder in (("fts-node", "/data/laptop"), ("fts-node (demo)", "/data/demo")):
    path = f"{folder}/fts.sqlite"
    if os.path.exists(path):
        connect(name, SQLITE.format(path))
if is_there("trino"):
    connect("fts-node (Trino, ScyllaDB)", "trino://superset@trino:8080/scylla/binance_stream")
    connect("fts-node (Trino, Elasticsearch)", "trino://superset@trino:8080/elasticsearch/default")
