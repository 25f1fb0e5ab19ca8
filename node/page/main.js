// The page: follows the node's live events and shows them. Texts are set as text, never as HTML.
import { bookChart, candleChart, countChart, trim } from "/charts.js";

const INTERVALS = ["1s", "1m", "5m", "15m", "1h", "1d"];
const MULTIPLES = 6;
const at = (id) => document.getElementById(id);
const number = (value) => Math.round(value).toLocaleString("en");

const state = {
  status: null, symbol: null, interval: "1m", sort: "rate", descending: true,
  before: new Map(), books: new Map(), counts: new Map(), live: null, seenAt: 0,
};
const chart = candleChart(at("candles"), legend);

async function get(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

/** Follows the chosen symbol; whatever was followed before is left. */
async function follow() {
  const { symbol, interval } = state;
  state.live?.close();
  const query = symbol ? `?symbol=${encodeURIComponent(symbol)}&interval=${interval}` : "";
  const live = new EventSource(`/api/live${query}`);
  state.live = live;
  live.addEventListener("status", (event) => { seen(); status(JSON.parse(event.data)); });
  live.addEventListener("book", (event) => { seen(); books(JSON.parse(event.data)); });
  live.addEventListener("candle", (event) => {
    seen();
    at("no-candles").hidden = true;
    chart.update(JSON.parse(event.data));
  });
  live.onerror = () => banner("The connection to the node is lost; trying again …");
  if (!symbol) return;
  at("chosen").textContent = symbol;
  try {
    const rows = await get(`/api/candles?symbol=${encodeURIComponent(symbol)}&interval=${interval}&limit=500`);
    if (symbol !== state.symbol || interval !== state.interval) return;
    chart.show(rows);
    at("no-candles").hidden = rows.length > 0;
    if (!rows.length) at("legend").textContent = "\u00a0";
  } catch { /* The live events will say what is the matter. */ }
}

function seen() {
  state.seenAt = Date.now();
  if (!at("banner").hidden) banner(null);
}

function banner(text) {
  at("banner").hidden = !text;
  at("banner").textContent = text ?? "";
}

function legend(row) {
  if (!row) return;
  const [time, open, high, low, close, base, , , trades] = row;
  const when = new Date(time).toISOString().replace("T", " ").slice(0, 19);
  const proof = row[14] ? "complete" : "not (yet) proven complete";
  at("legend").textContent =
    `${when}  O ${trim(open)}  H ${trim(high)}  L ${trim(low)}  C ${trim(close)}  V ${trim(base)}  trades ${number(trades)}  ${proof}`;
}

function status(now) {
  state.status = now;
  const { symbols } = now;
  const sum = (of) => symbols.reduce((total, it) => total + (of(it) ?? 0), 0);
  document.title = `${now.node} · fts-node`;
  at("node").textContent = now.node;
  const problems = Object.entries({ ...now.problems, ...now.warnings }).map(([part, what]) => `${part}: ${what}`);
  at("ready").textContent = problems.length ? problems.join(" · ") : "ready";
  at("ready").className = problems.length ? "warn" : "quiet";
  at("total-rate").textContent = number(sum((it) => it.rate));
  at("total-trades").textContent = number(sum((it) => it.trades));
  at("total-missing").textContent = number(sum((it) => it.missing));
  at("total-missing").className = sum((it) => it.missing) ? "warn" : "";
  at("total-lost").textContent = number(sum((it) => it.lost));
  at("total-lost").className = sum((it) => it.lost) ? "down" : "";
  at("total-duplicates").textContent = number(sum((it) => it.duplicates));
  at("version").textContent = `fts-node ${now.version} · up ${age(now.now - now.started_at)} · `;
  if (!state.symbol && symbols.length) {
    state.symbol = [...symbols].sort((a, b) => b.rate - a.rate)[0].symbol;
    follow();
  }
  rows();
  multiples();
  list("feeds", now.feeds, (it) =>
    `${it.name}  ${it.symbols} symbols  ${it.connected ? "connected" : `not connected: ${it.last_error ?? "…"}`}  (${it.connects} connects)`, "No feed yet.");
}

const KEYS = {
  symbol: (it) => it.symbol, price: (it) => Number(it.last_price ?? 0), rate: (it) => it.rate,
  lag: (it) => it.lag_ms ?? 0, missing: (it) => it.missing + it.lost,
};

function rows() {
  const wanted = at("filter").value.trim().toUpperCase();
  const key = KEYS[state.sort];
  const sign = state.descending ? -1 : 1;
  const shown = state.status.symbols
    .filter((it) => it.symbol.includes(wanted))
    .sort((a, b) => {
      const [one, other] = [key(a), key(b)];
      return one < other ? -sign : one > other ? sign : a.symbol < b.symbol ? -1 : 1;
    });
  at("no-rows").hidden = shown.length > 0;
  const body = at("rows");
  while (body.rows.length > shown.length) body.deleteRow(-1);
  shown.forEach((it, place) => {
    const row = body.rows[place] ?? blank(body);
    row.dataset.symbol = it.symbol;
    row.setAttribute("aria-selected", it.symbol === state.symbol);
    const price = Number(it.last_price ?? 0);
    const before = state.before.get(it.symbol) ?? price;
    state.before.set(it.symbol, price);
    const cells = [
      [it.symbol, ""],
      [trim(it.last_price), price > before ? "number up" : price < before ? "number down" : "number"],
      [it.rate.toFixed(1), "number"],
      [lag(it.lag_ms), "number"],
      [it.missing || it.lost ? `${number(it.missing)} / ${number(it.lost)}` : "0", it.lost ? "number down" : it.missing ? "number warn" : "number"],
      [it.complete ? "✓ complete" : it.trades ? "… filling" : "–", it.complete ? "up" : "warn"],
    ];
    cells.forEach(([text, className], index) => {
      const cell = row.cells[index];
      if (cell.textContent !== text) cell.textContent = text;
      if (cell.className !== className) cell.className = className;
    });
  });
}

function blank(body) {
  const row = body.insertRow();
  for (let cell = 0; cell < 6; cell++) row.insertCell();
  row.tabIndex = 0;
  return row;
}

function lag(ms) {
  if (ms === null || ms === undefined) return "–";
  if (Math.abs(ms) > 86_400_000) return "recorded";
  return Math.abs(ms) >= 1000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms)} ms`;
}

function age(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return hours ? `${hours} h ${minutes} min` : minutes ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}

/** One small chart a symbol: the busiest ones and the chosen one. */
function multiples() {
  if (state.books.size && state.books.has(state.symbol)) return;
  const busiest = [...state.status.symbols].sort((a, b) => b.rate - a.rate).map((it) => it.symbol);
  if (!busiest.length || !state.symbol) return;
  const wanted = [...new Set([state.symbol, ...state.books.keys(), ...busiest])].slice(0, MULTIPLES);
  for (const [charts, parent, make, path] of [
    [state.books, at("books"), bookChart, (it) => `/api/book?symbol=${encodeURIComponent(it)}&limit=600`],
    [state.counts, at("counts"), countChart, counts],
  ]) {
    for (const [symbol, it] of charts) if (!wanted.includes(symbol)) { it.remove(); charts.delete(symbol); }
    for (const symbol of wanted) {
      if (charts.has(symbol)) continue;
      const it = make(parent, symbol);
      charts.set(symbol, it);
      get(path(symbol)).then((list) => it.show(list)).catch(() => {});
    }
  }
}

function counts(symbol) {
  return `/api/trade-counts?symbol=${encodeURIComponent(symbol)}&span=900000&limit=60`;
}

function books(best) {
  for (const [symbol, it] of state.books) if (best[symbol]) it.update(best[symbol]);
}

function list(id, items, text, empty) {
  const texts = items.length ? items.map(text) : [empty];
  const parent = at(id);
  while (parent.children.length > texts.length) parent.lastChild.remove();
  texts.forEach((line, place) => {
    const item = parent.children[place] ?? parent.appendChild(document.createElement("li"));
    if (item.textContent !== line) item.textContent = line;
    item.className = items.length ? "" : "quiet";
  });
}

function table(id, lines) {
  const body = at(id);
  while (body.rows.length > lines.length) body.deleteRow(-1);
  lines.forEach((cells, place) => {
    const row = body.rows[place] ?? body.insertRow();
    cells.forEach(([text, className], index) => {
      const cell = row.cells[index] ?? row.insertCell();
      if (cell.textContent !== text) cell.textContent = text;
      if (cell.className !== className) cell.className = className;
    });
    while (row.cells.length > cells.length) row.deleteCell(-1);
  });
}

async function stocks() {
  try {
    const [batch, summary] = await Promise.all([get("/api/batch"), get("/api/transacciones/resumen")]);
    at("batch").hidden = !batch;
    if (batch) await prices(batch);
    at("transactions").hidden = !summary.length;
    const of = (it, pick) => Object.entries(it.counts).reduce((total, [kind, states]) =>
      Object.entries(states).reduce((sum, [state, count]) => sum + (pick(kind, state) ? count : 0), total), 0);
    table("transaction-rows", summary.map((it) => {
      const failed = of(it, (_, state) => state === "FALLIDO");
      return [
        [it.accion, ""], [trim(it.precio_unitario), "number"],
        [number(of(it, (kind) => kind === "COMPRA")), "number"], [number(of(it, (kind) => kind === "VENTA")), "number"],
        [number(of(it, (_, state) => state === "EXITOSO")), "number"], [number(failed), failed ? "number down" : "number"],
        [time(it.time).slice(11), "number quiet"],
      ];
    }));
  } catch { /* The banner tells when the node is away. */ }
}

async function prices(batch) {
  const next = batch.next_at ? `next ${time(batch.next_at).slice(0, 16)} UTC` : "";
  const doing = batch.running ? "running" : batch.started_at ? `last run ${time(batch.started_at).slice(0, 16)} UTC` : "not run yet";
  at("batch-state").textContent = [doing, next, `${batch.requests_used} of ${batch.requests_max} requests today`].filter(Boolean).join(" · ");
  const lines = await Promise.all(Object.entries(batch.symbols).map(async ([symbol, outcome]) => {
    const [day] = await get(`/api/finanzas_batch?symbol=${encodeURIComponent(symbol)}&limit=1`);
    if (!day) return [[symbol, ""], [outcome?.error ?? "…", outcome?.error ? "warn" : "quiet"]];
    const price = (text) => [trim(text), "number"];
    return [[symbol, ""], [day.fecha, outcome?.error ? "warn" : ""], price(day.apertura), price(day.maximo), price(day.minimo), price(day.cierre), [number(day.volumen), "number"]];
  }));
  table("batch-rows", lines);
}

const time = (ms) => new Date(ms).toISOString().replace("T", " ").slice(0, 19);

async function slow() {
  try {
    const [alerts, gaps] = await Promise.all([get("/api/alerts?limit=50"), get("/api/gaps?limit=50")]);
    list("alerts", alerts, (it) =>
      `${time(it.time)}  ${it.symbol}  ${it.up ? "▲" : "▼"} ${trim(it.change_percent)} % in ${it.window_ms / 1000} s  (${trim(it.reference_price)} → ${trim(it.price)})`, "No abrupt price change.");
    list("gaps", gaps, (it) =>
      `${it.symbol}  ${it.first_trade_id}–${it.last_trade_id}: ${number(it.missing)} missing  (${it.reason})`, "No gap: nothing is lost.");
    for (const [symbol, it] of state.counts) get(counts(symbol)).then((rows) => it.show(rows)).catch(() => {});
  } catch { /* The banner tells when the node is away. */ }
}

/** Who is there and does what; a node that is alone has no such table. */
async function nodes() {
  try {
    const cluster = await get("/api/cluster");
    at("nodes-section").hidden = cluster.nodes.length < 2;
    table("node-rows", cluster.nodes.map((it) => {
      const odd = it.flapping ? " (comes and goes)" : it.settled || it.state !== "live" ? "" : " (taking over)";
      const owned = it.owns_symbols.slice(0, 12).join(" ") + (it.owns_symbols.length > 12 ? ` … (${number(it.owns_symbols.length)})` : "");
      return [
        [it.node === cluster.node ? `${it.node} (this one)` : it.node, ""],
        [it.state + odd, it.state === "live" && !odd ? "up" : it.state === "dead" ? "down" : "warn"],
        [it.http ?? it.address ?? "–", ""], [number(it.feed_a), "number"], [number(it.feed_b), "number"],
        [it.owns_partitions.join(" ") || "–", ""], [it.rate == null ? "–" : number(it.rate), "number"],
        [it.lag_ms == null ? "–" : `${number(it.lag_ms)} ms`, "number"],
        [it.missing == null ? "–" : number(it.missing + it.lost), it.missing ? "number warn" : "number"],
        [it.complete ?? "–", ""], [owned || "–", ""],
      ];
    }));
  } catch { /* The banner tells when the node is away. */ }
}

function choose(symbol) {
  if (!symbol || symbol === state.symbol) return;
  state.symbol = symbol;
  follow();
  rows();
  multiples();
}

for (const interval of INTERVALS) {
  const button = document.createElement("button");
  button.textContent = interval;
  button.setAttribute("aria-pressed", interval === state.interval);
  button.addEventListener("click", () => {
    state.interval = interval;
    for (const it of at("intervals").children) it.setAttribute("aria-pressed", it.textContent === interval);
    follow();
  });
  at("intervals").append(button);
}
at("rows").addEventListener("click", (event) => choose(event.target.closest("tr")?.dataset.symbol));
at("rows").addEventListener("keydown", (event) => {
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    choose(event.target.closest("tr")?.dataset.symbol);
  }
});
at("filter").addEventListener("input", () => state.status && rows());
for (const button of document.querySelectorAll("[data-sort]")) {
  button.addEventListener("click", () => {
    state.descending = state.sort === button.dataset.sort ? !state.descending : button.dataset.sort !== "symbol";
    state.sort = button.dataset.sort;
    if (state.status) rows();
  });
}
setInterval(() => {
  if (state.seenAt && Date.now() - state.seenAt > 5000) banner("The connection to the node is lost; trying again …");
}, 1000);
setInterval(slow, 10_000);
setInterval(stocks, 3_000);
setInterval(nodes, 2_000);
follow().then(slow).then(stocks).then(nodes);
