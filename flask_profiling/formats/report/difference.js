// Draws what changed between two recordings: BASE is index 0, NEW is index 1, wherever a pair of numbers stands.
(() => {
  const BASE = 0, NEW = 1, SHOWN = 30, FIRST_CHANGES = 10;
  // What is called less than this often per request happens once in a while; times repeat only roughly.
  const LEAST_CALLS = 0.5, LEAST_SHARE = 0.005, SAME_CALLS = 1.02, SAME_TIME = 1.5;
  const STEPS = ["÷4 · gone", "÷2", "÷1.5", "less", "same", "more", "×1.5", "×2", "×4 · new"];
  const SAME = 4;

  const us = [data.nodes.us0, data.nodes.us], calls = [data.nodes.calls0, data.nodes.calls];
  const requests = new Map();  // label of a route -> its requests in both
  for (const [route, before, , , after] of data.routes) requests.set(plain(route), [before, after]);
  const requestsOf = (label) => requests.get(F[label].name) || [0, 0];
  const state = { route: -1, colour: data.counted ? "calls" : "time", side: NEW, scaled: true, mine: false, sort: data.counted ? "calls" : "self", down: true, all: false, allChanges: false };
  let around = -1;
  const inRoute = (node) => state.route < 0 || routeOf[node] === state.route;

  // What a value of BASE counts for: as many requests as NEW had of that route, or what there was.
  function factor(route) {
    const [before, after] = requestsOf(route);
    return state.scaled && before && after ? after / before : 1;
  }
  const sum = (pair, more, scale) => { pair[BASE] += more[BASE] * scale; pair[NEW] += more[NEW]; };

  // ---- numbers that changed ----------------------------------------------------------------------------------
  const amount = (value) => Math.abs(value - Math.round(value)) < 0.005 ? number(Math.round(value)) : value.toFixed(value < 10 ? 2 : 1);
  function times(before, after) {
    if (!before && !after) return "";
    if (!before) return "new";
    if (!after) return "gone";
    const ratio = after / before;
    return Math.abs(ratio - 1) < 0.005 ? "" : ratio > 1 ? "×" + ratio.toFixed(ratio < 10 ? 2 : 0) : "÷" + (1 / ratio).toFixed(ratio > 0.1 ? 2 : 0);
  }
  // How much more or less, in steps from -4 to 4; what the numbers cannot tell is 0.
  function step(before, after, kind, least) {
    if (Math.abs(after - before) < least || (!before && !after)) return 0;
    if (!before) return 4;
    if (!after) return -4;
    const ratio = Math.max(after / before, before / after);
    if (ratio < (kind === "calls" ? SAME_CALLS : SAME_TIME)) return 0;
    return (after > before ? 1 : -1) * (ratio < 1.5 ? 1 : ratio < 2 ? 2 : ratio < 4 ? 3 : 4);
  }
  function routeAbove(item) {
    let at = item;
    while (at.above && at.above.above) at = at.above;
    return at.fn;
  }
  function stepOf(item) {
    if (item.fn < 0) return 0;
    if (state.colour === "time" || F[item.fn].kind === ROUTE) return step(...item.both, "time", LEAST_SHARE * Math.max(...flame.root.both));
    return step(...item.pair, "calls", LEAST_CALLS * (requestsOf(routeAbove(item))[NEW] || 1));
  }

  // ---- the tree that is drawn --------------------------------------------------------------------------------
  const isHidden = (node) => state.mine && F[fn[node]].kind === LIBRARY;
  function made(item) { return Object.assign(item, { mine: [0, 0], both: [0, 0], pair: [0, 0], edges: null }); }
  function grow() {
    const items = [made(flame.branch(-1, null))], root = items[0], places = new Array(N);
    for (let node = 0; node < N; node++) {
      const above = parent[node] < 0 ? root : places[parent[node]];
      if (!above || !inRoute(node)) continue;
      const place = isHidden(node) ? above : flame.below(above, fn[node], items);
      if (!place.mine) made(place);
      places[node] = place;
      const scale = factor(routeOf[node]);
      sum(place.mine, [us[BASE][node], us[NEW][node]], scale);
      if (place === above) continue;
      if (isFirst(place, node)) sum(place.pair, [calls[BASE][node], calls[NEW][node]], scale);
      if (why.has(node)) place.why = why.get(node);
    }
    for (let at = items.length - 1; at >= 0; at--) {
      const item = items[at];
      sum(item.both, item.mine, 1);
      item.total = item.both[state.side];
      item.self = item.mine[state.side];
      if (item.above) sum(item.above.both, item.both, 1);
    }
    return root;
  }
  // Of call graphs the calls of an edge stand at every path through it: they count once.
  function isFirst(place, node) {
    if (data.isTree) return true;
    const edge = parent[node] < 0 ? -1 : fn[parent[node]];
    place.edges = place.edges || new Set();
    if (place.edges.has(edge)) return false;
    place.edges.add(edge);
    return true;
  }

  // ---- the flame graph ---------------------------------------------------------------------------------------
  const titleOf = (item) => item.fn >= 0 ? F[item.fn].name : state.route >= 0 ? "one route" : "all routes";
  const arrow = (pair, show) => show(pair[BASE]) + " → " + show(pair[NEW]);
  function perRequest(pair, route) {
    const after = requestsOf(route)[NEW];
    return state.scaled && after ? [pair.map((value) => value / after), " per request"] : [pair, ""];
  }
  function facts(item) {
    const lines = [];
    const [spent, each] = perRequest(item.both, item.fn < 0 ? -1 : routeAbove(item));
    if (data.counted && item.fn >= 0 && F[item.fn].kind !== ROUTE && (item.pair[BASE] || item.pair[NEW])) {
      const [counts, more] = perRequest(item.pair, routeAbove(item));
      lines.push(arrow(counts, amount) + " calls" + more + " " + times(...counts) + (data.isTree ? "" : " (by this caller)"));
    }
    lines.push(arrow(spent, time) + each + " " + times(...spent));
    const [mine] = perRequest(item.mine, item.fn < 0 ? -1 : routeAbove(item));
    if (item.fn >= 0) lines.push("own " + arrow(mine, time));
    return lines;
  }
  const told = (item) => facts(item).join(" · ");
  let palette = {};
  const flame = flameGraph({
    titleOf, told,
    labelOf(item) {
      if (item.fn < 0) return titleOf(item);
      const changed = stepOf(item);
      const pair = state.colour === "time" || F[item.fn].kind === ROUTE ? item.both : item.pair;
      return (changed ? times(...pair) + "  " : "") + titleOf(item);
    },
    chosen: (label) => showAround(label),
    searched: () => showFunctions(),
    colourOf(item) {
      if (item.fn < 0) return [palette.line, palette.ink];
      if (flame.hits && flame.hits[item.fn]) return [palette.match, "#fff"];
      const changed = stepOf(item);
      return [palette["step-" + changed], Math.abs(changed) > 2 ? palette["step-ink"] : palette.ink];
    },
    tipOf: (item) => [
      el("b", { text: titleOf(item) }), item.fn >= 0 && F[item.fn].full ? el("small", { text: F[item.fn].full }) : null,
      ...facts(item).map((line) => el("div", { text: line })), item.why >= 0 ? el("small", { text: "≈ " + plain(data.reasons[item.why]) }) : null],
  });
  function rebuild(keepsZoom) {
    flame.show(grow(), keepsZoom);
    showLegend();
    showFunctions();
    showOnly();
    if (around >= 0) showAround(around);
  }
  function showLegend() {
    $("legend").replaceChildren(...STEPS.map((text, place) => el("li", {}, el("span", { className: "step step" + place }), text)));
    const side = state.side === NEW ? "the new session" : "the base";
    const colour = state.colour === "calls"
      ? "Colour: calls of this function on this path, which are counted exactly" + (data.isTree ? "" : " by caller") + "; routes by their time."
      : "Colour: time with everything called. Times are loose: what is less than half more or less has no colour.";
    const scaled = state.scaled ? " The base is scaled to the requests of the new session, route by route." : " In all, however many requests there were.";
    $("colour-text").textContent = colour + " Width: time in " + side + "." + scaled;
  }

  // ---- around one function -----------------------------------------------------------------------------------
  const cost = () => ({ calls: [0, 0], self: [0, 0], total: [0, 0] });
  function add(item, node, scale, withCalls, withTotal) {
    if (withCalls) sum(item.calls, [calls[BASE][node], calls[NEW][node]], scale);
    sum(item.self, [us[BASE][node], us[NEW][node]], scale);
    if (withTotal) sum(item.total, [totals[BASE][node], totals[NEW][node]], scale);
  }
  const totals = us.map((column) => {
    const sums = Float64Array.from(column);
    for (let node = N - 1; node >= 0; node--) if (parent[node] >= 0) sums[parent[node]] += sums[node];
    return sums;
  });
  function neighbours(label) {
    const callers = new Map(), callees = new Map(), seen = new Set();
    const of = (map, key) => { if (!map.has(key)) map.set(key, cost()); return map.get(key); };
    for (let node = 0; node < N; node++) {
      const above = parent[node] < 0 ? -1 : fn[parent[node]];
      if (above < 0 || !inRoute(node) || (fn[node] !== label && above !== label)) continue;
      const edge = routeOf[node] + "," + above + "," + fn[node], isNew = data.isTree || !seen.has(edge);
      seen.add(edge);
      if (fn[node] === label) add(of(callers, above), node, factor(routeOf[node]), isNew, outermost[node]);
      if (above === label) add(of(callees, fn[node]), node, factor(routeOf[node]), isNew, outermost[node]);
    }
    return [callers, callees];
  }
  const nameButton = (label) => el("button", { className: "link name", type: "button", text: F[label].name, title: F[label].full, onclick: () => showAround(label) });
  const change = (pair) => el("span", { className: "change " + (pair[NEW] > pair[BASE] ? "up" : "down"), text: times(...pair) });
  function list(map, none) {
    const heft = ({ calls, total }) => data.counted ? Math.abs(calls[NEW] - calls[BASE]) || 1e-9 * Math.abs(total[NEW] - total[BASE]) : Math.abs(total[NEW] - total[BASE]);
    const rows = [...map.entries()].sort((a, b) => heft(b[1]) - heft(a[1]));
    if (!rows.length) return el("p", { className: "muted", text: none });
    return firstOf(rows, 12, ([label, item]) => el("li", {}, el("div", {}, nameButton(label),
      data.counted && F[label].kind !== ROUTE ? el("span", { className: "n" }, arrow(item.calls, amount) + " ", change(item.calls)) : el("span", { className: "n", text: arrow(item.total, time) }))));
  }
  function showAround(label) {
    around = label;
    const mine = functionRows(true).find((row) => row.label === label) || Object.assign(cost(), { label });
    const [callers, callees] = neighbours(label);
    const lines = [["time in all", mine.total, time], ["own time", mine.self, time]];
    if (data.counted && F[label].kind !== ROUTE) lines.unshift(["calls", mine.calls, amount]);
    $("around-sum").textContent = scope();
    $("around-body").replaceChildren(el("div", { className: "around" },
      el("div", {}, el("h3", { text: "Called by" }), list(callers, F[label].kind === ROUTE ? "a request" : "nothing that was recorded")),
      el("div", { className: "self" }, el("b", { className: "name", text: F[label].name }), el("span", { className: "file", text: F[label].full }),
        el("dl", {}, ...lines.flatMap(([name, pair, show]) => [el("dt", { text: name }), el("dd", {}, arrow(pair, show) + " ", change(pair))]))),
      el("div", {}, el("h3", { text: "Calls" }), list(callees, "nothing that was recorded"))));
  }
  const scope = () => (state.scaled ? "base scaled to the requests of the new session" : "all requests of each") + (state.route >= 0 ? " · " + F[state.route].name : "");

  // ---- tables ------------------------------------------------------------------------------------------------
  function functionRows(withRoutes) {
    const rows = new Map();
    const row = (label) => { if (!rows.has(label)) rows.set(label, Object.assign(cost(), { label })); return rows.get(label); };
    for (const [route, label, ...numbers] of data.costs || []) {
      if (state.route >= 0 && state.route !== route) continue;
      ["calls", "self", "total"].forEach((key, place) => sum(row(label)[key], [numbers[place], numbers[place + 3]], factor(route)));
    }
    for (let node = 0; node < N; node++) {
      const isRoute = F[fn[node]].kind === ROUTE;
      if (inRoute(node) && (isRoute ? withRoutes : !data.costs && F[fn[node]].kind <= LIBRARY)) add(row(fn[node]), node, factor(routeOf[node]), true, outermost[node]);
    }
    return [...rows.values()];
  }
  const shown = (row) => (!flame.hits || flame.hits[row.label]) && (!state.mine || F[row.label].kind === APP);
  const heading = sortedBy(state, () => showFunctions());
  const both = (pair, show) => [el("td", { className: "n", text: arrow(pair, show) }), el("td", { className: "n" }, change(pair))];
  function showFunctions() {
    const growth = (row) => row[state.sort][NEW] - row[state.sort][BASE];
    const compare = state.sort === "name" ? (a, b) => F[b.label].name.localeCompare(F[a.label].name) : (a, b) => Math.abs(growth(b)) - Math.abs(growth(a));
    const rows = functionRows(false).filter(shown).sort((a, b) => (state.down ? 1 : -1) * compare(a, b));
    const titles = [["calls", "Calls (exact)"], ["self", "Own time"], ["total", "Time in all"]].filter(([key]) => data.counted || key !== "calls");
    const head = el("tr", {}, heading("Function", "name"), ...titles.flatMap(([key, text]) => [heading(text, key, true), el("th", { className: "n", scope: "col", text: "change" })]));
    const [few, others] = fewOf(rows, SHOWN, state, showFunctions);
    const body = few.map((row) => el("tr", {},
      el("td", {}, nameButton(row.label), el("span", { className: "file", text: F[row.label].where, title: F[row.label].full })),
      ...titles.flatMap(([key]) => both(row[key], key === "calls" ? amount : time))));
    $("functions").replaceChildren(el("thead", {}, head), el("tbody", {}, ...body));
    $("functions-sum").replaceChildren(plural(rows.length, "function") + ", the largest change first · " + scope(), ...others);
  }
  function showOnly() {
    const rows = functionRows(false).filter(shown);
    const there = (row, side) => row.calls[side] || row.total[side];
    const part = (title, side) => {
      const found = rows.filter((row) => there(row, side) && !there(row, 1 - side)).sort((a, b) => b.total[side] - a.total[side]);
      const item = (row) => el("li", {}, el("div", {}, el("span", {}, nameButton(row.label), el("span", { className: "file", text: F[row.label].where })),
        el("span", { className: "n", text: (data.counted ? plural(Math.round(row.calls[side]), "call") + " · " : "") + time(row.total[side]) })));
      return el("div", {}, el("h3", { text: `${title} (${found.length})` }), found.length ? firstOf(found, 200, item) : el("p", { className: "muted", text: "none" }));
    };
    $("only").replaceChildren(part("Only in the base", BASE), part("Only in the new session", NEW));
  }
  const UNITS = { calls: ["calls", amount], allocations: ["bytes", amount], time: ["mean wall time", (seconds) => time(1e6 * seconds)] };
  const labels = new Map(data.names);
  const changes = data.changes.map(([kind, route, name, before, after, isRegression, beginsHere, callers]) => ({ kind, route, name, pair: [before, after], isRegression, beginsHere, callers }));
  function named(name) {
    const label = labels.get(name);
    if (label === undefined) return el("span", { className: "name", text: plain(name) });
    return el("button", { className: "link name", type: "button", text: plain(name), title: F[label].full, onclick: () => { showAround(label); $("around").scrollIntoView({ block: "nearest" }); } });
  }
  function showChanges() {
    const causes = changes.filter((item) => item.beginsHere || item.kind !== "calls");
    const rows = state.allChanges || !causes.length ? changes : causes.slice(0, FIRST_CHANGES);
    const body = rows.map(({ kind, route, name, pair, isRegression, callers }) => {
      const [unit, show] = UNITS[kind], mark = isRegression ? "regression" : pair[NEW] < pair[BASE] ? "less" : "more";
      return el("tr", {}, el("td", {}, el("span", { className: "mark " + mark, text: mark })),
        el("td", {}, named(name), kind === "time" ? null : el("span", { className: "file", text: plain(route || "all routes") })),
        el("td", { className: "n" }, arrow(pair, show), " ", el("small", { className: "muted", text: unit })), el("td", { className: "n" }, change(pair)),
        el("td", {}, el("ul", { className: "hot" }, ...callers.map(([caller, ...counts]) => el("li", {}, named(caller), el("small", { text: arrow(counts, amount) }))))));
    });
    const head = el("tr", {}, ...["Verdict", "What", "Per request", "Change", "From callers"].map((text, place) => el("th", { scope: "col", text, className: place === 2 || place === 3 ? "n" : "" })));
    $("changes").replaceChildren(el("thead", {}, head), el("tbody", {}, ...body));
    $("changes").hidden = !rows.length;
    const summary = [changes.length ? "where a change begins; calls are exact, times are loose" : `nothing changed among ${plural(data.compared, "number")}`];
    if (rows.length < data.changed) summary.push(` · ${number(data.changed - rows.length)} more, mostly because of these`);
    if (rows.length < changes.length) summary.push(" · ", el("button", { className: "link", type: "button", text: "show more", onclick: () => { state.allChanges = true; showChanges(); } }));
    $("changes-sum").replaceChildren(...summary);
  }
  function showRoutes() {
    const head = el("tr", {}, ...["Route", "Requests", "Errors", "Mean", "change"].map((text, place) => el("th", { scope: "col", className: place ? "n" : "", text })));
    const labels = new Map(routeOf.map((label) => [F[label].name, label]));
    const body = data.routes.map(([route, n0, e0, m0, n1, e1, m1]) => {
      const name = plain(route), label = labels.has(name) ? labels.get(name) : -1;
      const press = () => { $("route").value = label; state.route = label; rebuild(false); $("flame-card").scrollIntoView({ block: "start" }); };
      return el("tr", {}, el("td", {}, label < 0 ? el("span", { className: "name", text: name }) : el("button", { className: "link name", type: "button", text: name, title: "Show this route alone", onclick: press })),
        el("td", { className: "n", text: arrow([n0, n1], number) }), el("td", { className: e1 > e0 ? "n bad" : "n", text: arrow([e0, e1], number) }), ...both([1e6 * m0, 1e6 * m1], time));
    });
    $("routes").replaceChildren(el("thead", {}, head), el("tbody", {}, ...body));
  }
  function showFacts() {
    $("verdict").textContent = data.regressions ? plural(data.regressions, "regression") : data.changed ? "No regression, " + plural(data.changed, "change") : "Nothing changed";
    const session = ({ id, started, cpu }) => `${id} (${started}, cpu=${cpu})`;
    $("facts").replaceChildren("new ", el("b", { text: session(data.new) }), el("br"), "base ", el("b", { text: session(data.base) }));
    $("notes").append(...data.notes.map((note) => el("li", { text: plain(note) })));
    $("notes-card").hidden = !data.notes.length;
  }

  // ---- wiring ------------------------------------------------------------------------------------------------
  showFacts();
  showChanges();
  showRoutes();
  if (!N) { for (const id of ["flame-card", "around", "functions-card", "only-card"]) $(id).hidden = true; followScheme(() => {}); return; }

  followScheme(() => {
    palette = colours(["ink", "line", "match", "step-ink", ...STEPS.map((_, place) => "step-" + (place - SAME))]);
    flame.recolour();
  });
  options($("route"), "all routes", [...new Set(routeOf)].map((label) => [label, F[label].name]));
  $("route").addEventListener("change", (event) => { state.route = Number(event.target.value); rebuild(false); });
  $("colour-choice").hidden = !data.counted;
  chosenBy("colour", (value) => { state.colour = value; rebuild(true); });
  chosenBy("width", (value) => { state.side = value === "base" ? BASE : NEW; rebuild(true); });
  $("scaled").addEventListener("change", (event) => { state.scaled = event.target.checked; rebuild(true); });
  $("mine").addEventListener("change", (event) => { state.mine = event.target.checked; rebuild(false); });
  rebuild(false);
  const first = changes.map((item) => labels.get(item.name)).find((label) => label !== undefined);
  const top = functionRows(false).sort((a, b) => b.total[NEW] - a.total[NEW])[0];
  if (first !== undefined) showAround(first); else if (top) showAround(top.label); else $("around").hidden = true;
})();
