// dashboards.mjs FILE…: Grafana's dashboards against the types of the Grafana that docker-compose.yml starts,
// panels that lie over one another, data sources that are not provisioned, and every expression through promtool.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import Ajv from 'ajv';
import { createGenerator } from 'ts-json-schema-generator';

const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.join(here, '..', '..');
const read = (file) => fs.readFileSync(path.join(root, file), 'utf8');

// The schema of a dashboard and the image that shows it go together.
const types = JSON.parse(fs.readFileSync(path.join(here, 'node_modules/@grafana/schema/package.json'))).version;
const image = read('docker-compose.yml').match(/grafana\/grafana:(\S+)/)?.[1];
if (types !== image) throw new Error(`the types are Grafana ${types}'s, the image is ${image}: make them one`);

const schema = createGenerator({
  path: path.join(here, 'node_modules/@grafana/schema/dist/types/raw/dashboard/x/types.gen.d.ts'),
  type: 'Dashboard',
  skipTypeCheck: true,
}).createSchema('Dashboard');
const isDashboard = new Ajv({ allErrors: true, strict: false, allowUnionTypes: true }).compile(schema);
const sources = new Set([...read('grafana/provisioning/datasources/datasources.yml').matchAll(/uid: ([\w-]+)/g)].map((it) => it[1]));

let failed = false;
const uids = new Set();
for (const file of process.argv.slice(2)) {
  const dashboard = JSON.parse(fs.readFileSync(file, 'utf8'));
  const faults = judge(dashboard);
  if (uids.has(dashboard.uid)) faults.push(`another dashboard has the uid ${dashboard.uid}`);
  uids.add(dashboard.uid);
  failed ||= faults.length > 0;
  console.log([`${faults.length ? 'FAILED' : 'ok'} ${path.basename(file)}`, ...faults.slice(0, 8)].join('\n  '));
}
process.exit(failed ? 1 : 0);

function judge(dashboard) {
  const faults = [];
  if (!isDashboard(dashboard)) {
    for (const it of isDashboard.errors) faults.push(`${it.instancePath} ${it.message} ${JSON.stringify(it.params)}`);
  }
  const panels = (dashboard.panels ?? []).flatMap((it) => [it, ...(it.panels ?? [])]);
  const ids = new Set();
  panels.forEach((panel, index) => {
    if (ids.has(panel.id)) faults.push(`two panels have the id ${panel.id}`);
    ids.add(panel.id);
    const { x, y, w, h } = panel.gridPos;
    if (x + w > 24) faults.push(`panel ${panel.title} is wider than the page`);
    for (const other of panels.slice(index + 1)) {
      const o = other.gridPos;
      if (x < o.x + o.w && o.x < x + w && y < o.y + o.h && o.y < y + h) faults.push(`${panel.title} lies over ${other.title}`);
    }
    for (const { uid } of [panel.datasource, ...(panel.targets ?? []).map((it) => it.datasource)].filter(Boolean)) {
      if (!sources.has(uid)) faults.push(`panel ${panel.title} asks ${uid}, which is not provisioned`);
    }
    if (panel.type !== 'row' && !panel.targets?.length) faults.push(`panel ${panel.title} asks nothing`);
  });
  const variables = new Set((dashboard.templating?.list ?? []).map((it) => it.name));
  for (const [, name] of JSON.stringify(panels).matchAll(/\$\{?([a-z]\w*)/g)) {
    if (!variables.has(name)) faults.push(`there is no variable ${name}`);
  }
  const rules = panels.flatMap((panel) => (panel.targets ?? []).filter((it) => it.expr).map((it) => ({ record: `panel:${panel.id}:${it.refId}`, expr: plain(it.expr) })));
  if (rules.length) faults.push(...promtool(rules));
  return faults;
}

/** The expression with something in place of every variable. */
function plain(expression) {
  return expression.replace(/\$__(rate_interval|interval|range)\b/g, '5m').replace(/\$\{?\w+\}?/g, '.*');
}

function promtool(rules) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dashboards-'));
  try {
    const file = path.join(folder, 'rules.yml');
    fs.writeFileSync(file, JSON.stringify({ groups: [{ name: 'dashboard', rules }] }));
    execFileSync(process.env.PROMTOOL ?? 'promtool', ['check', 'rules', file], { stdio: 'pipe' });
    return [];
  } catch (error) {
    return [`promtool: ${(error.stderr ?? error.message).toString().trim()}`];
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}
