// Draws the report of one recording.
(() => {
  const SHOWN = 60;
  const calls = data.nodes.calls;
  const all = Float64Array.from(data.nodes.us);
  const perThread = data.threads.map(([, steps, times]) => {
    const weights = new Float64Array(N);
    let node = 0;
    steps.forEach((step, at) => { node += step; weights[node] = times[at]; });
    return weights;
  });

  // The nodes of the slow requests follow those of the session, whose time has theirs in it.
  const requests = new Map();
  let first = N - data.requests.reduce((sum, [, size]) => sum + size, 0);
  const SESSION = { first: 0, end: first };
  for (const [number, size] of data.requests) requests.set(number, { first, end: first += size });

  const state = { route: -1, request: 0, thread: -1, inverted: false, mine: false, sort: "self", down: true, all: false };
  let weights = all, totals = all, around = -1;
  const isShown = (node) => {
    const { first, end } = requests.get(state.request) || SESSION;
    return node >= first && node < end && (state.route < 0 || routeOf[node] === state.route);
  };

  // ---- the tree that is drawn --------------------------------------------------------------------------------
  const isHidden = (node) => state.mine && F[fn[node]].kind === LIBRARY;

  function grow() {
    weights = state.thread < 0 ? all : perThread[state.thread];
    totals = Float64Array.from(weights);
    for (let node = N - 1; node >= 0; node--) if (parent[node] >= 0) totals[parent[node]] += totals[node];
    const made = [flame.branch(-1, null)];
    if (state.inverted) invert(made); else unroll(made);
    return made[0];
  }
  function unroll(made) {
    const root = made[0];
    const places = new Array(N);
    for (let node = 0; node < N; node++) {
      const above = parent[node] < 0 ? root : places[parent[node]];
      if (!above || !isShown(node)) continue;
      const place = isHidden(node) ? above : flame.below(above, fn[node], made);
      places[node] = place;
      place.self += weights[node];
      if (place !== above) { place.calls += calls[node]; if (why.has(node)) place.why = why.get(node); }
    }
    for (let at = made.length - 1; at >= 0; at--) {
      made[at].total += made[at].self;
      if (made[at].above) made[at].above.total += made[at].total;
    }
  }
  function invert(made) {
    const root = made[0];
    for (let node = 0; node < N; node++) {
      const weight = weights[node];
      if (!weight || !isShown(node)) continue;
      root.total += weight;
      let place = root;
      for (let at = node; at >= 0; at = parent[at]) {
        if (isHidden(at)) continue;
        place = flame.below(place, fn[at], made);
        place.total += weight;
        if (place.above === root) place.self += weight;
        if (why.has(node)) place.why = why.get(node);
      }
    }
  }
  const titleOf = (item) => item.fn >= 0 ? F[item.fn].name : state.inverted ? "everything, by own time" : state.request ? "one request" : state.route >= 0 ? "one route" : "all routes";

  // ---- the flame graph ---------------------------------------------------------------------------------------
  const told = (item) => {
    const parts = [time(item.total) + " (" + percent(item.total, flame.root.total) + ")"];
    if (item.fn >= 0 && !(state.inverted && item.above !== flame.root)) parts.push("own " + time(item.self));
    if (data.counted && item.calls && state.thread < 0 && F[item.fn].kind !== ROUTE) parts.push(plural(item.calls, "call"));
    return parts.join(" · ");
  };
  let palette = {};
  const flame = flameGraph({
    titleOf, told, labelOf: titleOf,
    chosen: (label) => showAround(label),
    searched: () => showFunctions(),
    colourOf(item) {
      if (item.fn < 0) return [palette.line, palette.ink];
      const it = F[item.fn];
      if (flame.hits && flame.hits[item.fn]) return [palette.match, "#fff"];
      if (it.kind === ROUTE) return [palette.route, palette["route-ink"]];
      if (it.kind === APP) return [`hsl(${12 + (it.tint % 38)} ${palette.saturation} ${palette.light})`, palette["frame-ink"]];
      return [palette.library, palette.ink];
    },
    tipOf: (item) => [
      el("b", { text: titleOf(item) }), item.fn >= 0 && F[item.fn].full ? el("small", { text: F[item.fn].full }) : null,
      el("span", { text: told(item) }), item.why >= 0 ? el("small", { text: "≈ " + plain(data.reasons[item.why]) }) : null],
  });
  // What the call graph draws: exact where the recording has it, else added up from the paths.
  function contents() {
    if (data.costs && state.route < 0 && !state.mine) {
      return { isCounted: true, functions: new Map(data.costs.functions.map(([label, count, self, total]) => [label, { calls: count, self, total }])),
        edges: data.costs.edges.map(([caller, callee, count, total]) => [caller, callee, { calls: count, total }]) };
    }
    const functions = new Map(), edges = new Map(), made = [flame.branch(-1, null)];
    const add = (map, key, item, isOutermost) => {
      if (!map.has(key)) map.set(key, { calls: 0, self: 0, total: 0 });
      const cost = map.get(key);
      cost.calls += item.calls; cost.self += item.self;
      if (isOutermost) cost.total += item.total;
    };
    unroll(made);
    for (const item of made.slice(1)) {
      const { fn: label, above } = item;
      let seen = false, edgeSeen = false;
      for (let at = above; at.above; at = at.above) if (at.fn === label) { seen = true; edgeSeen = edgeSeen || at.above.fn === above.fn; }
      add(functions, label, item, !seen);
      if (above.above) add(edges, above.fn + " " + label, item, !edgeSeen);
    }
    return { isCounted: data.counted && state.thread < 0, functions, edges: [...edges].map(([key, cost]) => [...key.split(" ").map(Number), cost]) };
  }
  const graph = callGraph({ contents, chosen: (label) => showAround(label) });
  function rebuild(keepsZoom) {
    flame.show(grow(), keepsZoom && !state.inverted);
    graph.show();
    showFunctions();
    if (around >= 0) showAround(around);
  }

  // ---- around one function -----------------------------------------------------------------------------------
  function costsOf(label) {
    const callers = new Map(), callees = new Map(), mine = { calls: 0, self: 0, total: 0 };
    const add = (map, key, count, us) => { const item = map.get(key) || { calls: 0, total: 0 }; item.calls += count; item.total += us; map.set(key, item); };
    if (data.costs && state.route < 0) {
      for (const [item, count, self, total] of data.costs.functions) if (item === label) Object.assign(mine, { calls: count, self, total });
      for (const [a, b, count, total] of data.costs.edges) { if (b === label) add(callers, a, count, total); if (a === label) add(callees, b, count, total); }
      return { callers, callees, mine };
    }
    const seenAbove = (node) => {
      for (let at = parent[node]; at >= 0 && parent[at] >= 0; at = parent[at]) if (fn[at] === fn[node] && fn[parent[at]] === fn[parent[node]]) return true;
      return false;
    };
    for (let node = 0; node < N; node++) {
      if (!isShown(node) || !totals[node]) continue;
      const above = parent[node];
      if (fn[node] === label) {
        mine.calls += calls[node]; mine.self += weights[node];
        if (outermost[node]) mine.total += totals[node];
        if (above >= 0) add(callers, fn[above], calls[node], seenAbove(node) ? 0 : totals[node]);
      }
      if (above >= 0 && fn[above] === label) add(callees, fn[node], calls[node], seenAbove(node) ? 0 : totals[node]);
    }
    return { callers, callees, mine };
  }
  const nameButton = (label) => el("button", { className: "link name", type: "button", text: F[label].name, title: F[label].full, onclick: () => showAround(label) });
  function listOf(map, whole, none) {
    const rows = [...map.entries()].sort((a, b) => b[1].total - a[1].total);
    if (!rows.length) return el("p", { className: "muted", text: none });
    return firstOf(rows, 12, ([label, cost]) => {
      const bar = el("span", { className: "share" });
      bar.style.width = Math.min(100, (100 * cost.total) / (whole || 1)) + "%";
      const counts = cost.calls && (data.costs || (data.counted && state.thread < 0)) && F[label].kind !== ROUTE ? plural(cost.calls, "call") + " · " : "";
      return el("li", {}, el("div", {}, nameButton(label), el("span", { className: "n", text: counts + time(cost.total) })), bar);
    });
  }
  function showAround(label) {
    around = label;
    graph.mark(label);
    const { callers, callees, mine } = costsOf(label);
    const facts = [["total", time(mine.total)], ["own", time(mine.self)]];
    if (mine.calls && F[label].kind !== ROUTE && (data.costs || (data.counted && state.thread < 0))) {
      facts.push(["calls", number(mine.calls)], ["per call", time(mine.total / mine.calls)]);
    }
    $("around-body").replaceChildren(el("div", { className: "around" },
      el("div", {}, el("h3", { text: "Called by" }), listOf(callers, mine.total, F[label].kind === ROUTE ? "a request" : "nothing that was recorded")),
      el("div", { className: "self" }, el("b", { className: "name", text: F[label].name }), el("span", { className: "file", text: F[label].full }),
        el("dl", {}, ...facts.flatMap(([name, value]) => [el("dt", { text: name }), el("dd", { text: value })]))),
      el("div", {}, el("h3", { text: "Calls" }), listOf(callees, mine.total, "nothing that was recorded"))));
  }

  // ---- tables ------------------------------------------------------------------------------------------------
  function functionRows() {
    const rows = new Map();
    const row = (label) => { let item = rows.get(label); if (!item) rows.set(label, item = { label, calls: 0, self: 0, total: 0 }); return item; };
    if (data.costs && state.route < 0) for (const [label, count, self, total] of data.costs.functions) Object.assign(row(label), { calls: count, self, total });
    else for (let node = 0; node < N; node++) {
      if (!isShown(node) || F[fn[node]].kind > LIBRARY || !totals[node]) continue;
      const item = row(fn[node]);
      item.calls += calls[node]; item.self += weights[node];
      if (outermost[node]) item.total += totals[node];
    }
    const compare = state.sort === "name" ? (a, b) => F[b.label].name.localeCompare(F[a.label].name) : (a, b) => b[state.sort] - a[state.sort];
    return [...rows.values()].filter((item) => (!flame.hits || flame.hits[item.label]) && (!state.mine || F[item.label].kind === APP)).sort((a, b) => (state.down ? 1 : -1) * compare(a, b));
  }
  const heading = sortedBy(state, () => showFunctions());
  function showFunctions() {
    const rows = functionRows(), most = rows.reduce((sum, row) => sum + row.self, 0);
    const isCounted = rows.some((row) => row.calls) && (data.costs || state.thread < 0);
    const head = el("tr", {}, heading("Function", "name"), heading("Own", "self", true), heading("Total", "total", true), isCounted ? heading("Calls", "calls", true) : null);
    const [shown, others] = fewOf(rows, SHOWN, state, showFunctions);
    const body = shown.map((row) => {
      const bar = el("span", { className: "share" });
      bar.style.width = (100 * row.self) / (most || 1) + "%";
      return el("tr", {}, el("td", {}, nameButton(row.label), el("span", { className: "file", text: F[row.label].where, title: F[row.label].full }), bar),
        el("td", { className: "n", text: time(row.self) }), el("td", { className: "n", text: time(row.total) }), isCounted ? el("td", { className: "n", text: number(row.calls) }) : null);
    });
    $("functions").replaceChildren(el("thead", {}, head), el("tbody", {}, ...body));
    $("functions-sum").replaceChildren(plural(rows.length, "function"), ...others);
  }
  function hottest(label) {
    const costs = new Map();
    for (let node = 0; node < SESSION.end; node++) if (routeOf[node] === label && F[fn[node]].kind <= LIBRARY) costs.set(fn[node], (costs.get(fn[node]) || 0) + all[node]);
    return [...costs.entries()].filter(([, us]) => us > 0).sort((a, b) => b[1] - a[1]).slice(0, 3);
  }
  // What the selector of routes stands at: a route, all of them (-1), or "#" and the number of a slow request.
  function choose(value) {
    state.request = value.startsWith("#") ? Number(value.slice(1)) : 0;
    state.route = state.request ? -1 : Number(value);
    $("thread").disabled = data.threads.length < 2 || state.request > 0;
    if (state.request) $("thread").value = state.thread = -1;
  }
  function only(value) {
    $("route").value = value;
    choose(value);
    rebuild(!state.request);
    $("flame-card").scrollIntoView({ block: "start" });
    $("route").focus({ preventScroll: true });
  }
  function showRoutes() {
    const titles = ["Route", "Requests", "Errors", "p50", "p95", "Wall", "CPU", "GC"];
    const head = el("tr", {}, ...titles.map((text, place) => el("th", { scope: "col", className: place ? "n" : "", text })), N ? el("th", { scope: "col", text: "Hottest functions (own time)" }) : null);
    const labels = new Map();
    for (let node = 0; node < SESSION.end; node++) if (parent[node] < 0) labels.set(data.functions[fn[node]][2], fn[node]);
    const body = [...data.routes].sort((a, b) => b[5] - a[5]).map(([route, requests, errors, p50, p95, wall, cpu, gc]) => {
      const label = labels.has(route) ? labels.get(route) : -1;
      const total = label < 0 ? 0 : all.slice(0, SESSION.end).reduce((sum, us, node) => sum + (routeOf[node] === label ? us : 0), 0);
      const name = label < 0 ? el("span", { className: "name", text: plain(route) })
        : el("button", { className: "link name", type: "button", text: plain(route), title: "Show this route alone", onclick: () => only(String(label)) });
      const hot = label < 0 ? [] : hottest(label).map(([item, us]) => el("li", {}, nameButton(item), el("small", { text: percent(us, total) })));
      return el("tr", {}, el("td", {}, name), el("td", { className: "n", text: number(requests) }), el("td", { className: errors ? "n bad" : "n", text: number(errors) }),
        ...[p50, p95, wall, cpu, gc].map((seconds) => el("td", { className: "n", text: time(seconds * 1e6) })), N ? el("td", {}, el("ul", { className: "hot" }, ...hot)) : null);
    });
    $("routes").replaceChildren(el("thead", {}, head), el("tbody", {}, ...body));
    $("routes-card").hidden = !data.routes.length;
  }
  function showSection(section, alone) {
    const isNumber = (place) => section.columns[place][1] === "n";
    const shown = (value) => typeof value === "number" ? number(value) : plain(value);
    const cell = (tag, value, place) => el(tag, { className: isNumber(place) ? "n" : "", text: shown(value) });
    const button = (row) => el("td", {}, el("button", { className: "link name", type: "button", text: shown(row[1]), title: "Show this request alone", onclick: () => only("#" + row[0]) }));
    const cells = (row) => row.map((value, place) => place === 1 && alone && alone.has(row[0]) ? button(row) : cell("td", value, place));
    $("sections").append(el("section", { className: "card" },
      el("div", { className: "head" }, el("h2", { text: section.title }), el("p", { className: "muted", text: plain(section.text) })),
      el("div", { className: "scroll" }, el("table", {},
        el("thead", {}, el("tr", {}, ...section.columns.map((column, place) => cell("th", column[0], place)))),
        el("tbody", {}, ...section.rows.map((row) => el("tr", {}, ...cells(row))))))));
  }
  function showFacts() {
    const { session } = data;
    $("session").textContent = session.id;
    const workers = data.workers.length ? plural(data.workers.length, "worker") + " (" + data.workers.slice(0, 6).join(", ") + (data.workers.length > 6 ? ", …" : "") + ")" : "";
    $("facts").textContent = [session.started, workers, "cpu=" + session.cpu, data.missing.length ? plural(data.missing.length, "worker") + " missing" : ""].filter(Boolean).join(" · ");
    const total = (place) => data.routes.reduce((sum, row) => sum + row[place], 0);
    const tiles = [[time(session.duration * 1e6), "session"], [number(total(1)), total(1) === 1 ? "request" : "requests"], [number(total(2)), total(2) === 1 ? "error" : "errors", total(2) ? "bad" : ""],
      [time(total(5) * 1e6), "in requests (wall)"], [time(total(6) * 1e6), "CPU"], [number(data.costs ? data.costs.functions.length : new Set(fn.slice(0, SESSION.end).filter((label) => F[label].kind <= LIBRARY)).size), "functions"]];
    $("tiles").append(...tiles.map(([value, name, kind]) => el("li", { className: kind || "" }, el("b", { text: value }), el("span", { text: name }))));
    $("notes").append(...data.notes.map((note) => el("li", { text: plain(note) })));
    $("environment").append(...Object.entries(data.environment).map(([name, value]) => el("div", {}, el("dt", { text: plain(name) }), el("dd", { text: plain(value) }))));
    $("notes-card").hidden = !data.notes.length && !Object.keys(data.environment).length;
  }

  // ---- wiring ------------------------------------------------------------------------------------------------
  showFacts();
  showRoutes();
  if (data.slow) showSection(data.slow, requests);
  data.sections.concat(data.more || []).forEach((section) => showSection(section));
  if (!N) { for (const id of ["flame-card", "around", "graph-card", "functions-card"]) $(id).hidden = true; followScheme(() => {}); return; }

  followScheme(() => {
    palette = colours(["ink", "line", "frame-ink", "library", "route", "route-ink", "match", "light", "saturation"]);
    flame.recolour();
  });
  const routes = [...new Set(routeOf.slice(0, SESSION.end))].map((label) => [label, F[label].name]);
  options($("route"), "all routes", [...routes, ...[...requests].map(([number, { first }]) => ["#" + number, `request ${number}: ${F[fn[first]].name}`])]);
  options($("thread"), "all threads", data.threads.map(([title], place) => [place, plain(title)]));
  $("thread-label").hidden = data.threads.length < 2;
  $("guess-key").hidden = !why.size;
  $("route").addEventListener("change", (event) => { choose(event.target.value); rebuild(false); });
  $("thread").addEventListener("change", (event) => { state.thread = Number(event.target.value); rebuild(true); });
  chosenBy("view", (value) => { state.inverted = value === "inverted"; rebuild(false); });
  $("mine").addEventListener("change", (event) => { state.mine = event.target.checked; rebuild(false); });
  rebuild(false);
  const hot = functionRows().find((row) => F[row.label].kind === APP) || functionRows()[0];
  if (hot) showAround(hot.label); else $("around").hidden = true;
})();
