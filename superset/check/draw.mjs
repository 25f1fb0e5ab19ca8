// A dashboard in a real Chromium: every chart drawn, no error, no request to another host; a picture if asked for.
//
// SUPERSET_PASSWORD=… node draw.mjs --url http://127.0.0.1:8088 --dashboard fts-market [--height 2600] [--picture FILE.jpg]
import { execFileSync } from "node:child_process";
import { chromium } from "playwright-core";

const argument = (name, otherwise) => {
  const place = process.argv.indexOf(`--${name}`);
  return place < 0 ? otherwise : process.argv[place + 1];
};
const url = argument("url", "http://127.0.0.1:8088");
const dashboard = argument("dashboard", "fts-market");
const picture = argument("picture", null);
const named = process.env.CHROMIUM ?? "chromium";
const PATIENCE_MS = 180_000;
const LOGIN_MS = 30_000;
const LOGINS = 4;
// Chromium breaks off everything under way when any interface of the machine comes or goes; this is begun again then.
const NETWORK_CHANGED = "ERR_NETWORK_CHANGED";
const ATTEMPTS = 5;

const browser = await chromium.launch({
  executablePath: named.includes("/") ? named : execFileSync("which", [named], { encoding: "utf8" }).trim(),
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
// As high as the dashboard: charts out of sight are not drawn.
const context = await browser.newContext({ viewport: { width: 1500, height: Number(argument("height", "3600")) } });
const page = await context.newPage();
const wrong = [];
let rows = 0;
let answers = 0;
await context.route("**/*", (route) => {
  const asked = new URL(route.request().url());
  if (asked.protocol.startsWith("http") && asked.origin !== new URL(url).origin) {
    wrong.push(`a request to ${asked.host}`);
    return route.abort();
  }
  return route.continue();
});
page.on("console", (message) => { if (message.type() === "error") wrong.push(`console: ${message.text()} ${message.location().url}`); });
page.on("pageerror", (error) => wrong.push(`page: ${error.message}`));
page.on("response", async (response) => {
  if (response.status() >= 400) wrong.push(`${response.status()} ${response.url()}`);
  if (response.url().includes("/api/v1/chart/data") && response.ok()) {
    const answer = await response.json().catch(() => null);
    answers += 1;
    rows += (answer?.result ?? []).reduce((sum, it) => sum + (it.rowcount ?? 0), 0);
  }
});

try {
  // The form is there before what listens to it: a click too early is lost.
  for (let attempt = 1; ; attempt += 1) {
    await page.goto(`${url}/login/`, { waitUntil: "networkidle" });
    await page.fill("#username, input[name=username]", argument("user", "admin"));
    await page.fill("#password, input[name=password]", process.env.SUPERSET_PASSWORD);
    const inside = page.waitForURL((it) => !it.pathname.startsWith("/login"), { timeout: LOGIN_MS });
    await page.click("button[type=submit], input[type=submit]");
    if (await inside.then(() => true, () => false)) break;
    if (attempt === LOGINS) throw new Error("can't log in");
  }
  const chart = "[data-test-chart-id]";
  const drawn = () => page.$$eval(chart, (all) => all.map((it) => ({
    title: it.getAttribute("data-test-chart-name") ?? it.textContent.slice(0, 60),
    // Something to look at, or the words that there is nothing; never a spinner.
    done: it.querySelector(".loading, [data-test=loading-indicator]") === null
      && (it.querySelector("canvas, table, svg.ant-empty-img-simple, .ant-empty, img") !== null || /No results|No data/i.test(it.textContent)),
    error: it.querySelector("[role=alert], .ant-alert-error") !== null,
  })));
  const isTorn = () => wrong.some((it) => it.includes(NETWORK_CHANGED));
  // What the page of welcome asks for is Superset's own affair.
  await page.waitForLoadState("networkidle").catch(() => {});
  let charts = [];
  for (let attempt = 1; attempt === 1 || (isTorn() && attempt <= ATTEMPTS); attempt += 1) {
    wrong.length = rows = answers = 0;
    // Without Superset's menu, which asks for a foreign pixel; the policy that the configuration sets forbids it, and says so.
    await page.goto(`${url}/superset/dashboard/${dashboard}/?standalone=1`, { waitUntil: "domcontentloaded" })
      .catch((error) => wrong.push(error.message));
    await page.waitForSelector(chart, { timeout: PATIENCE_MS }).catch((error) => wrong.push(error.message));
    const ends = performance.now() + PATIENCE_MS;
    charts = await drawn();
    while (performance.now() < ends && !isTorn() && !(charts.every((it) => it.done) && answers >= charts.length)) {
      await new Promise((resolve) => setTimeout(resolve, 250));
      charts = await drawn();
    }
  }
  if (charts.length === 0) wrong.push("no charts");
  for (const it of charts) {
    if (it.error) wrong.push(`${it.title}: an error in its place`);
    else if (!it.done) wrong.push(`${it.title}: not drawn`);
  }
  if (answers < charts.length) wrong.push(`${answers} answers for ${charts.length} charts`);
  if (picture) {
    // Nothing is lit up by the mouse; lines grow into their place.
    await page.mouse.move(0, 0);
    await page.waitForTimeout(2_000);
    const bottoms = await page.$$eval(chart, (all) => all.map((it) => it.getBoundingClientRect().bottom));
    const bottom = Math.min(Math.max(...bottoms) + 32, page.viewportSize().height);
    await page.screenshot({ path: picture, ...(picture.endsWith(".png") ? {} : { quality: 50 }), clip: { x: 0, y: 0, width: 1500, height: Math.ceil(bottom) } });
  }
  for (const it of wrong) console.log(`FAILED ${dashboard}: ${it}`);
  if (wrong.length === 0) console.log(`ok ${dashboard}: ${charts.length} charts, ${rows} rows`);
} catch (error) {
  wrong.push(error.message);
  console.log(`FAILED ${dashboard}: ${error.message}`);
} finally {
  await browser.close();
}
process.exitCode = wrong.length === 0 ? 0 : 1;
