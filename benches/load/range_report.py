"""The results of the load run of ranges, as a table and as charts."""

import chart
import report

NAMES = {"nginx": "nginx slice", "s3proxy": "s3proxy"}
WARM, WHOLE, SLOW = "warm", "cold whole", "slow readers"


def named(size):
    """Bytes with a unit, for readers."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB")):
        if size >= unit:
            return f"{size / unit:g} {name}"
    return f"{size / 1024:g} KiB"


def size_of(row):
    return named(row["kib"] * 1024)


def case_table(rows):
    lines = [
        f"{'case':<16}{'size':>8} {'peer':<8}{'req/s':>7} {'p50 ms':>8} {'p99 ms':>8} {'CPU µs':>10}"
        f" {'min to max':>22} {'user':>10} {'system':>10} {'GB/s/core':>9} {'peak MiB':>8} {'MiB read':>8}"
        f" {'S3 req':>7} {'S3 MiB':>7}  CPU, p99 of nginx's"
    ]
    for row in rows:
        for nth, (name, run) in enumerate(row["peers"].items()):
            case, size = (row["case"], size_of(row)) if nth == 0 else ("", "")
            spread = "{:.1f} to {:.1f}".format(*run["cpu_us_range"])
            ratio = "" if name == "nginx" else (
                f"  {run['cpu_us_ratio']:.2f}x {run['p99_ms_ratio']:.2f}x"
            )
            lines.append(
                f"{case:<16}{size:>8} {name:<8}{run['requests_per_second']:>7.0f}"
                f" {run['p50_ms']:>8.2f} {run['p99_ms']:>8.2f} {run['cpu_us']:>10.1f} {spread:>22}"
                f" {run['cpu_user_us']:>10.1f} {run['cpu_system_us']:>10.1f}"
                f" {run['gb_per_core']:>9.2f} {run['peak_mib']:>8.0f} {run['received_mib']:>8.0f}"
                f" {run['store_asked']:>7.0f} {run['store_mib']:>7.0f}{ratio}"
            )
    return "\n".join(lines)


def growths(rounds):
    """By peer how many MiB more it took at its peak for the largest object than for the next one,
    in the worst round."""
    worst = {}
    for each in rounds:
        peaks = {}
        for run in each:
            if run["case"] == WHOLE:
                peaks.setdefault(run["peer"], []).append((run["size"], run["peak_mib"]))
        for name, found in peaks.items():
            *_, (_, before), (_, largest) = sorted(found)
            worst[name] = max(worst.get(name, largest - before), largest - before)
    return worst


def failures(rounds, where):
    """The errors that invalidate the whole run, one line each."""
    lines = []
    for number, each in enumerate(rounds, 1):
        for run in each:
            if run["case"].startswith(WARM) and run["store_asked"]:
                lines.append(
                    f"round {number}, {run['case']}, {run['peer']}: {run['store_asked']:.0f} requests"
                    " reached the store, although everything had been read before"
                )
    # nginx's does grow: it keeps some KiB of every slice until the answer ends.
    growth = growths(rounds)["s3proxy"]
    if growth > where["growth_limit_mib"]:
        lines.append(f"s3proxy took {growth:.0f} MiB more for the largest object than for the next")
    return lines


def targets(rows, rounds, where):
    """One line per target: its name, the measured value, whether it is met."""
    found = []

    def add(what, value, most, ratio=False, kept=True):
        met = "met" if value <= most else "MISSED"
        shown = (f"{number:.2f}x" if ratio else f"{number:.0f}" for number in (value, most))
        found.append((what, *shown, met if kept else "nothing is kept"))

    for row in rows:
        gateway = row["peers"].get("s3proxy")
        if row["case"].startswith(WARM):
            cpu, p99 = gateway["cpu_us_ratio"], gateway["p99_ms_ratio"]
            label, kept = f"{row['case']}, {size_of(row)}", not gateway["store_asked"]
            add(f"CPU of {label}, of nginx's", cpu, 1, True, kept)
            if "random" in row["case"]:
                add(f"p99 of {label}, of nginx's", p99, 1, True, kept)
        if row["case"] == SLOW:
            most = where["memory_mib"] + where["growth_limit_mib"]
            add(f"peak MiB, {where['readers']} slow readers", gateway["peak_mib"], most)
    growth = growths(rounds)["s3proxy"]
    add("growth in MiB from the second largest object", growth, where["growth_limit_mib"])
    lines = [f"{'target':<48}{'found':>8} {'at most':>8}"]
    lines += [f"{a:<48}{b:>8} {c:>8}  {d}" for a, b, c, d in found]
    return "\n".join(lines)


def of_case(rows, what, label):
    """Bars of a number itself, rather than of its ratio to nginx's."""
    return {
        name: [
            (row["peers"][name][what], label.format(row["peers"][name][what])) for row in rows
        ]
        for name in NAMES
    }


def charts(rows, where):
    """SVG by file name."""
    about = f"{where['cpu']}, median of rounds: {where['rounds']}"
    parts = [row for row in rows if "random" in row["case"]]
    rest = [row for row in rows if "random" not in row["case"] and row["case"] != SLOW]
    peaks = [row for row in rows if row["case"] in (WHOLE, SLOW)]
    names = [
        SLOW if row["case"] == SLOW else f"{row['case']}, {size_of(row)}" for row in [*rest, *peaks]
    ]
    return {
        "ranges-random-cpu.svg": chart.bars(
            "CPU per 64 KiB at random, as a multiple of nginx's",
            f"Numbers: µs of CPU per request; by connections. All log as JSON. {about}",
            "multiple of nginx's",
            [row["case"] for row in parts],
            report.against_nginx(parts, "cpu_us", NAMES, "{:.0f}"),
            NAMES,
            [1.0 if row["case"].startswith(WARM) else None for row in parts],
            "target",
        ),
        "ranges-throughput.svg": chart.bars(
            "One reader of big objects: GB per second of CPU",
            f"More is better. All log as JSON. {about}",
            "GB/s per core",
            names[: len(rest)],
            of_case(rest, "gb_per_core", "{:.2f}"),
            NAMES,
        ),
        "ranges-memory.svg": chart.bars(
            f"Peak memory with a cache of {where['memory_mib']} MiB",
            f"nginx keeps its files beside it, in a file system. {about}",
            "MiB",
            names[len(rest) :],
            of_case(peaks, "peak_mib", "{:.0f}"),
            NAMES,
        ),
    }
