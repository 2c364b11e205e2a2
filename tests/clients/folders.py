"""Reads folders with the programs that people use; see tests/clients/folders."""

import argparse
import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import urllib.parse

import servers

servers.CONFIGURATION = servers.CONFIGURATION.replace("[data] }}", "[data], listing: true }}")

# Names that these programs can save as files: of the gateway's own tests more are followed.
NAMES = [
    "plain.png", "a b.png", "a+b.png", "p%41.png", "q?x=1.png", "h#f.png", "é.png", "e\u0301.png", "星🔭.png",
    "<b>.png", "amp&.png", "quote'\".png", "http.txt", "a:b.png", "semi;colon,at@.png", "Norder3/Dir0/Npix1.png",
    "deep/er/x.png", "dot.d/x.png",
]
MANY = 1200
TIME = 120  # seconds for one program


def make(bucket):
    """The tree, and a folder of more than one page."""
    files = {name: f"content of {name}".encode() for name in NAMES}
    files |= {f"many/{number:04}.png": b"x" for number in range(MANY)}
    for name, content in files.items():
        path = bucket / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return files


def run(*command, **options):
    return subprocess.run(command, check=True, timeout=TIME, capture_output=True, **options)


def saved(folder):
    """What a program has saved, without the listings."""
    files = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_file() and not path.name.startswith("index.html"):
            files[name] = path.read_bytes()
    return files


def wget(url, folder):
    # -np: nothing above; --restrict-file-names=nocontrol: names as they are.
    depth = len(urllib.parse.urlsplit(url).path.strip("/").split("/"))
    run("wget", "-q", "-r", "-l", "9", "-np", "-nH", f"--cut-dirs={depth}", "--restrict-file-names=nocontrol",
        "-e", "robots=off", "-P", folder, url)
    return saved(folder)


def rclone(url, folder):
    run("rclone", "copy", "--http-url", url, ":http:", folder, env={**os.environ, "HOME": str(folder.parent)})
    return saved(folder)


def rclone_ls(url, folder):
    listed = run("rclone", "lsf", "-R", "--files-only", "--http-url", url, ":http:",
                 env={**os.environ, "HOME": str(folder.parent)}).stdout.decode()
    return dict.fromkeys(listed.splitlines())


def lftp(url, folder):
    run("lftp", "-e", "set cmd:fail-exit yes; mirror --no-perms . .; exit", url, cwd=folder,
        env={**os.environ, "HOME": str(folder.parent), "LC_ALL": "C.UTF-8"})
    return saved(folder)


def fsspec(url, _folder):
    import fsspec

    files, filesystem = {}, fsspec.filesystem("http")
    for found in filesystem.find(url):
        name = urllib.parse.unquote(found.removeprefix(url))
        files[name] = filesystem.cat(found)
    return files


def available(program):
    if program is not fsspec:
        return shutil.which(program.__name__.split("_")[0])
    with contextlib.suppress(ImportError):
        import aiohttp
        import fsspec as module

        return aiohttp and module
    return None


# What a program cannot do itself: on a server of files, too.
UNABLE = {
    # It decodes the name of the file twice.
    wget: ["p%41.png"],
    # It saves one of two names that differ in the form of Unicode alone.
    # It asks for ./a:b.png, which the gateway refuses as every path with such a segment.
    rclone: ["é.png", "e\u0301.png", "a:b.png"],
    rclone_ls: ["a:b.png"],
}


def judge(program, files, got):
    """What is wrong."""
    wanted = {name: content for name, content in files.items() if name not in UNABLE.get(program, ())}
    wrong = [f"missing: {name}" for name in wanted if name not in got]
    is_able = not UNABLE.get(program)
    wrong += [f"not in the store: {name}" for name in got if name not in files and is_able]
    wrong += [f"other content: {name}" for name in wanted if got.get(name) not in (None, files[name])]
    return wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gateway", required=True)
    parser.add_argument("--store", required=True)
    options = parser.parse_args()
    failed = False
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        files = make(folder / "store" / "data")
        store = servers.Store(stack, options.store, folder / "store")
        gateway = servers.Gateway(stack, options.gateway, folder, store, "32MiB")
        for program in [wget, rclone, rclone_ls, lftp, fsspec]:
            name = program.__name__
            if not available(program):
                print(f"{name}: SKIPPED, it is not installed")
                continue
            into = folder / name
            into.mkdir()
            store.ask("clear")
            try:
                wrong = judge(program, files, program(gateway.url("tree/"), into))
            except subprocess.CalledProcessError as error:
                wrong = [f"{error}: {error.stderr.decode()[-2000:]}"]
            lists = sum("list-type" in (request["query"] or "") for request in store.ask("requests"))
            print(f"{name}: {len(files)} files, {len(wrong)} wrong, {lists} listings at the store")
            for line in wrong[:20]:
                print(f"  {line}")
            failed |= bool(wrong)
        if said := gateway.said():
            print(f"the gateway has warned: {said}")
            failed = True
    sys.exit(failed)


main()
