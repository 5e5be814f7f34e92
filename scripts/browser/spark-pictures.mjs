// A picture of the Spark master's page. Standard input: {"base", "out"}.
import { readFileSync } from 'fs';
import { join } from 'path';
import { withPage } from './jupyter.mjs';

const { base, out } = JSON.parse(readFileSync(0, 'utf8'));

await withPage(async page => {
  await page.goto(base, { waitUntil: 'networkidle' });
  await page.locator('text=Running Applications').first().waitFor();
  await page.screenshot({ path: join(out, 'spark-master.png') });
  console.log('spark-master.png');
}, { width: 1400, height: 700 });
