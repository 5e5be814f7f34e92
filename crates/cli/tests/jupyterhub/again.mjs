// After a new start: the files are there, what the user changed is as the user left it, what is missing is brought;
// and there is no cluster this time.
import { readFileSync } from 'fs';
import { login, run, runNotebook, startServer, withPage } from '../../../../scripts/browser/jupyter.mjs';

const { base, analyst } = JSON.parse(readFileSync(0, 'utf8'));
await withPage(async page => {
  const refused = await login(page, base, 'analyst', analyst);
  await startServer(page, base, 'analyst');
  const [files] = await run(page, 'analyst', [`
import json, os
print(json.dumps({
    "mine": open("mine.txt").read(), "notebooks": sorted(n for n in os.listdir("notebooks") if n.endswith(".ipynb")),
    "cells": len(json.load(open("notebooks/3-charts-of-the-marts.ipynb"))["cells"]),
}))`]);
  const cluster = await runNotebook(page, 'analyst', 'notebooks/1-explore-the-replica.ipynb');
  console.log(JSON.stringify({ refused, files, cluster }));
});
