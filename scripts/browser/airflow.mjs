// Pictures of Airflow's page. Standard input: {"base", "password", "out", "run"?}; the newest run of the marts' DAG that ended
// well where none is named.
import { readFileSync } from 'fs';
import { join } from 'path';
import { withPage } from './jupyter.mjs';

const { base, password, out, run } = JSON.parse(readFileSync(0, 'utf8'));
const DAG = 'tidemart_marts';

async function login(page) {
  await page.goto(base, { waitUntil: 'domcontentloaded' });
  await page.fill('input[name="username"]', 'admin');
  await page.fill('input[name="password"]', password);
  await page.click('button[type="submit"]');
  await page.waitForURL(url => !url.pathname.includes('login'));
}

/** Only what has stopped changing is worth a picture. */
async function picture(page, path, name, seen) {
  await page.goto(`${base}${path}`, { waitUntil: 'domcontentloaded' });
  await page.locator(seen).first().waitFor();
  await page.waitForLoadState('networkidle').catch(() => {});
  await page.screenshot({ path: join(out, name) });
  console.log(name);
}

await withPage(async page => {
  await login(page);
  const newest = async () => {
    const query = 'state=success&order_by=-start_date&limit=1';
    const answer = await page.evaluate(async path => (await fetch(path)).json(), `/api/v2/dags/${DAG}/dagRuns?${query}`);
    if (!answer.dag_runs.length) throw new Error(`no run of ${DAG} has ended well yet: wait for one, or trigger it`);
    return answer.dag_runs[0].dag_run_id;
  };
  const id = encodeURIComponent(run ?? await newest());
  await picture(page, `/dags/${DAG}/runs/${id}`, 'airflow-run.png', 'text=data_tests');
  await picture(page, `/dags/${DAG}/runs/${id}/tasks/user_sales`, 'airflow-log.png', 'text=user_sales');
}, { width: 1400, height: 850 });
