"""The results of the cache's load run, as a table and as charts."""

import statistics

import chart

HITS_OF = "hit"
NAMES = {
    "static": "nginx, files",
    "varnish": "Varnish",
    "nginx": "nginx proxy_cache",
    "s3proxy": "s3proxy",
}
# A hit's CPU as a multiple of nginx's, by KiB.
CPU_TARGETS = {4: 0.6, 20: 0.7, 100: 0.95, 420: 0.8, 1000: 0.85}
# The same of answers without a body.
BARE_TARGETS = {"404": 0.8, "304": 0.8}
LOG_TARGET = 1.10


def medians(rounds):
    """Per case, object and peer the median of the rounds, and the ratio to nginx in each round."""
    rows = []
    for case, size in dict.fromkeys((run["case"], run["size"]) for run in rounds[0]):
        runs = [
            {run["peer"]: run for run in each if (run["case"], run["size"]) == (case, size)}
            for each in rounds
        ]
        found = {}
        for name in sorted(runs[0], key=order):
            of_peer = [each[name] for each in runs]
            numbers = [what for what, value in of_peer[0].items() if isinstance(value, float)]
            found[name] = {what: statistics.median(r[what] for r in of_peer) for what in numbers}
            found[name]["cpu_us_range"] = [f(r["cpu_us"] for r in of_peer) for f in (min, max)]
            against = "nginx-no-log" if name == "s3proxy-no-log" else "nginx"
            for what in ("cpu_us", "p99_ms"):
                # Of each round, so that other load of the machine affects both.
                ratios = [each[name][what] / (each[against][what] or 1) for each in runs]
                found[name][f"{what}_ratio"] = statistics.median(ratios)
        if "s3proxy-no-log" in found:
            found["s3proxy"]["log_ratio"] = statistics.median(
                each["s3proxy"]["cpu_us"] / each["s3proxy-no-log"]["cpu_us"] for each in runs
            )
        rows.append({"case": case, "kib": size // 1024, "peers": found})
    return rows


def order(name):
    names = ["static", "varnish", "nginx", "s3proxy", "nginx-no-log", "s3proxy-no-log"]
    return names.index(name)


def case_table(rows):
    lines = [
        f"{'case':<13}{'KiB':>5} {'peer':<15}{'req/s':>7} {'p50 ms':>7} {'p99 ms':>7}"
        f" {'CPU µs':>8} {'min to max':>17} {'user':>7} {'system':>7} {'MiB':>6} {'S3/req':>7} {'S3 KiB/req':>10}"
        "  CPU, p99 of nginx's"
    ]
    for row in rows:
        for nth, (name, run) in enumerate(row["peers"].items()):
            spread = "{:.1f} to {:.1f}".format(*run["cpu_us_range"])
            case = row["case"] if nth == 0 else ""
            size = str(row["kib"] or "") if nth == 0 else ""
            ratio = "" if name.startswith("nginx") else (
                f"  {run['cpu_us_ratio']:.2f}x {run['p99_ms_ratio']:.2f}x"
            )
            lines.append(
                f"{case:<13}{size:>5} {name:<15}{run['requests_per_second']:>7.0f}"
                f" {run['p50_ms']:>7.2f} {run['p99_ms']:>7.2f} {run['cpu_us']:>8.1f} {spread:>17}"
                f" {run['cpu_user_us']:>7.1f} {run['cpu_system_us']:>7.1f}"
                f" {run['memory_mib']:>6.0f} {run['store_requests']:>7.3f}"
                f" {run['store_bytes'] / 1024:>10.2f}{ratio}"
            )
    return "\n".join(lines)


def traffic_table(traffic):
    lines = [
        f"{'viewers':<15}{'asked':>7} {'distinct':>8} {'MiB':>6} {'S3 requests':>12} {'of asked':>9} {'S3 MiB':>7}"
        f" {'of MiB':>7} {'tile p50':>9} {'p99 ms':>7} {'404 p50':>8} {'p99 ms':>7}"
        f" {'burst p50':>10} {'p99 ms':>7} {'CPU µs':>7} {'MiB':>5} {'files':>6}"
    ]
    for name, state in [(name, state) for state in ("cold", "warm") for name in traffic]:
        run = traffic[name][state]
        lines.append(
            f"{state + ' ' + name:<15}{run['asked']:>7} {run['distinct']:>8} {run['asked_mib']:>6.0f} {run['store_requests']:>12}"
            f" {run['store_requests'] / run['asked']:>9.1%} {run['store_mib']:>7.0f}"
            f" {run['store_mib'] / run['asked_mib']:>7.1%} {run['objects_p50_ms']:>9.2f}"
            f" {run['objects_p99_ms']:>7.1f} {run['missing_p50_ms']:>8.2f}"
            f" {run['missing_p99_ms']:>7.1f} {run['bursts_p50_ms']:>10.1f}"
            f" {run['bursts_p99_ms']:>7.1f} {run['cpu_us']:>7.0f} {run['memory_mib']:>5.0f}"
            f" {run['files_mib']:>6.0f}"
        )
    lines += [
        "",
        f"{'crowd':<9}{'clients':>7} {'tiles':>6} {'S3 requests':>12} {'S3 MiB':>17} "
        f"{'all done s':>11} {'tile p50 ms':>12} {'p99 ms':>7}",
    ]
    for name, run in traffic.items():
        for each in (run["one_tile"], run["crowd"]):
            lines.append(
                f"{name:<9}{each['asked'] // each['tiles']:>7} {each['tiles']:>6}"
                f" {each['store_requests']:>12} {each['store_mib']:>17.1f} {each['seconds']:>11.2f}"
                f" {each['p50_ms']:>12.1f} {each['p99_ms']:>7.1f}"
            )
    return "\n".join(lines)


def targets(rows, traffic):
    """One line per target: its name, the measured value, whether it is met."""
    found = []
    for row in rows:
        gateway, size = row["peers"].get("s3proxy"), row["kib"]
        if gateway and row["case"] in BARE_TARGETS:
            cpu, most = gateway["cpu_us_ratio"], BARE_TARGETS[row["case"]]
            word = "met" if cpu <= most else "MISSED"
            found.append((f"CPU per {row['case']}, of nginx's", f"{cpu:.2f}x", f"{most:.2f}x", word))
        if row["case"] != HITS_OF or not gateway:
            continue
        hit = gateway["store_requests"] < 0.01
        cpu, p99, log = (gateway[what] for what in ("cpu_us_ratio", "p99_ms_ratio", "log_ratio"))
        for what, value, most in (
            (f"CPU per hit, {size} KiB, of nginx's", cpu, CPU_TARGETS.get(size, 1.0)),
            (f"p99 of a hit, {size} KiB, of nginx's", p99, 1.0),
            (f"a logged hit, {size} KiB, of an unlogged one", log, LOG_TARGET),
        ):
            met = value <= most
            word = ("met" if met else "MISSED") if hit else "no hits: nothing is kept"
            found.append((what, f"{value:.2f}x", f"{most:.2f}x", word))
    if traffic:
        for what, tiles in (("one_tile", 1), ("crowd", 20)):
            each = traffic["s3proxy"][what]
            asked = each["store_requests"]
            word = "met" if asked <= tiles else "MISSED"
            clients = each["asked"] // tiles
            found.append((f"S3 requests, {clients} clients, {tiles} cold", str(asked), str(tiles), word))
    lines = [f"{'target':<44}{'found':>8} {'at most':>8}"]
    return "\n".join([*lines, *(f"{a:<44}{b:>8} {c:>8}  {d}" for a, b, c, d in found)])


def against_nginx(rows, what, peers, label):
    """Bars relative to nginx's in the same round, labelled with the number itself."""
    return {
        name: [
            (row["peers"][name][f"{what}_ratio"], label.format(row["peers"][name][what]))
            if name in row["peers"]
            else None
            for row in rows
        ]
        for name in peers
    }


def charts(rows, traffic, where):
    """SVG by file name."""
    about = f"{where['cpu']}, median of rounds: {where['rounds']}"
    hits = [row for row in rows if row["case"] == HITS_OF]
    sizes = [f"{row['kib']} KiB" for row in hits]
    out = {}
    out["cache-hit-cpu.svg"] = chart.bars(
        "CPU per hit, as a multiple of nginx's",
        f"Numbers: µs of CPU per request. All log as JSON. {about}",
        "multiple of nginx's",
        sizes,
        against_nginx(hits, "cpu_us", NAMES, "{:.0f}"),
        NAMES,
        [CPU_TARGETS.get(row["kib"]) for row in hits],
        "target",
    )
    out["cache-hit-p99.svg"] = chart.bars(
        "p99 of a hit, as a multiple of nginx's",
        f"Numbers: ms, {where['connections']} connections without a pause. {about}",
        "multiple of nginx's",
        sizes,
        against_nginx(hits, "p99_ms", NAMES, "{:.3g}"),
        NAMES,
        [1.0 for _ in hits],
        "target",
    )
    small = [row for row in rows if row["kib"] in (0, 20)]
    out["cache-cases-cpu.svg"] = chart.bars(
        "CPU per request by kind of answer, 20 KiB, as a multiple of nginx's",
        f"Numbers: µs of CPU per request. All log as JSON. {about}",
        "multiple of nginx's",
        [row["case"] for row in small],
        against_nginx(small, "cpu_us", NAMES, "{:.0f}"),
        NAMES,
    )
    if traffic:
        peers = {name: NAMES[name] for name in traffic}
        runs = traffic.items()
        first = next(iter(traffic.values()))
        asked, mib = first["warm"]["asked"], first["warm"]["asked_mib"]
        out["cache-traffic.svg"] = chart.bars(
            "What of the viewers' traffic reaches the store",
            f"{where['viewers']} viewers, {asked:,} requests, {mib:,.0f} MiB; "
            f"cache of {where['traffic_cache_mib']} MiB, warm. Fewer are better",
            "% of what viewers asked for",
            ["S3 requests", "bytes from S3"],
            {
                name: [
                    (100 * run["store_requests"] / asked, f"{run['store_requests']:,}"),
                    (100 * run["store_mib"] / mib, f"{run['store_mib']:,.0f} MiB"),
                ]
                for name, run in ((name, run["warm"]) for name, run in runs)
            },
            # The memory that a peer needs for it, including memory beyond its limit.
            {
                name: f"{peers[name]}: {run['warm']['memory_mib'] + run['warm']['files_mib']:,.0f} MiB held"
                for name, run in runs
            },
        )
        clients = first["one_tile"]["asked"]
        out["cache-crowd.svg"] = chart.bars(
            f"{clients} clients ask at once for the same cold tiles of 410 KiB",
            f"Numbers: requests that reach the store, which takes {where['store_latency']} for each",
            "seconds until all have them",
            ["one tile", "20 tiles"],
            {
                name: [
                    (each["seconds"], f"S3 requests: {each['store_requests']:,}")
                    for each in (run["one_tile"], run["crowd"])
                ]
                for name, run in runs
            },
            peers,
        )
    return out
