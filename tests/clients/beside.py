"""Runs programs through the gateway, cold and warm, and beside it through nginx, which serves the same
files, and judges what reached the store."""

import contextlib
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading

import page
import program_files
import programs
import servers

HERE = pathlib.Path(__file__).resolve().parent
PATIENCE = 120  # seconds for one read
# The file is overwritten when its reader has this much of it, and the rest is on its way or not sent.
BEGUN = 2**20


class Runner:
    """Runs one program after the other, each in a folder of its own, without this one's environment."""

    def __init__(self, folder, packages):
        self.folder, self.packages = folder, packages.resolve()
        binaries = pathlib.Path(sys.executable).parent
        self.environment = {
            "PATH": f"{binaries}:{os.environ['PATH']}",
            "HOME": str(folder),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        for script in HERE.glob("*.mjs"):
            # node looks for packages beside the script.
            shutil.copy(script, self.packages)
        link_extensions(folder)

    def command(self, script, url):
        if script.endswith(".py"):
            return [sys.executable, HERE / "client.py", script.removesuffix(".py"), url, "{}"]
        if script.endswith(".mjs"):
            return ["node", "--no-warnings", self.packages / script, url]
        return ["bash", "-euo", "pipefail", HERE / script, url]

    def run(self, script, url, meanwhile=None):
        """The digest of the data, or None; and the last line of the error, if there is one. `meanwhile`
        is called when a part of the data is there."""
        pipe = subprocess.PIPE
        with tempfile.TemporaryDirectory(dir=self.folder) as own, tempfile.TemporaryFile() as errors:
            child = subprocess.Popen(
                self.command(script, url),
                env=self.environment, cwd=own, stdin=subprocess.DEVNULL, stdout=pipe, stderr=errors,
            )
            timer = threading.Timer(PATIENCE, child.kill)
            timer.start()
            try:
                data = child.stdout.read(BEGUN)
                if meanwhile:
                    meanwhile()
                data += child.stdout.read()
                status = child.wait()
            finally:
                timer.cancel()
                servers.end(child)
                child.stdout.close()
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip()
        if status:
            lines = said.splitlines() or [f"status {status}"]
            # node's last line is its version.
            return None, next((line for line in lines if "Error" in line), lines[-1])
        if script.endswith(".py"):
            return data.decode().strip(), ""
        return hashlib.sha256(data).hexdigest(), ""


def link_extensions(home):
    """DuckDB looks in the home for its extension for HTTP, which is a package here."""
    import duckdb_ext

    (home / ".duckdb").mkdir()
    (home / ".duckdb" / "extensions").symlink_to(pathlib.Path(list(duckdb_ext.__path__)[0], "extensions"))


class Versions:
    """A file that is overwritten, in the folder that nginx serves and at the store."""

    def __init__(self, store, path):
        self.store, self.path = store, path
        new = path.with_suffix(".new")
        self.old, self.new = (
            (program_files.sha256(content), content)
            for content in (program_files.whole(new, version) for version in (1, 2))
        )
        new.unlink()
        self.put(self.old)

    def put(self, version):
        # Another file of the same name, so that the old one stays whole for those who read it.
        new = self.path.with_suffix(".new")
        new.write_bytes(version[1])
        new.replace(self.path)
        self.store.ask(f"put {self.path.parent.name}/{self.path.name}")

    def overwrite(self):
        self.put(self.new)


def judge(program, result):
    """The limits that were exceeded."""
    cold, warm, nginx = (result[name] for name in ("cold", "warm", "nginx"))
    if not nginx["bytes"]:
        yield "nginx: nothing was sent, so nothing was counted"
    if cold["bytes"] > program.ratio * nginx["bytes"]:
        yield f"cold: {page.ratio(result):.2f} times nginx's bytes; at most {program.ratio} are right"
    if cold["heads"] + cold["gets"] > program.requests:
        yield f"cold: {page.cost(cold)}; at most {program.requests} requests are right"
    if not cold["gets"] or not cold["bytes"]:
        yield "cold: nothing reached the store, so nothing was counted"
    if warm["heads"] + warm["gets"] > program.warm:
        yield f"warm: {page.cost(warm)}; at most {program.warm} requests are right"
    if warm["bytes"] > (program.ratio * nginx["bytes"] if program.warm else 0):
        yield f"warm: {page.cost(warm)}; at most {program.ratio} times nginx's bytes are right"


def counts(requests):
    """The cost of a read for the store."""
    methods = [request["method"] for request in requests]
    return {
        "heads": methods.count("HEAD"),
        "gets": len(methods) - methods.count("HEAD"),
        "bytes": sum(request["bytes"] for request in requests),
        "requests": requests,
    }


def measure(options, folder, store, bucket, wanted, digests):
    """The results of these programs."""
    runner = Runner(folder, options.packages)
    versions = Versions(store, bucket / "changed.bin")
    results = []
    for program in wanted:
        result = measure_one(program, options, folder, store, bucket, runner, versions, digests)
        if not options.measure:
            result["problems"] += judge(program, result)
        results.append(result)
        print(page.program_line(program, result), flush=True)
        for problem in result["problems"]:
            print(f"  WRONG: {problem}", flush=True)
    return results


def measure_one(program, options, folder, store, bucket, runner, versions, digests):
    result, problems = {"case": program.client}, []

    def read(name, server, overwritten=program.overwritten):
        meanwhile, right = None, [digests[program.script]]
        if overwritten:
            versions.put(versions.old)
            meanwhile, right = versions.overwrite, [versions.old[0]]
        elif program.overwritten:
            # The old version may be cached and fresh.
            right = [versions.old[0], versions.new[0]]
        found, problem = runner.run(program.script, server.url(program.key), meanwhile)
        if found not in right:
            problems.append(f"{name}: {problem or 'wrong data'}")

    with contextlib.ExitStack() as own:
        nginx = servers.Nginx(own, folder, bucket)
        read("nginx", nginx)
        result["nginx"] = counts(nginx.take())
    # Each has a gateway of its own, so that its first read is a cold one.
    with contextlib.ExitStack() as own:
        gateway = servers.Gateway(own, options.gateway, folder, store, max_object="16MiB")
        for name, overwritten in ("cold", program.overwritten), ("warm", False):
            read(name, gateway, overwritten)
            result[name] = counts(store.take()) | {"cache": gateway.counters()}
        if said := gateway.said():
            problems.append(f"the gateway warns: {said}")
    return result | {"size": page.size(bucket / program.key), "problems": problems}
