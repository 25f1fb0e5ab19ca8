-- Version 2. Stocks: daily prices, what was restated of them, and transactions.

CREATE TABLE finanzas_batch (
    symbol TEXT NOT NULL,
    time INTEGER NOT NULL,
    fecha TEXT NOT NULL,
    apertura TEXT NOT NULL,
    maximo TEXT NOT NULL,
    minimo TEXT NOT NULL,
    cierre TEXT NOT NULL,
    volumen INTEGER NOT NULL,
    fetched_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (time, symbol)
) STRICT, WITHOUT ROWID;

CREATE TABLE finanzas_batch_changes (
    symbol TEXT NOT NULL,
    time INTEGER NOT NULL,
    fecha TEXT NOT NULL,
    campo TEXT NOT NULL,
    antes TEXT NOT NULL,
    despues TEXT NOT NULL,
    fetched_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (fetched_at, symbol, time, campo)
) STRICT, WITHOUT ROWID;

CREATE TABLE transacciones_nrt (
    id TEXT NOT NULL,
    time INTEGER NOT NULL,
    timestamp TEXT NOT NULL,
    accion TEXT NOT NULL,
    tipo_transaccion TEXT NOT NULL,
    cantidad INTEGER NOT NULL,
    precio_unitario TEXT NOT NULL,
    total TEXT NOT NULL,
    estado TEXT NOT NULL,
    error TEXT,
    extra TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (time, id)
) STRICT, WITHOUT ROWID;

CREATE VIEW v_finanzas_batch AS SELECT
    symbol,
    time,
    fecha,
    apertura, CAST(apertura AS REAL) AS apertura_real,
    maximo, CAST(maximo AS REAL) AS maximo_real,
    minimo, CAST(minimo AS REAL) AS minimo_real,
    cierre, CAST(cierre AS REAL) AS cierre_real,
    volumen,
    fetched_at,
    version
FROM finanzas_batch;

CREATE VIEW v_finanzas_batch_changes AS SELECT
    symbol,
    time,
    fecha,
    campo,
    antes,
    despues,
    fetched_at,
    version
FROM finanzas_batch_changes;

CREATE VIEW v_transacciones_nrt AS SELECT
    id,
    time,
    timestamp,
    accion,
    tipo_transaccion,
    cantidad,
    precio_unitario, CAST(precio_unitario AS REAL) AS precio_unitario_real,
    total, CAST(total AS REAL) AS total_real,
    estado,
    error,
    extra,
    received_at,
    version
FROM transacciones_nrt;
