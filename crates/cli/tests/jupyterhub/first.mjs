// What users do with a hub that has just been started, and what they must not be able to do. Reads the case from the
// standard input, writes what was seen to the standard output, as JSON; what it means is the test's business.
import { readFileSync } from 'fs';
import { call, login, run, runNotebook, startServer, withPage } from '../../../../scripts/browser/jupyter.mjs';

const { base, analyst, admin, notebooks, ports, folder, secrets } = JSON.parse(readFileSync(0, 'utf8'));
const seen = {};

// In Python, within the sandbox. The secrets are not in the code as they are: it is found in the kernel's memory.
const reversed = JSON.stringify(secrets.map(secret => [...secret].reverse().join('')));
const looksAround = `
import json, os, socket, subprocess, pathlib
def reach(port):
    try:
        socket.create_connection(("127.0.0.1", port), 2).close()
        return True
    except OSError:
        return False
def readable(path):
    try:
        return open(path, "rb").read()
    except OSError:
        return b""
secrets = [s[::-1].encode() for s in json.loads('${reversed}')]
files = [pathlib.Path(f"/proc/{pid}/{name}") for pid in os.listdir("/proc") if pid.isdigit() for name in ["environ", "cmdline"]]
for root in ["/home", "/run", "/etc", "/tmp", "/var", "/dev/shm", "/opt", "/root", "/work", "${folder}"]:
    # The environment's packages are a lot and everybody's.
    for at, folders, names in os.walk(root):
        folders[:] = [f for f in folders if f != "site-packages"]
        files += [pathlib.Path(at) / n for n in names if not n.startswith("tidemart") or at.startswith("/run")]
def regular(f):
    try:
        return f.is_file() and (f.stat().st_size < 1 << 22)
    except OSError:
        return False
found = [str(f) for f in files if regular(f) and any(s in readable(f) for s in secrets)]
print(json.dumps({
    "homes": os.listdir("/home"), "folder": os.path.exists("${folder}"), "found": found, "looked": len(files),
    "reach": {str(p): reach(p) for p in ${JSON.stringify(ports)}},
    "users": len({os.stat(f"/proc/{p}").st_uid for p in os.listdir("/proc") if p.isdigit()}),
    "lines": [readable(f"/proc/{p}/cmdline").decode().split("\\0")[-2] for p in os.listdir("/proc") if p.isdigit() and readable(f"/proc/{p}/cmdline")],
    "writable": [p for p in ["/usr", "/etc", "/", "/dev", "/run/tidemart", os.path.dirname(os.path.dirname(os.sys.executable))] if os.access(p, os.W_OK)],
    "namespaces": subprocess.run(["unshare", "-U", "true"], capture_output=True).returncode,
}))
`;
const mysql = `
import tidemart, sqlalchemy
def may(statement):
    try:
        with tidemart.engine().begin() as c:
            c.execute(sqlalchemy.text(statement))
        return True
    except Exception as error:
        return str(error.__cause__ or error)[:200]
import json
print(json.dumps({s: may(s) for s in ["SELECT COUNT(*) FROM orders", "DELETE FROM orders", "CREATE TABLE mine (a INT)", "SELECT * FROM mysql.global_priv", "SET GLOBAL max_connections = 1"]}))
`;
// Twice as much as a user may have; and, in the second, by little pieces and in two processes.
const large = 'print("begins")\nlarge = bytearray(2 << 30)';
const together = `
import subprocess, sys, time
print("begins")
other = subprocess.Popen([sys.executable, "-c", "x = b'1' * (300 << 20); import time; time.sleep(120)"])
pieces = []
for _ in range(60):
    pieces.append(b"1" * (16 << 20))
    time.sleep(0.02)
time.sleep(60)
`;

async function ofAdmin(use) {
  await withPage(async page => {
    seen.adminLogin = await login(page, base, 'admin', admin);
    await startServer(page, base, 'admin');
    await use(page);
  });
}

await withPage(async page => {
  seen.stranger = await login(page, base, 'eve', analyst);
  seen.nobody = (await page.goto(`${base}/user/analyst/lab`)).url();
  seen.wrong = await login(page, base, 'analyst', admin);
});
await ofAdmin(async adminPage => {
  await run(adminPage, 'admin', ['open("diary.txt", "w").write("of admin alone")']);
  await withPage(async page => {
    seen.login = await login(page, base, 'analyst', analyst);
    await startServer(page, base, 'analyst');
    seen.cookies = (await page.context().cookies()).map(({ name, httpOnly }) => ({ name, httpOnly }));
    seen.notebooks = {};
    for (const notebook of notebooks) seen.notebooks[notebook] = await runNotebook(page, 'analyst', `notebooks/${notebook}.ipynb`);
    const [around, asked] = await run(page, 'analyst', [looksAround, mysql]);
    seen.around = around;
    seen.mysql = asked;
    seen.others = await call(page, 'GET', '/user/admin/api/contents/diary.txt');
    seen.ofAnalyst = await call(adminPage, 'GET', '/user/analyst/api/contents');
    // The hub's own pages have a cookie of their own against forgery.
    await adminPage.goto(`${base}/hub/admin`);
    await page.goto(`${base}/hub/home`);
    seen.users = await call(adminPage, 'GET', '/hub/api/users');
    seen.usersOfAnalyst = await call(page, 'GET', '/hub/api/users');
    await startServer(page, base, 'analyst');
    await startServer(adminPage, base, 'admin');
    seen.large = await run(page, 'analyst', [large]);
    seen.together = await run(page, 'analyst', [together]);
    seen.afterwards = await run(page, 'analyst', ['print("goes on")']);
    seen.adminGoesOn = await run(adminPage, 'admin', ['print(open("diary.txt").read())']);
    await run(page, 'analyst', [
      'open("mine.txt", "w").write("kept")',
      'import json; n = json.load(open("notebooks/3-charts-of-the-marts.ipynb")); n["cells"] = n["cells"][:1]; json.dump(n, open("notebooks/3-charts-of-the-marts.ipynb", "w"))',
      'import os; os.remove("notebooks/4-watch-the-stream.ipynb")',
    ]);
  });
});
console.log(JSON.stringify(seen));
