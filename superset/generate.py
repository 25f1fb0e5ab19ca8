#!/usr/bin/env python3
"""Writes the import bundles, superset/sqlite, superset/trino and what differs of the latter where Elasticsearch has the
stocks (superset/trino-elasticsearch), from the stores' schemas and the charts described here.

    python3 superset/generate.py            writes it
    python3 superset/generate.py --check    fails if what is there differs

Needs PyYAML (Superset's own environment has it). A bundle says everything twice, once for the page and once for the
API; here it stands once. UUIDs follow from names: an import replaces what an earlier one made, and adds nothing.
"""

import functools
import json
import re
import shutil
import sqlite3
import sys
import tempfile
import uuid
from filecmp import dircmp
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
SQLITE_SCHEMA = HERE.parent / "adapters/src/sqlite/schema"
SCYLLA_SCHEMA = HERE.parent / "adapters/src/scylla/schema"
# Any will do, for ever the same.
NAMESPACE = uuid.UUID("9d1f3c52-6a0e-5a7b-8f46-0b6f1e2d7c31")
# Name, address (`export.py` puts the true one in its place), what distinguishes its dashboards.
DATABASES = {
    "sqlite": ("FTS (SQLite)", "sqlite:///file:/path/to/data/fts.sqlite?mode=ro&uri=true&check_same_thread=false", ""),
    "trino": ("FTS (Trino)", "trino://superset@localhost:8080/scylla/binance_stream", "-trino"),
}
# How Trino calls the types of CQL. A decimal arrives as a double; beside it is its text.
TRINO_TYPES = {"text": "VARCHAR", "bigint": "BIGINT", "int": "INTEGER", "decimal": "DOUBLE", "timestamp": "TIMESTAMP(3) WITH TIME ZONE"}

# What Elasticsearch has of the stocks is read there if the export is told so. Restatements are read in ScyllaDB always: where
# there never was one, Elasticsearch has no such index, and Trino no such table.
IN_ELASTICSEARCH = ["v_finanzas_batch", "v_transacciones_nrt"]
# `export.py` puts the true place in the place of this one.
ELASTICSEARCH = "elasticsearch.default"
ELASTICSEARCH_TYPES = {"text": "VARCHAR", "bigint": "BIGINT", "int": "BIGINT", "decimal": "DOUBLE", "timestamp": "TIMESTAMP(3)"}
# Where it keeps something else than ScyllaDB.
ELASTICSEARCH_TERMS = {"fecha": "substr(CAST(fecha AS varchar), 1, 10)", "extra": "json_format(json_extract(_source, '$.extra'))"}

# How tables show them; ids are no numbers to be read.
WHOLE_NUMBERS = {name: {"d3NumberFormat": ",d"} for name in ("trade_count", "volumen", "cantidad", "missing")}
# Heads of tables, where a capital letter and spaces don't make one of the column's name.
HEADS = {
    "accion": "Acción", "maximo": "Máximo", "minimo": "Mínimo", "tipo_transaccion": "Tipo", "despues": "Después", "change_percent": "Change, %",
    "trade_count": "Trades", "before_time": "Before",
}  # fmt: skip

RECENT = 'DATEADD(DATETIME("now"), -6, hour) : now'
MONTHS = 'DATEADD(DATETIME("now"), -6, month) : now'

# The time by which a dataset is filtered, and what it holds.
VIEWS = {
    "v_trades": ("time", "Single trades."),
    "v_candles": ("open_time", "Candles of 1s 1m 5m 15m 1h 1d with all columns of the exchange's klines: filter by interval."),
    "v_binance_book_ticker_data": ("received_at", "Every change of the best bid or ask: many rows. v_book_ticker_1s has the same extremes per second."),
    "v_book_ticker_1s": ("open_time", "Best bid and ask per second."),
    "v_binance_ticker_data": ("event_time", "The statistics of the last 24 h, as the exchange sent them each second."),
    "v_gaps": ("before_time", "Trade ids that the exchange itself does not have."),
    "v_alerts": ("time", "Abrupt price changes."),
    "v_dead_letters": ("received_at", "What could not be understood, as it came."),
    "v_finanzas_batch": ("time", "Daily prices of stocks."),
    "v_finanzas_batch_changes": ("fetched_at", "Daily prices that the provider restated."),
    "v_transacciones_nrt": ("time", "Purchases and sales of stocks."),
}

TIMES = {
    "time", "open_time", "close_time", "received_at", "event_time", "after_time", "before_time", "fetched_at",
    "statistics_open_time", "statistics_close_time",
}  # fmt: skip

DESCRIPTIONS = {
    "accion": "The stock.",
    "after_time": "The time of the trade before the gap.",
    "antes": "The value that was known before.",
    "apertura": "The day's first price.",
    "before_time": "The time of the trade behind the gap.",
    "buyer_is_maker": "1: the seller took the buyer's offer; 0: the other way round.",
    "campo": "Which column was restated.",
    "cantidad": "How many shares.",
    "change_percent": "From the reference price to the price.",
    "cierre": "The day's last price.",
    "close_time": "Its last millisecond.",
    "complete": "1: proven by the exchange's ids that no trade is missing; 0: under way, or something is missing.",
    "despues": "The value as restated.",
    "direction": "up or down.",
    "error": "Why it failed: ERROR_API, ERROR_CONEXION or TIMEOUT; empty where it did not.",
    "estado": "EXITOSO or FALLIDO.",
    "event_time": "When the exchange computed it.",
    "extra": "Further columns that the rules of the configuration make, as JSON.",
    "fecha": "The day of trading, YYYY-MM-DD.",
    "fetched_at": "When the provider was asked.",
    "interval": "1s 1m 5m 15m 1h 1d.",
    "maximo": "The day's highest price.",
    "mean_spread": "Mean of ask minus bid over the changes of the second.",
    "minimo": "The day's lowest price.",
    "missing": "How many ids.",
    "open_time": "Its first millisecond.",
    "payload": "The bytes as they came.",
    "precio_unitario": "Price of one share.",
    "reason": "Why.",
    "received_at": "When the node received it.",
    "reference_price": "The price that the change is measured from.",
    "source": "stream or rest.",
    "spread_sum": "Sum of ask minus bid over the changes of the second.",
    "stream": "The exchange's name of the stream.",
    "symbol": "As the exchange writes it.",
    "taker_buy_quote_volume": "What of the quote volume takers bought.",
    "taker_buy_volume": "What of the volume takers bought.",
    "threshold_percent": "The change from which on there is an alert.",
    "time": "When it happened.",
    "timestamp": "The time as its writer wrote it.",
    "tipo_transaccion": "COMPRA or VENTA.",
    "total": "Shares times price.",
    "total_number_of_trades": "Trades of the last 24 h: take the maximum of a stretch, never the sum.",
    "trade_count": "How many trades.",
    "update_count": "How many changes of the best bid or ask.",
    "version": "How much the row knows; a store keeps the greatest.",
    "volumen": "Shares traded that day.",
    "window_ms": "The length of time in which the price changed, in ms.",
}


def edge(function: str, column: str, time: str) -> dict:
    """The value at the first (MIN) or last (MAX) time of a stretch, whatever its length."""
    return {
        "sqlite": f"CAST(SUBSTR({function}(PRINTF('%015d', {time}) || {column}), 16) AS REAL)",
        "trino": f"{function}_BY({column}_real, {time})",
    }


OPEN, CLOSE = edge("MIN", "open", "open_time"), edge("MAX", "close", "open_time")
APERTURA, CIERRE = edge("MIN", "apertura", "time"), edge("MAX", "cierre", "time")
SCALAR = {"sqlite": {"least": "MIN", "greatest": "MAX"}, "trino": {"least": "LEAST", "greatest": "GREATEST"}}
# Prices have eight digits at most: what a difference of doubles has behind them is none.
LOWER, RISE, FALL = "{least}({open}, {close})", "ROUND({greatest}({close} - {open}, 0e0), 8)", "ROUND({greatest}({open} - {close}, 0e0), 8)"


def scalar(expression: str, open: dict, close: dict) -> dict:
    """Of the first and the last price of a stretch."""
    return {kind: expression.format(open=open[kind], close=close[kind], **names) for kind, names in SCALAR.items()}


def both(expression: str) -> dict:
    """The same for either."""
    return dict.fromkeys(SCALAR, expression)


def of_one_symbol(expression: dict) -> dict:
    """Nothing in place of nonsense where several symbols meet in one candle."""
    return {kind: f"CASE WHEN MIN(symbol) = MAX(symbol) THEN {it} END" for kind, it in expression.items()}


# Dataset → metric → (expression, title, format). Where a chart has several, its legend shows their names, not their titles.
METRICS = {
    "v_trades": {
        "trades": ("COUNT(*)", "Trades", ",d"),
        "traded": ("SUM(quantity_real)", "Traded", ",.4f"),
    },
    "v_candles": {
        "Opening price": (of_one_symbol(OPEN), "Opening price", ",.8~f"),
        "Highest price": (of_one_symbol(both("MAX(high_real)")), "Highest price", ",.8~f"),
        "Lowest price": (of_one_symbol(both("MIN(low_real)")), "Lowest price", ",.8~f"),
        "Closing price": (of_one_symbol(CLOSE), "Closing price", ",.8~f"),
        "Body from": (of_one_symbol(scalar(LOWER, OPEN, CLOSE)), "Body from", ",.8~f"),
        "Rise": (of_one_symbol(scalar(RISE, OPEN, CLOSE)), "Rise", ",.8~f"),
        "Fall": (of_one_symbol(scalar(FALL, OPEN, CLOSE)), "Fall", ",.8~f"),
        "Traded": ("SUM(volume_real)", "Traded", ",.4~f"),
        "By takers": ("SUM(taker_buy_volume_real)", "By takers", ",.4~f"),
        "trades": ("SUM(trade_count)", "Trades", ",d"),
        "candles": ("COUNT(*)", "Candles", ",d"),
        "proven": ("SUM(complete)", "Proven complete", ",d"),
        "not_proven": ("SUM(1 - complete)", "Not proven complete", ",d"),
        "proven_percent": ("100e0 * SUM(complete) / COUNT(*)", "Proven complete, %", ",.2f"),
    },
    "v_binance_book_ticker_data": {
        "max_bid": ("MAX(best_bid_price_real)", "Highest best bid", ",.8~f"),
        "max_ask": ("MAX(best_ask_price_real)", "Highest best ask", ",.8~f"),
        "changes": ("COUNT(*)", "Changes", ",d"),
    },
    "v_book_ticker_1s": {
        "Máxima oferta de compra": ("MAX(bid_high_real)", "Máxima oferta de compra", ",.8~f"),
        "Máxima oferta de venta": ("MAX(ask_high_real)", "Máxima oferta de venta", ",.8~f"),
        "Last best bid": (edge("MAX", "bid_close", "open_time"), "Last best bid", ",.8~f"),
        "Last best ask": (edge("MAX", "ask_close", "open_time"), "Last best ask", ",.8~f"),
        "spread": ("SUM(spread_sum_real) / SUM(update_count)", "Mean spread", ",.8~f"),
        "spread_bp": ("10000 * AVG(mean_spread_real / ((bid_close_real + ask_close_real) / 2))", "Spread, basis points", ",.3f"),
        "changes": ("SUM(update_count)", "Changes", ",d"),
    },
    "v_binance_ticker_data": {
        "trades_24h": ("MAX(total_number_of_trades)", "Trades of the last 24 h", ",d"),
        "volume_24h": ("MAX(total_traded_quote_asset_volume_real)", "Quote volume of the last 24 h", ",.2f"),
    },
    "v_gaps": {
        "gap_count": ("COUNT(*)", "Gaps", ",d"),
        "missing_ids": ("SUM(missing)", "Missing trades", ",d"),
    },
    "v_alerts": {
        "alert_count": ("COUNT(*)", "Alerts", ",d"),
        "greatest_change": ("MAX(ABS(change_percent_real))", "Greatest change, %", ",.4f"),
    },
    "v_dead_letters": {"letters": ("COUNT(*)", "Dead letters", ",d")},
    "v_finanzas_batch": {
        "Precio de apertura": (of_one_symbol(APERTURA), "Precio de apertura", ",.2f"),
        "Precio máximo": (of_one_symbol(both("MAX(maximo_real)")), "Precio máximo", ",.2f"),
        "Precio mínimo": (of_one_symbol(both("MIN(minimo_real)")), "Precio mínimo", ",.2f"),
        "Precio de cierre": (of_one_symbol(CIERRE), "Precio de cierre", ",.2f"),
        "Cuerpo desde": (of_one_symbol(scalar(LOWER, APERTURA, CIERRE)), "Cuerpo desde", ",.2f"),
        "Sube": (of_one_symbol(scalar(RISE, APERTURA, CIERRE)), "Sube", ",.2f"),
        "Baja": (of_one_symbol(scalar(FALL, APERTURA, CIERRE)), "Baja", ",.2f"),
        "shares": ("SUM(volumen)", "Volumen", ",d"),
        "days": ("COUNT(*)", "Days", ",d"),
    },
    "v_finanzas_batch_changes": {"restatements": ("COUNT(*)", "Restatements", ",d")},
    "v_transacciones_nrt": {
        "transactions": ("COUNT(*)", "Transactions", ",d"),
        "shares": ("SUM(cantidad)", "Shares", ",d"),
        "amount": ("SUM(total_real)", "Amount", ",.2f"),
        "failed": ("SUM(CASE estado WHEN 'FALLIDO' THEN 1 ELSE 0 END)", "Failed", ",d"),
        "failed_percent": ("100e0 * SUM(CASE estado WHEN 'FALLIDO' THEN 1 ELSE 0 END) / COUNT(*)", "Failed, %", ",.2f"),
    },
}  # fmt: skip

# Weeks from Monday on: what a plain week is differs between databases.
MONDAYS = "1969-12-29T00:00:00Z/P1W"
# The dates of an axis are in the filter above it, as far as it shows hours.
AXES = {"PT1M": "%H:%M", "PT5M": "%H:%M", "P1D": "%d %b", MONDAYS: "%d %b"}
ONE_MINUTE = [("interval", "==", "1m")]
LINE, BAR = "echarts_timeseries_line", "echarts_timeseries_bar"
LOG = {"logAxis": True, "truncateYAxis": True, "y_axis_format": "SMART_NUMBER"}


def series(title, view, kind, grain, metrics, by=(), where=(), about=None, **more):
    """A chart over time."""
    return {"title": title, "view": view, "kind": kind, "grain": grain, "metrics": list(metrics), "by": list(by), "where": list(where), "about": about, "more": more}


def candles(title, view, grain, body, prices, where=(), about=None):
    """The best of what Superset ships: bars that hang in the air on invisible ones, and dots. One symbol at a time."""
    more = {
        "seriesType": "bar", "stack": True, "opacity": 1, "metrics_b": prices, "groupby_b": [], "seriesTypeB": "scatter", "markerEnabledB": True,
        "markerSizeB": 4, "opacityB": 1, "row_limit_b": 10000, "yAxisIndex": 0, "yAxisIndexB": 0, "truncateYAxis": True, "show_legend": False,
    }  # fmt: skip
    return series(title, view, "mixed_timeseries", grain, body, (), where, about, **more)


def totals(title, view, by, metrics, where=(), about=None):
    """A table of metrics."""
    return series(title, view, "table", None, metrics, by, where, about)


def rows(title, view, columns, order, where=(), about=None):
    """A table of rows, newest first; `order` makes it unambiguous."""
    return {"title": title, "view": view, "kind": "table", "grain": None, "columns": columns, "order": order, "where": list(where), "about": about, "more": {}}


# Charts in rows, each with its width of 12 and whether the dashboard's filter by symbol narrows it.
MARKET = [
    [
        (6, True, series("Evolución de Máximas Ofertas de Compra y Venta por Símbolo", "v_book_ticker_1s", LINE, "PT1M", ["Máxima oferta de compra", "Máxima oferta de venta"], ["symbol"],
            about="The highest best bid and best ask of each symbol, per minute.", truncateYAxis=True)),
        (6, False, series("Número total de operaciones", "v_binance_ticker_data", BAR, "PT5M", ["trades_24h"], ["symbol"],
            about="Trades of the last 24 h by symbol, as the exchange counts them.")),
    ],
    [
        (8, True, candles("Candles: open, high, low, close", "v_candles", "PT1M", ["Body from", "Rise", "Fall"], ["Opening price", "Highest price", "Lowest price", "Closing price"], ONE_MINUTE,
            about="Of the chosen symbol. Bodies from the opening to the closing price, green: it rose, red: it fell; dots: the highest and the lowest price.")),
        (4, True, series("Volume", "v_candles", BAR, "PT1M", ["Traded", "By takers"], ["symbol"], ONE_MINUTE)),
    ],
    [
        (6, True, series("Best bid and ask", "v_book_ticker_1s", LINE, "PT1M", ["Last best bid", "Last best ask"], ["symbol"], truncateYAxis=True)),
        (6, False, series("Spread in basis points", "v_book_ticker_1s", LINE, "PT1M", ["spread_bp"], ["symbol"],
            about="Mean of (ask − bid) / mid over the seconds of a minute, in hundredths of a percent.", **LOG)),
    ],
    [
        (6, False, totals("Completeness of the minutes", "v_candles", ["symbol"], ["candles", "proven", "proven_percent", "trades"], ONE_MINUTE,
            about="How many minutes are proven complete by the exchange's ids; the one under way can't be.")),
        (6, False, series("Minutes not proven complete", "v_candles", BAR, "PT1M", ["not_proven"], ["symbol"], ONE_MINUTE, stack="Stack")),
    ],
    [
        (12, True, rows("Candles, exact", "v_candles", ["open_time", "symbol", "open", "high", "low", "close", "volume", "quote_volume", "trade_count", "complete"],
            ["open_time", "symbol"], ONE_MINUTE, about="Decimals as the exchange's, digit for digit.")),
    ],
    [
        (6, False, series("Alerts over time", "v_alerts", BAR, "PT1M", ["alert_count"], ["direction"], stack="Stack")),
        (6, False, rows("Alerts: abrupt price changes", "v_alerts", ["time", "symbol", "direction", "change_percent", "reference_price", "price"], ["time", "symbol", "direction"])),
    ],
    [
        (6, False, rows("Gaps: trades that the exchange does not have", "v_gaps", ["before_time", "symbol", "first_trade_id", "last_trade_id", "missing", "reason"], ["before_time", "symbol", "first_trade_id"])),
        (6, False, totals("Dead letters", "v_dead_letters", ["topic", "reason"], ["letters"])),
    ],
]  # fmt: skip

STOCKS = [
    [
        (4, False, series("finanzas_batch: cierre por símbolo", "v_finanzas_batch", LINE, "P1D", ["Precio de cierre"], ["symbol"], truncateYAxis=True)),
        (8, True, candles("finanzas_batch: apertura, máximo, mínimo, cierre", "v_finanzas_batch", "P1D", ["Cuerpo desde", "Sube", "Baja"], ["Precio de apertura", "Precio máximo", "Precio mínimo", "Precio de cierre"],
            about="De la acción elegida. Cuerpos de la apertura al cierre, verdes si sube, rojos si baja; puntos: el máximo y el mínimo.")),
    ],
    [
        (6, False, series("finanzas_batch: volumen", "v_finanzas_batch", BAR, MONDAYS, ["shares"], ["symbol"], stack="Stack")),
        (6, False, rows("finanzas_batch: precios exactos", "v_finanzas_batch", ["fecha", "symbol", "apertura", "maximo", "minimo", "cierre", "volumen"], ["time", "symbol"])),
    ],
    [
        (6, False, series("transacciones_nrt: por tipo", "v_transacciones_nrt", BAR, "PT1M", ["transactions"], ["tipo_transaccion"], stack="Stack")),
        (6, False, series("transacciones_nrt: por estado", "v_transacciones_nrt", BAR, "PT1M", ["transactions"], ["estado"], stack="Stack")),
    ],
    [
        (6, False, totals("transacciones_nrt: por acción y tipo", "v_transacciones_nrt", ["accion", "tipo_transaccion"], ["transactions", "shares", "amount", "failed_percent"])),
        (6, False, series("transacciones_nrt: errores", "v_transacciones_nrt", BAR, "PT1M", ["transactions"], ["error"], [("estado", "==", "FALLIDO")], stack="Stack")),
    ],
    [
        (6, False, rows("transacciones_nrt: las últimas", "v_transacciones_nrt", ["time", "accion", "tipo_transaccion", "cantidad", "precio_unitario", "total", "estado", "error"], ["time", "id"])),
        (6, False, rows("finanzas_batch: precios corregidos", "v_finanzas_batch_changes", ["fetched_at", "symbol", "fecha", "campo", "antes", "despues"], ["fetched_at", "symbol", "time", "campo"])),
    ],
]  # fmt: skip

# What holds a candle up is not seen, nor are its prices beside its body, which are there to be read off.
NONE, GREEN, RED = "#00000000", "#26a269", "#d64545"
COLOURS = {"Body from": NONE, "Rise": GREEN, "Fall": RED, "Opening price": NONE, "Highest price": GREEN, "Lowest price": RED, "Closing price": NONE} | {
    "Cuerpo desde": NONE, "Sube": GREEN, "Baja": RED, "Precio de apertura": NONE, "Precio máximo": GREEN, "Precio mínimo": RED,
}  # fmt: skip

# Slug, title, charts, the filter's title, dataset and first choice, and time filters: title, range, the views they narrow.
DASHBOARDS = [
    ("fts-market", "Market", MARKET, "Symbol", "v_candles", "BTCUSDT", [("Time", RECENT, None)]),
    ("fts-stocks", "finanzas_batch and transacciones_nrt", STOCKS, "Stock", "v_finanzas_batch", "TSLA",
        [("Days", MONTHS, "v_finanzas_batch"), ("Time of transactions", RECENT, "v_transacciones_nrt")]),
]  # fmt: skip


def identity(*parts: str) -> str:
    return str(uuid.uuid5(NAMESPACE, "/".join(parts)))


def slug(title: str) -> str:
    plain = "".join(it if it.isascii() and it.isalnum() else "_" for it in title.translate(str.maketrans("áéíóúñ", "aeioun")).lower())
    return "_".join(filter(None, plain.split("_")))


def database(kind: str) -> dict:
    name, uri, _ = DATABASES[kind]
    extra = {"allows_virtual_table_explore": True}
    if kind == "trino":
        extra["engine_params"] = {"connect_args": {"timezone": "UTC", "source": "superset"}}
    return {
        "database_name": name, "sqlalchemy_uri": uri, "cache_timeout": None, "expose_in_sqllab": True, "allow_run_async": False,
        "allow_ctas": False, "allow_cvas": False, "allow_dml": False, "allow_file_upload": False,
        "extra": extra, "uuid": identity("database", kind), "version": "1.0.0",
    }  # fmt: skip


def column(database_kind: str, name: str, kind: str) -> dict:
    is_time = name in TIMES
    exact = name.removesuffix("_real")
    description = DESCRIPTIONS.get(exact)
    head = HEADS.get(exact, exact.replace("_", " ").capitalize())
    if exact != name:
        description = f"{exact} as a floating-point number: for charts, not for sums of money."
    return {
        "column_name": name, "verbose_name": head + " (number)" * (exact != name), "is_dttm": is_time, "is_active": True, "type": kind, "advanced_data_type": None,
        "groupby": True, "filterable": True, "expression": None, "description": description,
        "python_date_format": "epoch_ms" if is_time and database_kind == "sqlite" else None, "extra": {},
    }  # fmt: skip


def dataset(kind: str, view: str, columns: list, sql: str | None) -> dict:
    time, about = VIEWS[view]
    metrics = []
    for name, (expression, title, d3) in METRICS[view].items():
        expression = expression[kind] if isinstance(expression, dict) else expression
        metrics.append({"metric_name": name, "verbose_name": title, "metric_type": None, "expression": expression, "description": None, "d3format": d3, "currency": None, "extra": {}, "warning_text": None})
    clash = {it["metric_name"] for it in metrics} & {name for name, _ in columns}
    assert not clash, f"{view}: metrics named like columns: {clash}"
    return {
        # Some Supersets want these to differ among all databases.
        "table_name": view if sql is None else f"trino_{view.removeprefix('v_')}", "main_dttm_col": time, "description": about, "default_endpoint": None, "offset": 0, "cache_timeout": None,
        "catalog": None, "schema": "main" if kind == "sqlite" else None, "sql": sql, "params": None, "template_params": None,
        "filter_select_enabled": True, "fetch_values_predicate": None, "extra": None, "normalize_columns": False,
        "always_filter_main_dttm": False, "uuid": identity("dataset", kind, view), "metrics": metrics,
        "columns": [column(kind, *it) for it in columns], "version": "1.0.0", "database_uuid": identity("database", kind),
    }  # fmt: skip


def chart(database_kind: str, it: dict) -> dict:
    view, kind = it["view"], it["kind"]
    time = VIEWS[view][0]
    adhoc = [{"clause": "WHERE", "subject": time, "operator": "TEMPORAL_RANGE", "comparator": "No filter", "expressionType": "SIMPLE"}]
    filters = [{"col": time, "op": "TEMPORAL_RANGE", "val": "No filter"}]
    for subject, operator, value in it["where"]:
        adhoc.append({"clause": "WHERE", "subject": subject, "operator": operator, "operatorId": "EQUALS", "comparator": value, "expressionType": "SIMPLE"})
        filters.append({"col": subject, "op": operator, "val": value})
    params = {"viz_type": kind, "adhoc_filters": adhoc, "row_limit": 10000, "extra_form_data": {}, "dashboards": []}
    query = {
        "filters": filters, "extras": {"having": "", "where": ""}, "applied_time_extras": {}, "annotation_layers": [], "row_limit": 10000,
        "series_limit": 0, "order_desc": True, "url_params": {}, "custom_params": {}, "custom_form_data": {}, "time_offsets": [],
    }  # fmt: skip
    if "columns" in it:
        params |= {"query_mode": "raw", "all_columns": it["columns"], "order_by_cols": [json.dumps([name, False]) for name in it["order"]], "row_limit": 200, "table_timestamp_format": "smart_date", "show_cell_bars": False, "server_page_length": 10, "column_config": WHOLE_NUMBERS}
        query |= {"columns": it["columns"], "orderby": [[name, False] for name in it["order"]], "row_limit": 200}
    elif it["grain"] is None:
        params |= {"query_mode": "aggregate", "groupby": it["by"], "metrics": it["metrics"], "show_cell_bars": False, "server_page_length": 10, "order_desc": True}
        query |= {"columns": it["by"], "metrics": it["metrics"], "orderby": [[it["metrics"][0], False]]}
    else:
        params |= {
            "x_axis": time, "time_grain_sqla": it["grain"], "x_axis_sort_asc": True, "metrics": it["metrics"], "groupby": it["by"],
            "order_desc": True, "truncate_metric": True, "show_empty_columns": True, "color_scheme": "supersetColors", "show_legend": True,
            "legendType": "scroll", "legendOrientation": "top", "x_axis_time_format": AXES[it["grain"]], "rich_tooltip": True,
            "tooltipTimeFormat": "smart_date", "y_axis_format": METRICS[view][it["metrics"][0]][2].replace(",d", ",.2~f"), "y_axis_bounds": [None, None],
        }  # fmt: skip
        params |= {"seriesType": "line", "opacity": 0.2, "markerSize": 6} if kind == LINE else {"orientation": "vertical", "stack": None} if kind == BAR else {}
        axis = {"columnType": "BASE_AXIS", "sqlExpression": time, "label": time, "expressionType": "SQL", "timeGrain": it["grain"]}
        query |= {"columns": [axis, *it["by"]], "metrics": it["metrics"], "series_columns": it["by"]}
    params |= it["more"]
    queries = [query]
    if "metrics_b" in it["more"]:
        params["adhoc_filters_b"] = [dict(it) for it in adhoc]
        queries.append(query | {"metrics": it["more"]["metrics_b"]})
    context = {"datasource": {"id": 0, "type": "table"}, "force": False, "queries": queries, "form_data": params, "result_format": "json", "result_type": "full"}
    return {
        "slice_name": it["title"], "description": it["about"], "certified_by": None, "certification_details": None, "viz_type": kind,
        "params": params, "query_context": json.dumps(context, ensure_ascii=False), "cache_timeout": None, "uuid": identity("chart", database_kind, it["title"]),
        "version": "1.0.0", "dataset_uuid": identity("dataset", database_kind, view),
    }  # fmt: skip


def dashboard(database_kind, name, title, grid, filter_title, filter_view, choice, times) -> dict:
    position = {
        "DASHBOARD_VERSION_KEY": "v2",
        "ROOT_ID": {"type": "ROOT", "id": "ROOT_ID", "children": ["GRID_ID"]},
        "GRID_ID": {"type": "GRID", "id": "GRID_ID", "children": [f"ROW-{at}" for at in range(len(grid))], "parents": ["ROOT_ID"]},
        "HEADER_ID": {"type": "HEADER", "id": "HEADER_ID", "meta": {"text": title}},
    }
    placed = []
    for at, row in enumerate(grid):
        names = []
        for width, narrowed, it in row:
            # Counted on behind other dashboards': the import puts the true numbers in their place.
            number = len(placed) + 1
            placed.append((number, narrowed, it["view"]))
            names.append(f"CHART-{number}")
            meta = {"width": width, "height": 50, "chartId": number, "sliceName": it["title"], "uuid": identity("chart", database_kind, it["title"])}
            position[names[-1]] = {"type": "CHART", "id": names[-1], "children": [], "parents": ["ROOT_ID", "GRID_ID", f"ROW-{at}"], "meta": meta}
        position[f"ROW-{at}"] = {"type": "ROW", "id": f"ROW-{at}", "children": names, "parents": ["ROOT_ID", "GRID_ID"], "meta": {"background": "BACKGROUND_TRANSPARENT"}}

    def native(title, kind, targets, default, excluded, control):
        return {
            "id": f"NATIVE_FILTER-{slug(title)}", "name": title, "filterType": kind, "targets": targets, "defaultDataMask": default,
            "controlValues": control, "cascadeParentIds": [], "scope": {"rootPath": ["ROOT_ID"], "excluded": excluded}, "type": "NATIVE_FILTER", "description": "",
        }  # fmt: skip

    filters = [
        native(
            filter_title, "filter_select", [{"datasetUuid": identity("dataset", database_kind, filter_view), "column": {"name": "symbol"}}],
            {"extraFormData": {"filters": [{"col": "symbol", "op": "IN", "val": [choice]}]}, "filterState": {"value": [choice], "label": choice}, "ownState": {}},
            [number for number, narrowed, _ in placed if not narrowed],
            {"enableEmptyFilter": False, "defaultToFirstItem": False, "multiSelect": False, "searchAllOptions": True, "inverseSelection": False},
        )
    ]  # fmt: skip
    for time_title, span, of in times:
        excluded = [number for number, _, view in placed if of is not None and not view.startswith(of)]
        default = {"extraFormData": {"time_range": span}, "filterState": {"value": span}, "ownState": {}}
        filters.append(native(time_title, "filter_time", [{}], default, excluded, {"enableEmptyFilter": False}))
    metadata = {
        "color_scheme": "supersetColors", "label_colors": COLOURS, "refresh_frequency": 30, "timed_refresh_immune_slices": [], "expanded_slices": {},
        "default_filters": "{}", "cross_filters_enabled": True, "filter_bar_orientation": "HORIZONTAL", "native_filter_configuration": filters,
    }  # fmt: skip
    return {
        "dashboard_title": title, "description": None, "css": "", "slug": name + DATABASES[database_kind][2], "certified_by": None, "certification_details": None,
        "published": True, "uuid": identity("dashboard", database_kind, name), "position": position, "metadata": metadata, "version": "1.0.0",
    }  # fmt: skip


def sqlite_columns() -> dict:
    """View → its columns, each with its type."""
    store = sqlite3.connect(":memory:")
    for version in sorted(SQLITE_SCHEMA.glob("*.sql"), key=lambda it: int(it.stem)):
        store.executescript(version.read_text())
    views = {name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'view'")}
    assert views == set(VIEWS), f"the schema's views and those described here differ: {views ^ set(VIEWS)}"
    # Not every SQLite tells the type of a cast, or of a generated column.
    return {
        view: [(name, "REAL" if name.endswith("_real") else kind or "TEXT") for _, name, kind, *_ in store.execute(f"PRAGMA table_xinfo({view})")]
        for view in VIEWS
    }  # fmt: skip


def scylla_columns() -> dict:
    """Table → column → its type in CQL."""
    tables = {}
    for version in sorted(SCYLLA_SCHEMA.glob("*.cql"), key=lambda it: int(it.stem)):
        for name, body in re.findall(r"^CREATE TABLE IF NOT EXISTS (\w+) \((.*?)^\)", version.read_text(), re.M | re.S):
            tables[name] = dict(re.findall(r"^    (\w+) (\w+),$", body, re.M))
    return tables


def trino_dataset(view: str, columns: list, stored: dict, types: dict, other_terms: dict, schema: str) -> tuple[list, str]:
    """The columns of a view as a query on ScyllaDB's table, or on Elasticsearch's, as far as that has them."""
    found, terms = [], []
    for name, _ in columns:
        exact = name.removesuffix("_real")
        source, kind = (f"{name}_text", "text") if f"{name}_text" in stored else (exact, stored.get(exact))
        if kind is None:
            continue
        if name in other_terms:
            found.append((name, "VARCHAR"))
            terms.append(f'{other_terms[name]} AS "{name}"')
        elif kind == "boolean":
            found.append((name, "INTEGER"))
            terms.append(f'CAST("{source}" AS integer) AS "{name}"')
        else:
            found.append((name, types[kind]))
            terms.append(f'"{source}"' if source == name else f'"{source}" AS "{name}"')
    return found, f"SELECT {', '.join(terms)} FROM {schema}{view.removeprefix('v_')}"


def put(path: Path, what: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(what, sort_keys=False, width=120, allow_unicode=True))


def write(folder: Path, kind: str) -> None:
    put(folder / "metadata.yaml", {"version": "1.0.0", "type": "assets", "timestamp": "2026-01-01T00:00:00+00:00"})
    put(folder / f"databases/fts_{kind}.yaml", database(kind))
    stored = scylla_columns()
    for view, columns in sqlite_columns().items():
        sql = None
        if kind == "trino":
            columns, sql = trino_dataset(view, columns, stored[view.removeprefix("v_")], TRINO_TYPES, {}, "")
        put(folder / f"datasets/fts_{kind}/{view}.yaml", dataset(kind, view, columns, sql))
    for board in DASHBOARDS:
        put(folder / f"dashboards/{board[0].replace('-', '_')}.yaml", dashboard(kind, *board))
        for _, _, it in (place for row in board[2] for place in row):
            put(folder / f"charts/{slug(it['title'])}.yaml", chart(kind, it))


def write_elasticsearch(folder: Path) -> None:
    """The same datasets, read elsewhere; laid over those of the bundle for Trino."""
    stored, columns = scylla_columns(), sqlite_columns()
    for view in IN_ELASTICSEARCH:
        found, sql = trino_dataset(view, columns[view], stored[view.removeprefix("v_")], ELASTICSEARCH_TYPES, ELASTICSEARCH_TERMS, f"{ELASTICSEARCH}.")
        put(folder / f"datasets/fts_trino/{view}.yaml", dataset("trino", view, found, sql))


def differs(one: Path, other: Path) -> bool:
    found = dircmp(one, other)
    if found.left_only or found.right_only or found.diff_files or found.funny_files:
        return True
    return any(differs(one / it, other / it) for it in found.common_dirs)


def main() -> None:
    is_check = "--check" in sys.argv[1:]
    writers = {kind: functools.partial(write, kind=kind) for kind in DATABASES} | {"trino-elasticsearch": write_elasticsearch}
    for name, writer in writers.items():
        target = HERE / name
        if is_check:
            with tempfile.TemporaryDirectory() as scratch:
                writer(Path(scratch))
                if differs(Path(scratch), target):
                    sys.exit(f"superset/{name} is not what generate.py writes: run it")
        else:
            shutil.rmtree(target, ignore_errors=True)
            writer(target)


if __name__ == "__main__":
    main()
