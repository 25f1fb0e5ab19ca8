// The page of `fts-node demo` in a real Chromium: what a person would look for, by a machine.
//
// node check.mjs [--url URL] [--screenshot FILE]; without --url it starts `$FTS_NODE_BIN demo`.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const argument = (name) => {
  const place = process.argv.indexOf(name);
  return place < 0 ? null : process.argv[place + 1];
};
const folder = mkdtempSync(join(tmpdir(), "fts-page-"));
let node = null;
let failures = 0;

async function address() {
  const given = argument("--url");
  if (given) return given;
  node = spawn(process.env.FTS_NODE_BIN, ["demo", "--data-dir", join(folder, "data"), "--http", "127.0.0.1:0"], {
    cwd: folder, stdio: ["ignore", "pipe", "ignore"],
  });
  return new Promise((resolve, reject) => {
    let text = "";
    node.stdout.on("data", (chunk) => {
      text += chunk;
      const found = /listening on (http:\S+)/.exec(text);
      if (found) resolve(found[1]);
    });
    node.on("exit", (code) => reject(new Error(`the demo ended with ${code}`)));
  });
}

async function check(name, what) {
  try {
    await what();
    console.log(`ok ${name}`);
  } catch (error) {
    failures += 1;
    console.log(`FAILED ${name}: ${error.message}`);
  }
}

const expect = (holds, otherwise) => { if (!holds) throw new Error(otherwise); };

const url = await address();
const browser = await chromium.launch({
  executablePath: await executable(),
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

async function executable() {
  const { execFileSync } = await import("node:child_process");
  const named = process.env.CHROMIUM ?? "chromium";
  return named.includes("/") ? named : execFileSync("which", [named], { encoding: "utf8" }).trim();
}

try {
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 }, colorScheme: "dark" });
  const errors = [];
  const foreign = [];
  page.on("console", (message) => {
    // Another interface of the machine came or went: the page connects again.
    const passes = message.text().includes("ERR_NETWORK_CHANGED");
    if (message.type() === "error" && !passes) errors.push(message.text());
  });
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== new URL(url).origin) foreign.push(request.url());
  });
  await page.goto(url);
  const count = (selector) => page.locator(selector).first().evaluate((it) => Number(it.dataset.count ?? 0));
  const until = (what, holds, ...values) => page.waitForFunction(holds, values, { timeout: 180_000 })
    .catch(() => { throw new Error(`${what} did not happen within 180 s`); });

  await check("both charts of the system that it replaces have their titles", async () => {
    const titles = await page.locator("h2").allTextContents();
    for (const title of ["Evolución de Máximas Ofertas de Compra y Venta por Símbolo", "Número total de operaciones"]) {
      expect(titles.includes(title), `no "${title}" among ${titles}`);
    }
  });
  await check("every symbol has a row", async () => {
    await until("rows", () => document.querySelectorAll("#rows tr").length > 0);
    const status = await (await page.request.get(new URL("/api/status", url).href)).json();
    expect(await page.locator("#rows tr").count() === status.symbols.length, "rows and symbols differ");
  });
  await check("candles are drawn", async () => {
    await until("candles", () => Number(document.querySelector("#candles").dataset.count) > 3);
    const inked = await page.locator("#candles canvas").first().evaluate((canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      let inked = 0;
      for (let at = 3; at < data.length; at += 4) inked += data[at] > 0;
      return inked;
    });
    expect(inked > 500, `only ${inked} pixels are drawn`);
  });
  await check("bids, asks and trade counts are drawn", async () => {
    await until("small charts", () => [...document.querySelectorAll(".plot")].length >= 4
      && [...document.querySelectorAll(".plot")].every((it) => Number(it.dataset.count) > 0));
  });
  await check("what is live moves", async () => {
    const before = await page.locator("#legend").textContent();
    const trades = await page.locator("#total-trades").textContent();
    await until("movement", ([legend, trades]) =>
      document.querySelector("#legend").textContent !== legend
      && document.querySelector("#total-trades").textContent !== trades, before, trades);
  });
  await check("another interval and another symbol can be chosen", async () => {
    await page.locator("#intervals button", { hasText: "1s" }).click();
    await until("candles of a second", () => Number(document.querySelector("#candles").dataset.count) > 20);
    const other = await page.locator("#rows tr[aria-selected=false]").first();
    const symbol = await other.getAttribute("data-symbol");
    await other.click();
    await until("the choice", ([symbol]) => document.querySelector("#chosen").textContent === symbol
      && Number(document.querySelector("#candles").dataset.count) > 3, symbol);
    await page.locator("#intervals button", { hasText: "1m" }).click();
    expect(await count("#candles") >= 0, "no count");
  });
  await check("daily prices and transactions are there", async () => {
    await until("prices of each stock and some transaction", () =>
      document.querySelectorAll("#batch-rows tr").length === 5
      && document.querySelectorAll("#transaction-rows tr").length > 0
      && [...document.querySelectorAll("#batch-rows tr")].every((row) => /^20\d\d-/.test(row.cells[1].textContent)));
  });
  await check("the filter filters", async () => {
    await page.locator("#filter").fill("btc");
    await until("one row", () => document.querySelectorAll("#rows tr").length === 1);
    await page.locator("#filter").fill("");
  });
  await check("a chart that is gone hears of no other colours", async () => {
    await page.evaluate(async () => {
      const { bookChart, countChart } = await import("/charts.js");
      for (const make of [bookChart, countChart]) {
        const chart = make(document.body, "gone");
        chart.remove();
      }
    });
    const before = errors.length;
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      await page.evaluate(() => new Promise((seen) => requestAnimationFrame(() => requestAnimationFrame(seen))));
    }
    const more = errors.splice(before);
    expect(more.length === 0, more.join("; "));
  });
  for (const [width, height] of [[1280, 800], [390, 844]]) {
    await check(`nothing overflows at ${width} × ${height}`, async () => {
      await page.setViewportSize({ width, height });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      expect(wide <= 0, `${wide} pixels too wide`);
    });
  }
  if (argument("--screenshot")) {
    await page.setViewportSize({ width: 1440, height: 1180 });
    await page.locator("#rows tr").first().click();
    await until("candles", () => Number(document.querySelector("#candles").dataset.count) > 3);
    await page.waitForTimeout(4000);
    await page.screenshot({ path: argument("--screenshot") });
    if (argument("--phone")) {
      await page.setViewportSize({ width: 390, height: 844 });
      await page.emulateMedia({ colorScheme: "light" });
      await page.waitForTimeout(1500);
      await page.screenshot({ path: argument("--phone") });
    }
  }
  await check("no error and no request to another host", async () => {
    expect(errors.length === 0, errors.join("; "));
    expect(foreign.length === 0, foreign.join("; "));
  });
} finally {
  await browser.close();
  if (node) {
    const ended = new Promise((resolve) => node.on("exit", resolve));
    node.kill("SIGTERM");
    await ended;
  }
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = failures ? 1 : 0;
