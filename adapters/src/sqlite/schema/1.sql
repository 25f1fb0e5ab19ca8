-- Version 1. Prices and quantities are exact decimals as TEXT, times INTEGER epoch milliseconds UTC,
-- booleans 0 or 1. Each v_ view adds a REAL beside every decimal: for charts, not for sums.
-- Why the keys lead with time: docs/decisions/0002-sqlite-keys.md.

CREATE TABLE trades (
    symbol TEXT NOT NULL,
    trade_id INTEGER NOT NULL,
    time INTEGER NOT NULL,
    price TEXT NOT NULL,
    quantity TEXT NOT NULL,
    buyer_is_maker INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    source TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (time, symbol, trade_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE candles (
    symbol TEXT NOT NULL,
    interval TEXT NOT NULL,
    open_time INTEGER NOT NULL,
    close_time INTEGER NOT NULL,
    open TEXT NOT NULL,
    high TEXT NOT NULL,
    low TEXT NOT NULL,
    close TEXT NOT NULL,
    volume TEXT NOT NULL,
    quote_volume TEXT NOT NULL,
    trade_count INTEGER NOT NULL,
    taker_buy_volume TEXT NOT NULL,
    taker_buy_quote_volume TEXT NOT NULL,
    first_trade_id INTEGER NOT NULL,
    last_trade_id INTEGER NOT NULL,
    complete INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (interval, open_time, symbol)
) STRICT, WITHOUT ROWID;

CREATE TABLE binance_book_ticker_data (
    id TEXT GENERATED ALWAYS AS (symbol || '-' || update_id) VIRTUAL,
    stream TEXT GENERATED ALWAYS AS (lower(symbol) || '@bookTicker') VIRTUAL,
    update_id INTEGER NOT NULL,
    symbol TEXT NOT NULL,
    best_bid_price TEXT NOT NULL,
    best_bid_quantity TEXT NOT NULL,
    best_ask_price TEXT NOT NULL,
    best_ask_quantity TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (received_at, symbol, update_id)
) STRICT, WITHOUT ROWID;

-- Where each symbol's newest row of the table above is: for one that has been quiet for an hour,
-- the way back there leads past all the others.
CREATE TABLE newest_book_ticker (
    symbol TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    update_id INTEGER NOT NULL,
    PRIMARY KEY (symbol)
) STRICT, WITHOUT ROWID;

CREATE TABLE book_ticker_1s (
    symbol TEXT NOT NULL,
    open_time INTEGER NOT NULL,
    close_time INTEGER NOT NULL,
    bid_open TEXT NOT NULL,
    bid_high TEXT NOT NULL,
    bid_low TEXT NOT NULL,
    bid_close TEXT NOT NULL,
    ask_open TEXT NOT NULL,
    ask_high TEXT NOT NULL,
    ask_low TEXT NOT NULL,
    ask_close TEXT NOT NULL,
    spread_sum TEXT NOT NULL,
    mean_spread TEXT NOT NULL,
    update_count INTEGER NOT NULL,
    first_update_id INTEGER NOT NULL,
    last_update_id INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (open_time, symbol)
) STRICT, WITHOUT ROWID;

CREATE TABLE binance_ticker_data (
    id TEXT GENERATED ALWAYS AS (symbol || '-' || event_time) VIRTUAL,
    stream TEXT GENERATED ALWAYS AS (lower(symbol) || '@ticker') VIRTUAL,
    event_type TEXT GENERATED ALWAYS AS ('24hrTicker') VIRTUAL,
    event_time INTEGER NOT NULL,
    symbol TEXT NOT NULL,
    price_change TEXT NOT NULL,
    price_change_percent TEXT NOT NULL,
    weighted_avg_price TEXT NOT NULL,
    first_trade_price TEXT NOT NULL,
    last_price TEXT NOT NULL,
    last_quantity TEXT NOT NULL,
    best_bid_price TEXT NOT NULL,
    best_bid_quantity TEXT NOT NULL,
    best_ask_price TEXT NOT NULL,
    best_ask_quantity TEXT NOT NULL,
    open_price TEXT NOT NULL,
    high_price TEXT NOT NULL,
    low_price TEXT NOT NULL,
    total_traded_base_asset_volume TEXT NOT NULL,
    total_traded_quote_asset_volume TEXT NOT NULL,
    statistics_open_time INTEGER NOT NULL,
    statistics_close_time INTEGER NOT NULL,
    first_trade_id INTEGER NOT NULL,
    last_trade_id INTEGER NOT NULL,
    total_number_of_trades INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (event_time, symbol)
) STRICT, WITHOUT ROWID;

CREATE TABLE gaps (
    symbol TEXT NOT NULL,
    first_trade_id INTEGER NOT NULL,
    last_trade_id INTEGER NOT NULL,
    missing INTEGER NOT NULL,
    after_time INTEGER,
    before_time INTEGER NOT NULL,
    reason TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (symbol, first_trade_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE alerts (
    symbol TEXT NOT NULL,
    time INTEGER NOT NULL,
    direction TEXT NOT NULL,
    window_ms INTEGER NOT NULL,
    threshold_percent TEXT NOT NULL,
    reference_price TEXT NOT NULL,
    price TEXT NOT NULL,
    change_percent TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (time, symbol, direction)
) STRICT, WITHOUT ROWID;

CREATE TABLE dead_letters (
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    symbol TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    payload TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (topic, partition, offset)
) STRICT, WITHOUT ROWID;

CREATE VIEW v_trades AS SELECT
    symbol,
    trade_id,
    time,
    price, CAST(price AS REAL) AS price_real,
    quantity, CAST(quantity AS REAL) AS quantity_real,
    buyer_is_maker,
    received_at,
    source,
    version
FROM trades;

CREATE VIEW v_candles AS SELECT
    symbol,
    interval,
    open_time,
    close_time,
    open, CAST(open AS REAL) AS open_real,
    high, CAST(high AS REAL) AS high_real,
    low, CAST(low AS REAL) AS low_real,
    close, CAST(close AS REAL) AS close_real,
    volume, CAST(volume AS REAL) AS volume_real,
    quote_volume, CAST(quote_volume AS REAL) AS quote_volume_real,
    trade_count,
    taker_buy_volume, CAST(taker_buy_volume AS REAL) AS taker_buy_volume_real,
    taker_buy_quote_volume, CAST(taker_buy_quote_volume AS REAL) AS taker_buy_quote_volume_real,
    first_trade_id,
    last_trade_id,
    complete,
    version
FROM candles;

CREATE VIEW v_binance_book_ticker_data AS SELECT
    id,
    stream,
    update_id,
    symbol,
    best_bid_price, CAST(best_bid_price AS REAL) AS best_bid_price_real,
    best_bid_quantity, CAST(best_bid_quantity AS REAL) AS best_bid_quantity_real,
    best_ask_price, CAST(best_ask_price AS REAL) AS best_ask_price_real,
    best_ask_quantity, CAST(best_ask_quantity AS REAL) AS best_ask_quantity_real,
    received_at,
    version
FROM binance_book_ticker_data;

CREATE VIEW v_book_ticker_1s AS SELECT
    symbol,
    open_time,
    close_time,
    bid_open, CAST(bid_open AS REAL) AS bid_open_real,
    bid_high, CAST(bid_high AS REAL) AS bid_high_real,
    bid_low, CAST(bid_low AS REAL) AS bid_low_real,
    bid_close, CAST(bid_close AS REAL) AS bid_close_real,
    ask_open, CAST(ask_open AS REAL) AS ask_open_real,
    ask_high, CAST(ask_high AS REAL) AS ask_high_real,
    ask_low, CAST(ask_low AS REAL) AS ask_low_real,
    ask_close, CAST(ask_close AS REAL) AS ask_close_real,
    spread_sum, CAST(spread_sum AS REAL) AS spread_sum_real,
    mean_spread, CAST(mean_spread AS REAL) AS mean_spread_real,
    update_count,
    first_update_id,
    last_update_id,
    version
FROM book_ticker_1s;

CREATE VIEW v_binance_ticker_data AS SELECT
    id,
    stream,
    event_type,
    event_time,
    symbol,
    price_change, CAST(price_change AS REAL) AS price_change_real,
    price_change_percent, CAST(price_change_percent AS REAL) AS price_change_percent_real,
    weighted_avg_price, CAST(weighted_avg_price AS REAL) AS weighted_avg_price_real,
    first_trade_price, CAST(first_trade_price AS REAL) AS first_trade_price_real,
    last_price, CAST(last_price AS REAL) AS last_price_real,
    last_quantity, CAST(last_quantity AS REAL) AS last_quantity_real,
    best_bid_price, CAST(best_bid_price AS REAL) AS best_bid_price_real,
    best_bid_quantity, CAST(best_bid_quantity AS REAL) AS best_bid_quantity_real,
    best_ask_price, CAST(best_ask_price AS REAL) AS best_ask_price_real,
    best_ask_quantity, CAST(best_ask_quantity AS REAL) AS best_ask_quantity_real,
    open_price, CAST(open_price AS REAL) AS open_price_real,
    high_price, CAST(high_price AS REAL) AS high_price_real,
    low_price, CAST(low_price AS REAL) AS low_price_real,
    total_traded_base_asset_volume, CAST(total_traded_base_asset_volume AS REAL) AS total_traded_base_asset_volume_real,
    total_traded_quote_asset_volume, CAST(total_traded_quote_asset_volume AS REAL) AS total_traded_quote_asset_volume_real,
    statistics_open_time,
    statistics_close_time,
    first_trade_id,
    last_trade_id,
    total_number_of_trades,
    received_at,
    version
FROM binance_ticker_data;

CREATE VIEW v_gaps AS SELECT
    symbol,
    first_trade_id,
    last_trade_id,
    missing,
    after_time,
    before_time,
    reason,
    version
FROM gaps;

CREATE VIEW v_alerts AS SELECT
    symbol,
    time,
    direction,
    window_ms,
    threshold_percent, CAST(threshold_percent AS REAL) AS threshold_percent_real,
    reference_price, CAST(reference_price AS REAL) AS reference_price_real,
    price, CAST(price AS REAL) AS price_real,
    change_percent, CAST(change_percent AS REAL) AS change_percent_real,
    version
FROM alerts;

CREATE VIEW v_dead_letters AS SELECT
    topic,
    partition,
    offset,
    symbol,
    received_at,
    reason,
    payload,
    version
FROM dead_letters;
