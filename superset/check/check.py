#!/usr/bin/env python3
"""Whether what Superset shows is what the store holds, while a node writes to it.

    SUPERSET_PASSWORD=… python3 superset/check/check.py --url http://127.0.0.1:8088 --data-dir DIR [--minutes 10]

With --trino URL the charts read ScyllaDB through Trino, and are compared with the SQLite of the same node; with
--elasticsearch CATALOG.SCHEMA those of the stocks are then made to read Elasticsearch, and compared again.

1. A bundle for a store that is not there is refused, and nothing is imported.
2. The bundle imported twice: the second time nothing is added, and nothing changed.
3. Every chart answers at /api/v1/chart/<id>/data/, and its saved query, for a time that is over, gives what Python
   computes with exact decimals from the tables (not the views that the charts read).
4. With --minutes: again and again, and nobody is told that the database is locked, while the node goes on storing.

Prints a line a finding; the exit code is 1 if something is wrong. Needs Python alone.
"""

import argparse
import json
import math
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from client import Refused, Superset  # noqa: E402

# By then what the exchange sent of a minute is stored.
SETTLED_SECONDS = 20
# How long a demo may take until every table has something to show.
BEGINNING_SECONDS = 300
# How often rows may change while they are compared.
ATTEMPTS = 10
MINUTE, DAY = 60_000, 86_400_000
# How long, of all charts together, one store may be behind the other.
BEHIND_SECONDS = 180
# Charts show doubles: sums of them differ in the last digits by the order of adding.
TOLERANCE = 1e-9


def total(name, scale=1):
    return lambda rows: scale * sum(Decimal(row[name]) for row in rows)


def greatest(name):
    return lambda rows: max(Decimal(row[name]) for row in rows)


def least(name):
    return lambda rows: min(Decimal(row[name]) for row in rows)


def first(name, by):
    return lambda rows: Decimal(min(rows, key=lambda row: row[by])[name])


def last(name, by):
    return lambda rows: Decimal(max(rows, key=lambda row: row[by])[name])


def share(of, what):
    return lambda rows: Decimal(100) * sum(1 for row in rows if row[of] == what) / len(rows)


def candle(body, up, down, opened, closed):
    """The three parts of a candle's body, by the columns of its first and its last price."""

    def change(rows):
        return closed(rows) - opened(rows)

    return {
        body: lambda rows: min(opened(rows), closed(rows)),
        up: lambda rows: max(change(rows), 0),
        down: lambda rows: max(-change(rows), 0),
    }


def mean_basis_points(rows):
    mid = [(Decimal(row["bid_close"]) + Decimal(row["ask_close"])) / 2 for row in rows]
    return 10_000 * sum(Decimal(row["mean_spread"]) / it for row, it in zip(rows, mid)) / len(rows)


def start_of_week(ms):
    """Monday."""
    day = ms // DAY
    # 1970-01-01 was a Thursday.
    return (day - (day + 3) % 7) * DAY


def every(length):
    return lambda ms: ms // length * length


# The dashboards' filters, for the charts that show one symbol at a time.
CHOSEN = {"Candles: open, high, low, close": "BTCUSDT", "finanzas_batch: apertura, máximo, mínimo, cierre": "TSLA"}
ONE_MINUTE = "interval = '1m'"

# Title → table, time, condition, stretch (None: no time axis), dimensions, metric → its value over rows.
SERIES = {
    "Evolución de Máximas Ofertas de Compra y Venta por Símbolo": (
        "book_ticker_1s", "open_time", "1", every(MINUTE), ["symbol"], 
        {"Máxima oferta de compra": greatest("bid_high"), "Máxima oferta de venta": greatest("ask_high")}),
    "Número total de operaciones": (
        "binance_ticker_data", "event_time", "1", every(5 * MINUTE), ["symbol"], {"trades_24h": greatest("total_number_of_trades")}),
    "Candles: open, high, low, close": (
        "candles", "open_time", f"{ONE_MINUTE} AND symbol = 'BTCUSDT'", every(MINUTE), [],
        {"Opening price": first("open", "open_time"), "Highest price": greatest("high"), "Lowest price": least("low"), "Closing price": last("close", "open_time"),
         **candle("Body from", "Rise", "Fall", first("open", "open_time"), last("close", "open_time"))}),
    "Volume": (
        "candles", "open_time", ONE_MINUTE, every(MINUTE), ["symbol"], {"Traded": total("volume"), "By takers": total("taker_buy_volume")}),
    "Best bid and ask": (
        "book_ticker_1s", "open_time", "1", every(MINUTE), ["symbol"], {"Last best bid": last("bid_close", "open_time"), "Last best ask": last("ask_close", "open_time")}),
    "Spread in basis points": ("book_ticker_1s", "open_time", "1", every(MINUTE), ["symbol"], {"spread_bp": mean_basis_points}),
    "Completeness of the minutes": (
        "candles", "open_time", ONE_MINUTE, None, ["symbol"],
        {"candles": len, "proven": total("complete"), "proven_percent": share("complete", 1), "trades": total("trade_count")}),
    "Minutes not proven complete": (
        "candles", "open_time", ONE_MINUTE, every(MINUTE), ["symbol"], {"not_proven": lambda rows: sum(1 for row in rows if row["complete"] == 0)}),
    "Alerts over time": ("alerts", "time", "1", every(MINUTE), ["direction"], {"alert_count": len}),
    "Dead letters": ("dead_letters", "received_at", "1", None, ["topic", "reason"], {"letters": len}),
    "finanzas_batch: cierre por símbolo": ("finanzas_batch", "time", "1", every(DAY), ["symbol"], {"Precio de cierre": last("cierre", "time")}),
    "finanzas_batch: apertura, máximo, mínimo, cierre": (
        "finanzas_batch", "time", "symbol = 'TSLA'", every(DAY), [],
        {"Precio de apertura": first("apertura", "time"), "Precio máximo": greatest("maximo"), "Precio mínimo": least("minimo"), "Precio de cierre": last("cierre", "time"),
         **candle("Cuerpo desde", "Sube", "Baja", first("apertura", "time"), last("cierre", "time"))}),
    "finanzas_batch: volumen": ("finanzas_batch", "time", "1", start_of_week, ["symbol"], {"shares": total("volumen")}),
    "transacciones_nrt: por tipo": ("transacciones_nrt", "time", "1", every(MINUTE), ["tipo_transaccion"], {"transactions": len}),
    "transacciones_nrt: por estado": ("transacciones_nrt", "time", "1", every(MINUTE), ["estado"], {"transactions": len}),
    "transacciones_nrt: por acción y tipo": (
        "transacciones_nrt", "time", "1", None, ["accion", "tipo_transaccion"],
        {"transactions": len, "shares": total("cantidad"), "amount": total("total"), "failed_percent": share("estado", "FALLIDO")}),
    "transacciones_nrt: errores": ("transacciones_nrt", "time", "estado = 'FALLIDO'", every(MINUTE), ["error"], {"transactions": len}),
}  # fmt: skip

# Title → table, time, condition, columns, order (descending).
ROWS = {
    "Candles, exact": (
        "candles", "open_time", ONE_MINUTE, "open_time, symbol, open, high, low, close, volume, quote_volume, trade_count, complete", "open_time DESC, symbol DESC"),
    "Alerts: abrupt price changes": (
        "alerts", "time", "1", "time, symbol, direction, change_percent, reference_price, price", "time DESC, symbol DESC, direction DESC"),
    "Gaps: trades that the exchange does not have": (
        "gaps", "before_time", "1", "before_time, symbol, first_trade_id, last_trade_id, missing, reason", "before_time DESC, symbol DESC, first_trade_id DESC"),
    "finanzas_batch: precios exactos": (
        "finanzas_batch", "time", "1", "fecha, symbol, apertura, maximo, minimo, cierre, volumen", "time DESC, symbol DESC"),
    "transacciones_nrt: las últimas": (
        "transacciones_nrt", "time", "1", "time, accion, tipo_transaccion, cantidad, precio_unitario, total, estado, error", "time DESC, id DESC"),
    "finanzas_batch: precios corregidos": (
        "finanzas_batch_changes", "fetched_at", "1", "fetched_at, symbol, fecha, campo, antes, despues", "fetched_at DESC, symbol DESC, time DESC, campo DESC"),
}  # fmt: skip

# A demo has none of these, if all is well; every other chart must have rows.
MAY_BE_EMPTY = {
    "Gaps: trades that the exchange does not have", "Dead letters", "finanzas_batch: precios corregidos", "Minutes not proven complete",
    "transacciones_nrt: errores",
}  # fmt: skip


class Store:
    """The node's SQLite, read-only."""

    def __init__(self, data_dir: Path):
        self.file = sqlite3.connect(f"file:{(data_dir / 'fts.sqlite').resolve()}?mode=ro", uri=True)
        self.file.row_factory = sqlite3.Row

    def has_rows(self, table, time_column, condition, until):
        query = f"SELECT EXISTS (SELECT 1 FROM {table} WHERE {condition} AND {time_column} < ?)"
        return self.file.execute(query, (until,)).fetchone()[0] == 1

    def series(self, table, time_column, condition, stretch, by, metrics, until):
        found = defaultdict(list)
        for row in self.file.execute(f"SELECT * FROM {table} WHERE {condition} AND {time_column} < ?", (until,)):
            key = tuple(row[it] for it in by)
            found[(stretch(row[time_column]), *key) if stretch else key].append(row)
        return {key: {name: value(rows) for name, value in metrics.items()} for key, rows in found.items()}

    def rows(self, table, time_column, condition, columns, order, until):
        query = f"SELECT {columns} FROM {table} WHERE {condition} AND {time_column} < ? ORDER BY {order} LIMIT 200"
        return [dict(row) for row in self.file.execute(query, (until,))]


def is_same(shown, expected) -> bool:
    return shown is not None and math.isclose(float(shown), float(expected), rel_tol=TOLERANCE, abs_tol=1e-12)


def difference(title: str, shown: list, expected) -> str | None:
    """What is wrong with a chart's rows; None if nothing."""
    if title in ROWS:
        if shown == expected:
            return None
        at = next((at for at, (one, other) in enumerate(zip(shown, expected)) if one != other), min(len(shown), len(expected)))
        return f"{len(shown)} rows shown, {len(expected)} stored; row {at}: {shown[at : at + 1]} is stored as {expected[at : at + 1]}"
    _, time_column, _, stretch, by, metrics = SERIES[title]
    found = {}
    for row in shown:
        key = tuple(row[it] for it in by)
        found[(int(row[time_column]), *key) if stretch else key] = row
    if len(found) != len(shown):
        return "a stretch of time is shown twice"
    if found.keys() != expected.keys():
        return f"{len(found)} points shown, {len(expected)} stored; for instance {list(found.keys() ^ expected.keys())[:3]}"
    for key, values in expected.items():
        for name in metrics:
            if not is_same(found[key][name], values[name]):
                return f"{name} of {key}: {found[key][name]} is stored as {values[name]}"
    return None


def pinned(chart: dict, until: int) -> dict:
    """The chart's saved query, for all time up to an instant: what a dashboard's time filter makes of it."""
    context = json.loads(chart["query_context"])
    span = f"1970-01-01T00:00:00 : {datetime.fromtimestamp(until / 1000, UTC):%Y-%m-%dT%H:%M:%S}"
    for query in context["queries"]:
        for it in query["filters"]:
            if it["op"] == "TEMPORAL_RANGE":
                it["val"] = span
        if chart["slice_name"] in CHOSEN:
            query["filters"].append({"col": "symbol", "op": "IN", "val": [CHOSEN[chart["slice_name"]]]})
    return context | {"force": True}


def settled() -> int:
    """A minute that is over, by its end."""
    return (int(time.time()) - SETTLED_SECONDS) // 60 * MINUTE


def wait_for_rows(data_dir: Path) -> None:
    """Until every chart that must have rows has some."""
    ends = time.monotonic() + BEGINNING_SECONDS
    while True:
        empty = "the store"
        try:
            store = Store(data_dir)
            charts = [it for it in (SERIES | ROWS).items() if it[0] not in MAY_BE_EMPTY]
            empty = next((it[0] for _, it in charts if not store.has_rows(*it[:3], settled())), None)
            if empty is None:
                return
        except sqlite3.OperationalError:
            pass
        if time.monotonic() > ends:
            sys.exit(f"FAILED {empty} is empty")
        time.sleep(1)


def ask(superset: Superset, context: dict) -> list:
    """The rows; those of a chart with several queries side by side."""
    joined = {}
    for query, result in zip(context["queries"], superset.post("/api/v1/chart/data", context)["result"], strict=True):
        if result.get("error"):
            raise RuntimeError(result["error"])
        if len(context["queries"]) == 1:
            return result["data"]
        for row in result["data"]:
            key = tuple(row[it["label"] if isinstance(it, dict) else it] for it in query["columns"])
            joined.setdefault(key, {}).update(row)
    return list(joined.values())


class Patience:
    """What is left of the time that others may take."""

    def __init__(self, seconds: float):
        self.left = seconds

    def spend(self, since: float) -> bool:
        """Waits a little; false if there was no time left for what was done since."""
        time.sleep(1)
        self.left -= time.monotonic() - since
        return self.left > 0


def compare_once_there(superset: Superset, store: Store, chart: dict, patience: Patience) -> tuple[str | None, int]:
    """The same, but what another store does not have yet is waited for."""
    until = settled()
    while True:
        begun = time.monotonic()
        wrong, count = compare(superset, store, chart, until)
        if wrong is None or not patience.spend(begun):
            return wrong, count


def compare(superset: Superset, store: Store, chart: dict, until: int) -> tuple[str | None, int]:
    """What is wrong, and how many rows were compared."""
    title = chart["slice_name"]
    stored = (lambda: store.rows(*ROWS[title], until)) if title in ROWS else (lambda: store.series(*SERIES[title], until))
    for _ in range(ATTEMPTS):
        before = stored()
        shown = ask(superset, pinned(chart, until))
        if before == stored():
            if not shown and title not in MAY_BE_EMPTY:
                return "nothing is shown", 0
            return difference(title, shown, before), len(shown)
    return f"rows older than {SETTLED_SECONDS} s change each time they are read", 0


def what_there_is(superset: Superset) -> dict:
    """All that the bundle describes, as Superset tells it, without when it was touched."""

    def plain(it):
        if isinstance(it, dict):
            return {key: plain(value) for key, value in it.items() if not key.startswith(("changed_on", "created_on", "last_saved"))}
        return [plain(each) for each in it] if isinstance(it, list) else it

    found = {}
    for kind in ("database", "dataset", "chart", "dashboard"):
        for it in superset.all(kind):
            answer = superset.get(f"/api/v1/{kind}/{it['id']}")
            found[f"{kind} {it['id']}"] = plain(answer["result"])
    return found


def is_about_stocks(title: str) -> bool:
    return (SERIES | ROWS)[title][0] in ("finanzas_batch", "transacciones_nrt")


class Check:
    """What was found so far."""

    def __init__(self, superset: Superset, data_dir: Path):
        self.superset, self.data_dir = superset, data_dir
        self.failures = 0

    def tell(self, title: str, wrong: str | None, good: str = "") -> None:
        self.failures += wrong is not None
        print(f"FAILED {title}: {wrong}" if wrong is not None else f"ok {title}{good}", flush=True)

    def bundle(self, folder: str, *source) -> Path:
        """As a user gets it."""
        target = Path(folder) / "fts.zip"
        command = [sys.executable, HERE.parent / "export.py", *source, "-o", target]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return target

    def a_store_that_is_not_there_is_refused(self, source: list) -> None:
        with tempfile.TemporaryDirectory() as folder:
            bundle = self.bundle(folder, *source)
            before = what_there_is(self.superset)
            try:
                self.superset.load(bundle)
                wrong = "it was imported"
            except Refused as error:
                wrong = None if "nothing was imported" in str(error) else str(error)
            if wrong is None and before != what_there_is(self.superset):
                wrong = "something was imported"
        self.tell("a store that is not there is refused", wrong)

    def importing_twice_changes_nothing(self, source: list, end: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            bundle = self.bundle(folder, *source)
            self.superset.load(bundle)
            once = what_there_is(self.superset)
            self.superset.load(bundle)
            twice = what_there_is(self.superset)
        changed = [name for name in once.keys() | twice.keys() if once.get(name) != twice.get(name)]
        self.tell(f"a second import changes nothing, {end}", f"{changed} differ" if changed else None, f": {len(twice)} things")

    def charts(self, boards: list) -> list:
        listed = [it for board in boards for it in self.superset.get(f"/api/v1/dashboard/{board}/charts")["result"]]
        charts = [self.superset.get(f"/api/v1/chart/{it['id']}")["result"] for it in listed]
        unlike = (SERIES.keys() | ROWS.keys()) ^ {it["slice_name"] for it in charts}
        self.tell("every chart is there, and known here", f"not {unlike}" if unlike else None, f": {len(charts)}")
        return charts

    def every_chart_shows_what_is_stored(self, charts: list, end: str) -> None:
        store, patience = Store(self.data_dir), Patience(BEHIND_SECONDS)
        for chart in charts:
            try:
                for saved in self.superset.get(f"/api/v1/chart/{chart['id']}/data/?force=true")["result"]:
                    if saved.get("error"):
                        raise RuntimeError(saved["error"])
                wrong, count = compare_once_there(self.superset, store, chart, patience)
            except (RuntimeError, KeyError) as error:
                wrong, count = repr(error), 0
            self.tell(f"{chart['slice_name']}, {end}", wrong, f": {count} rows")

    def nobody_is_locked_out(self, charts: list, minutes: float) -> None:
        """Whoever started the node looks whether it complained."""
        stored = "SELECT count(*) FROM trades"
        store = Store(self.data_dir).file
        before = store.execute(stored).fetchone()[0]
        asked, wrong, ends = 0, None, time.monotonic() + 60 * minutes
        try:
            while time.monotonic() < ends:
                for chart in charts:
                    ask(self.superset, json.loads(chart["query_context"]) | {"force": True})
                    asked += 1
        except RuntimeError as error:
            wrong = f"query {asked + 1}: {error}"
        while wrong is None and store.execute(stored).fetchone()[0] == before:
            if time.monotonic() > ends + BEGINNING_SECONDS:
                wrong = "the node has stored nothing since"
            time.sleep(1)
        grown = store.execute(stored).fetchone()[0] - before
        self.tell("no lock", wrong, f": {asked} queries in {minutes:g} min, while {grown} trades were stored")


def main() -> None:
    parser = argparse.ArgumentParser(description="Whether what Superset shows is what the store holds.")
    parser.add_argument("--url", default="http://127.0.0.1:8088")
    parser.add_argument("--user", default="admin")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--trino", metavar="URL", help="where the charts read, instead of the data directory")
    parser.add_argument("--elasticsearch", metavar="CATALOG.SCHEMA", help="where, after that, those of the stocks read")
    parser.add_argument("--index-prefix", default="", help="of the node's indices there")
    parser.add_argument("--minutes", type=float, default=0, help="how long to go on asking")
    arguments = parser.parse_args()
    superset = Superset(arguments.url, arguments.user, os.environ["SUPERSET_PASSWORD"])
    check = Check(superset, arguments.data_dir)

    if arguments.trino:
        end, suffix, source = "Trino", "-trino", ["--trino", arguments.trino]
        # Nobody listens on port 1.
        absent = ["--trino", "trino://superset@127.0.0.1:1/scylla/binance_stream"]
    else:
        end, suffix, source = "SQLite", "", ["--data-dir", arguments.data_dir]
        absent = ["--data-dir", "/nowhere", "--elsewhere"]
    check.a_store_that_is_not_there_is_refused(absent)
    wait_for_rows(arguments.data_dir)
    check.importing_twice_changes_nothing(source, end)
    charts = check.charts([f"fts-market{suffix}", f"fts-stocks{suffix}"])
    check.every_chart_shows_what_is_stored(charts, end)
    if arguments.elasticsearch:
        source += ["--elasticsearch", arguments.elasticsearch, "--index-prefix", arguments.index_prefix]
        end = "Trino on Elasticsearch"
        check.importing_twice_changes_nothing(source, end)
        check.every_chart_shows_what_is_stored([it for it in charts if is_about_stocks(it["slice_name"])], end)
    if arguments.minutes:
        check.nobody_is_locked_out(charts, arguments.minutes)
    sys.exit(1 if check.failures else 0)


if __name__ == "__main__":
    main()
