// The status page: asks for GET /status every two seconds and shows the answer. It uses textContent alone, so
// that no text of a configuration or of a store becomes markup.
"use strict";

(() => {
  const EVERY_MS = 2000;
  const TIMEOUT_MS = 5000;
  const SVG = "http://www.w3.org/2000/svg";
  const byId = (id) => document.getElementById(id);
  let paused = false;
  let timer = 0;

  const make = (name, text, className) => {
    const element = document.createElement(name);
    if (text !== undefined) element.textContent = text;
    if (className) element.className = className;
    return element;
  };

  const number = (value) => {
    if (value === null || value === undefined) return "–";
    const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
    return String(Number(value.toFixed(digits)));
  };
  const percent = (value) => (value === null ? "–" : `${number(value * 100)} %`);
  const milliseconds = (value) => {
    if (value === null) return "–";
    return value >= 1000 ? `${number(value / 1000)} s` : `${number(value)} ms`;
  };
  const bytes = (value) => {
    if (value === null) return "–";
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = 0;
    while (value >= 1024 && unit < units.length - 1) { value /= 1024; unit += 1; }
    return `${number(value)} ${units[unit]}`;
  };
  const duration = (seconds) => {
    seconds = Math.max(0, Math.round(seconds));
    const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
    for (const [size, unit] of units) {
      if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
    }
    return "0 s";
  };
  const ago = (time, now) => (time ? `${duration((Date.parse(now) - Date.parse(time)) / 1000)} ago` : "never");

  // A path through the points that have a value; `null` interrupts it.
  const path = (values, highest, limit, area) => {
    const x = (index) => (300 * (limit - values.length + index)) / Math.max(1, limit - 1);
    const y = (value) => 58 - (54 * value) / highest;
    let text = "";
    let begun = null;
    const end = (index) => {
      if (area && begun !== null) text += `L${x(index).toFixed(1)} 59L${x(begun).toFixed(1)} 59Z`;
      begun = null;
    };
    values.forEach((value, index) => {
      if (value === null) { end(index - 1); return; }
      const place = `${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
      if (begun === null) { text += `M${place}h.1`; begun = index; } else { text += `L${place}`; }
    });
    end(values.length - 1);
    return text;
  };

  // A process that has just started is shown on two minutes, not squeezed into a corner.
  const span = (history) => Math.max(60, history.connections.length);
  const minutes = (history) => String(Math.max(1, Math.round((span(history) * history.interval_seconds) / 60)));

  const chart = (card, history, lists) => {
    const known = lists.flatMap((list) => history[list].filter((value) => value !== null));
    const highest = known.length ? Math.max(...known) : 0;
    const scale = card.scale || highest || 1;
    card.svg.replaceChildren();
    lists.forEach((list, nth) => {
      const kinds = nth === 0 ? ["area", "line"] : ["second"];
      for (const kind of kinds) {
        const line = document.createElementNS(SVG, "path");
        line.setAttribute("class", kind);
        line.setAttribute("d", path(history[list], scale, span(history), kind === "area"));
        card.svg.append(line);
      }
    });
    card.svg.setAttribute("aria-label",
      `${card.title}, last ${minutes(history)} minutes: now ${card.value.textContent}, highest ${card.show(highest)}`);
  };

  // The cards: title, value and remark of a status, and the lists of its chart.
  const CARDS = [
    { title: "Requests per second", show: number, lists: ["requests_per_second"],
      of: (s) => [number(s.requests.per_second), `${s.requests.in_flight} in flight, ${s.requests.total} in all`] },
    { title: "Hit rate", show: percent, lists: ["hit_rate"], scale: 1,
      of: (s) => [percent(s.requests.hit_rate), "requests for objects answered from the cache"] },
    { title: "Time to first byte", show: milliseconds, lists: ["p99_milliseconds", "p50_milliseconds"],
      of: (s) => [`p50 ${milliseconds(s.requests.p50_milliseconds)}, p99 ${milliseconds(s.requests.p99_milliseconds)}`,
        "line: p99, dashed: p50"] },
    { title: "Failures per second", show: number, lists: ["failures_per_second"], fault: true,
      of: (s) => [number(s.requests.failures_per_second), "by stores, access keys or the gateway"] },
    { title: "Sent to clients", show: (value) => `${bytes(value)}/s`, lists: ["bytes_per_second"],
      of: (s) => [`${bytes(s.requests.bytes_per_second)}/s`, "bodies of objects"] },
    { title: "Requests to stores in flight", show: number, lists: ["store_requests_in_flight"],
      of: (s) => [String(s.stores.in_flight), `${number(s.stores.requests_per_second)} per second`] },
    { title: "Connections", show: number, lists: ["connections"],
      of: (s) => [String(s.connections.open), `of ${s.connections.limit}`] },
    { title: "Memory of the cache", show: bytes, lists: ["memory_bytes"],
      of: (s) => fill(s, (tier) => tier !== "disk") },
    { title: "Disk of the cache", show: bytes, lists: ["disk_bytes"],
      of: (s) => fill(s, (tier) => tier === "disk") },
  ];

  const fill = (status, fits) => {
    const tiers = status.cache ? status.cache.tiers.filter((tier) => fits(tier.tier)) : [];
    if (tiers.length === 0) return ["off", ""];
    const sum = (of) => tiers.reduce((total, tier) => total + of(tier), 0);
    const held = sum((tier) => tier.bytes);
    const limit = sum((tier) => tier.limit);
    const down = fits("disk") && status.cache.disk_up === false ? ", out of service" : "";
    return [bytes(held), `${percent(limit ? held / limit : 0)} of ${bytes(limit)}, ` +
      `${sum((tier) => tier.entries)} entries${down}`];
  };

  for (const card of CARDS) {
    const box = make("div", undefined, "card");
    card.box = box;
    card.value = make("p", "–");
    card.remark = make("small");
    card.svg = document.createElementNS(SVG, "svg");
    card.svg.setAttribute("viewBox", "0 0 300 60");
    card.svg.setAttribute("preserveAspectRatio", "none");
    card.svg.setAttribute("role", "img");
    card.svg.setAttribute("aria-label", card.title);
    box.append(make("h3", card.title), card.value, card.remark, card.svg);
    byId("cards").append(box);
  }

  const profileState = (profile) => {
    if (profile.credentials.startsWith("missing")) return ["no access key", "bad"];
    if (profile.renewal_error) return ["credentials not renewed", "bad"];
    const failed = profile.last_error ? Date.parse(profile.last_error.at) : 0;
    const succeeded = profile.last_success ? Date.parse(profile.last_success) : 0;
    if (failed > succeeded) return ["failing", "bad"];
    if (profile.endpoints.some((it) => it.breaker === "open")) return ["endpoint left out", "bad"];
    return succeeded ? ["ok", "ok"] : ["not used yet", ""];
  };

  const endpointsOf = (profile) => profile.endpoints.length === 0 ? profile.endpoint
    : profile.endpoints.map((it) => it.endpoint + (it.fault ? ` (${it.fault})` : "")).join(", ");

  const rows = (id, items, columns, nothing) => {
    const body = byId(id);
    const lines = items.map((item) => {
      const row = make("tr");
      columns(item).forEach(([text, className], nth) => {
        const cell = make(nth === 0 ? "th" : "td", text, className);
        if (nth === 0) cell.scope = "row";
        row.append(cell);
      });
      return row;
    });
    if (lines.length === 0) {
      const cell = make("td", nothing);
      cell.colSpan = 7;
      const row = make("tr");
      row.append(cell);
      lines.push(row);
    }
    body.replaceChildren(...lines);
  };

  // A live region speaks on every change, so it only changes with its meaning.
  const say = (text) => {
    if (byId("news").textContent !== text) byId("news").textContent = text;
  };
  const setState = (state, text) => {
    byId("state").dataset.state = state;
    byId("state").textContent = text;
  };

  const show = (status) => {
    byId("version").textContent = status.version;
    byId("uptime").textContent = `up ${duration(status.uptime_seconds)}`;
    setState(status.state, status.state);
    byId("now-title").textContent = `The last ${minutes(status.history)} minutes`;
    for (const card of CARDS) {
      const [value, remark] = card.of(status);
      card.value.textContent = value;
      card.remark.textContent = remark;
      card.box.classList.toggle("fault", Boolean(card.fault && status.requests.failures_per_second > 0));
      chart(card, status.history, card.lists);
    }
    rows("profiles", status.profiles, (profile) => {
      const error = profile.last_error;
      const code = error && error.code ? ` (${error.code})` : "";
      return [[profile.profile], profileState(profile), [endpointsOf(profile)],
        [(profile.key_id ? `${profile.key_id}, ` : "") + profile.credentials +
          (profile.expires ? `, until ${profile.expires}` : "")],
        [ago(profile.last_success, status.now)],
        [error ? `${error.cause}${code}, ${ago(error.at, status.now)}` : "none"],
        [`${profile.in_flight} of ${profile.in_flight_limit}`, "number"]];
    }, "no profile");
    rows("errors", status.errors, (error) => [[error.cause],
      error.failure ? ["failure", error.last_minute > 0 ? "bad" : ""] : ["refusal"],
      [String(error.last_minute), "number"], [String(error.total), "number"]],
    "none since the start");
    const { reloads } = status;
    byId("reloads").textContent = `${reloads.succeeded} reloads succeeded, the last ` +
      `${ago(reloads.last_success, status.now)}; ${reloads.failed} failed, the last ` +
      `${ago(reloads.last_failure, status.now)}.`;
    const news = status.profiles.filter((profile) => profileState(profile)[0] === "failing")
      .map((profile) => `Profile ${profile.profile} fails: ${profile.last_error.cause}.`);
    for (const profile of status.profiles) {
      for (const it of profile.endpoints.filter((endpoint) => endpoint.breaker === "open")) {
        news.push(`Profile ${profile.profile}: endpoint ${it.endpoint} is left out: ${it.fault}.`);
      }
    }
    if (reloads.failing) news.push("The files of the configuration are invalid: the previous one stays in force.");
    if (status.cache && status.cache.disk_up === false) news.push("The disk of the cache is out of service.");
    if (status.cache && status.cache.shared_up === false) news.push("The cache that replicas share is out of service.");
    if (status.state === "ending") news.push("The process is about to end.");
    say(news.join(" "));
  };

  const ask = async () => {
    try {
      const answer = await fetch("status", { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      show(await answer.json());
    } catch (error) {
      setState("lost", "no answer");
      say("The gateway does not answer. The numbers are those of its last answer.");
    }
    if (!paused) timer = setTimeout(ask, EVERY_MS);
  };

  byId("pause").addEventListener("click", () => {
    paused = !paused;
    byId("pause").setAttribute("aria-pressed", String(paused));
    clearTimeout(timer);
    if (!paused) ask();
  });
  ask();
})();
