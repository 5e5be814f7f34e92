// A user of JupyterHub in headless Chromium: logs in by the form, starts the server, runs code by way of the page.
import { createRequire } from 'module';
import { mkdtempSync, rmSync } from 'fs';
import { tmpdir } from 'os';
import { join } from 'path';

// Where `npm ci` put node_modules.
const { chromium } = createRequire(join(process.env.TIDEMART_BROWSER, 'x.js'))('playwright-core');
const CHROMIUM = process.env.TIDEMART_CHROMIUM ?? '/usr/bin/chromium';
const ARGUMENTS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage',
];

/** Runs `use` with a page of a browser that knows nothing from earlier. */
export async function withPage(use, viewport = { width: 1400, height: 900 }) {
  const folder = mkdtempSync(join(tmpdir(), 'tidemart-browser-'));
  const browser = await chromium.launchPersistentContext(folder, {
    executablePath: CHROMIUM, headless: true, viewport, args: ARGUMENTS,
  });
  try {
    const page = browser.pages()[0] ?? await browser.newPage();
    page.setDefaultTimeout(120_000);
    return await use(page);
  } finally {
    await browser.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Fills in the login form. Returns the form's complaint, or null where it let us in. */
export async function login(page, base, user, password) {
  await page.goto(`${base}/hub/login`, { waitUntil: 'domcontentloaded' });
  await page.fill('input[name="username"]', user);
  await page.fill('input[name="password"]', password);
  await page.click('#login_submit');
  await page.waitForLoadState('domcontentloaded');
  const complaint = page.locator('.login_error');
  if (await complaint.count() > 0) return (await complaint.first().innerText()).trim();
  return page.url().includes('/hub/login') ? `refused: ${await page.innerText('body')}` : null;
}

/** Waits for the user's own server, which the login starts. */
export async function startServer(page, base, user) {
  await page.goto(`${base}/hub/spawn/${user}`, { waitUntil: 'domcontentloaded' });
  await page.waitForURL(url => url.pathname.startsWith(`/user/${user}/lab`));
}

/** A call of a Jupyter API from within the page, as JupyterLab does it. */
export function call(page, method, path, body) {
  return page.evaluate(async ({ method, path, body }) => {
    const xsrf = document.cookie.match(/_xsrf=([^;]*)/)?.[1] ?? '';
    const response = await fetch(path, {
      method, body: body === undefined ? undefined : JSON.stringify(body),
      headers: { 'X-XSRFToken': xsrf, 'Content-Type': 'application/json' },
    });
    const text = await response.text();
    let json = null;
    try { json = JSON.parse(text); } catch { /* not all answers are JSON */ }
    return { status: response.status, json, text: json ? '' : text.slice(0, 500) };
  }, { method, path, body });
}

/** Runs pieces of code one after the other in a new kernel. Returns the outputs of each; stops after an error. */
export async function run(page, user, cells, folder = '', limitMs = 180_000) {
  const root = `/user/${user}`;
  const { json: kernel, status, text } = await call(page, 'POST', `${root}/api/kernels`, { name: 'python3', path: folder });
  if (status !== 201) throw new Error(`no kernel: ${status} ${text}`);
  const outputs = await page.evaluate(async ({ root, id, cells, limitMs }) => {
    const socket = new WebSocket(`${location.origin.replace('http', 'ws')}${root}/api/kernels/${id}/channels`);
    await new Promise((done, failed) => { socket.onopen = done; socket.onerror = failed; });
    const execute = code => new Promise((done, failed) => {
      const id = crypto.randomUUID(), outputs = [];
      const timer = setTimeout(() => failed(new Error(`no end after ${limitMs} ms: ${code.slice(0, 200)}`)), limitMs);
      const end = () => { clearTimeout(timer); done(outputs); };
      socket.onmessage = ({ data }) => {
        const { parent_header: parent, msg_type: type, content } = JSON.parse(data);
        if (type === 'status' && ['restarting', 'dead'].includes(content.execution_state)) {
          outputs.push({ kind: 'dead', text: content.execution_state });
          return end();
        }
        if (parent.msg_id !== id) return;
        if (type === 'stream') outputs.push({ kind: content.name, text: content.text });
        if (type === 'error') outputs.push({ kind: 'error', text: `${content.ename}: ${content.evalue}` });
        if (type === 'display_data' || type === 'execute_result') {
          outputs.push({ kind: Object.keys(content.data).join(' '), text: content.data['text/plain'] ?? '' });
        }
        if (type === 'status' && content.execution_state === 'idle') end();
      };
      socket.send(JSON.stringify({
        header: { msg_id: id, username: '', session: id, msg_type: 'execute_request', version: '5.4', date: new Date().toISOString() },
        parent_header: {}, metadata: {}, channel: 'shell',
        content: { code, silent: false, store_history: true, user_expressions: {}, allow_stdin: false, stop_on_error: true },
      }));
    });
    const all = [];
    for (const code of cells) {
      all.push(await execute(code));
      if (all.at(-1).some(output => ['error', 'dead'].includes(output.kind))) break;
    }
    socket.close();
    return all;
  }, { root, id: kernel.id, cells, limitMs });
  await call(page, 'DELETE', `${root}/api/kernels/${kernel.id}`);
  return outputs;
}

/** Runs a notebook of the user's home as it stands there. */
export async function runNotebook(page, user, path) {
  const { json, status } = await call(page, 'GET', `/user/${user}/api/contents/${path}`);
  if (status !== 200) throw new Error(`${path}: ${status}`);
  const cells = json.content.cells.filter(cell => cell.cell_type === 'code').map(cell => cell.source);
  return run(page, user, cells, path.split('/').slice(0, -1).join('/'));
}
