// A picture of the notebook with the charts, run in JupyterLab as a person does. Standard input: {"base", "password", "out"}.
import { readFileSync } from 'fs';
import { join } from 'path';
import { login, startServer, withPage } from './jupyter.mjs';

const { base, password, out } = JSON.parse(readFileSync(0, 'utf8'));
const NOTEBOOK = 'notebooks/3-charts-of-the-marts.ipynb';

await withPage(async page => {
  const refused = await login(page, base, 'analyst', password);
  if (refused) throw new Error(refused);
  await startServer(page, base, 'analyst');
  await page.goto(`${base}/user/analyst/lab/tree/${NOTEBOOK}?reset`, { waitUntil: 'domcontentloaded' });
  await page.locator('.jp-Notebook .jp-CodeCell').first().waitFor();
  // The kernel is there once the toolbar says that it idles.
  await page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').first().waitFor();
  await page.locator('.jp-Notebook .jp-CodeCell .cm-content').first().click();
  await page.click('.lm-MenuBar-itemLabel:text-is("Run")');
  await page.click('.lm-Menu-itemLabel:text-is("Run All Cells")');
  // Cells far from what is shown are not in the page: the last one's output is, as Run All ends there.
  await page.locator('.jp-OutputArea-output:has-text("% on average")').first().waitFor({ state: 'attached' });
  await page.locator('h2:has-text("what sells")').first().evaluate(heading => heading.scrollIntoView());
  await page.locator('.jp-OutputArea-output img').first().waitFor();
  await page.screenshot({ path: join(out, 'notebook.png') });
  console.log('notebook.png');
}, { width: 1400, height: 1050 });
