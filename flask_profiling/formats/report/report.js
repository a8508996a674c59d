"use strict";
// Draws the report from the JSON in this file. Nothing is fetched, stored or evaluated; all text is set as text.
(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const APP = 0, LIBRARY = 1, ROUTE = 2, FOLDED = 3;
  const ROW = 21, NARROWEST = 0.5, SHOWN = 60, TALLEST = 8000;

  // Controls, direction marks and half characters are shown as escapes, so that no name can disguise itself.
  const plain = (text) => String(text).replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, (letter) => "\\u" + letter.codePointAt(0).toString(16).padStart(4, "0"));

  function el(tag, properties, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties || {})) {
      if (name === "text") element.textContent = value;
      else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (name in element) element[name] = value;
      else element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  }

  const number = (value) => value.toLocaleString("en");
  function time(us) {
    if (us >= 1e6) return (us / 1e6).toFixed(us >= 1e8 ? 0 : us >= 1e7 ? 1 : 2) + " s";
    if (us >= 1000) return (us / 1000).toFixed(us >= 1e5 ? 0 : us >= 1e4 ? 1 : 2) + " ms";
    return Math.round(us) + " µs";
  }
  const percent = (part, whole) => (whole > 0 ? (100 * part) / whole : 0).toFixed(1) + " %";
  const plural = (count, word) => number(count) + " " + word + (count === 1 ? "" : "s");

  // ---- what was recorded -------------------------------------------------------------------------------------
  const own = data.functions.filter((item) => item[3] === APP && item[0] >= 0).map((item) => data.files[item[0]]);
  const shared = own.length ? own.reduce((common, file) => { let at = 0; while (at < common.length && common[at] === file[at]) at++; return common.slice(0, at); }) : "";
  const home = shared.slice(0, Math.max(shared.lastIndexOf("/"), shared.lastIndexOf("\\")) + 1);
  function shortened(file) {
    const installed = /.*(?:site-packages|dist-packages|python\d+\.\d+t?|[\\/]Lib)[\\/](.+)$/.exec(file);
    if (installed) return installed[1];
    return home && file.startsWith(home) ? file.slice(home.length) : file;
  }
  const F = data.functions.map(([file, line, name, kind]) => {
    const path = file < 0 ? "" : plain(data.files[file]);
    const short = file < 0 ? "" : plain(shortened(data.files[file]));
    const where = path === "~" ? "C function" : line > 0 ? short + ":" + line : short;
    let hash = 7;
    for (const letter of short) hash = (hash * 31 + letter.codePointAt(0)) % 997;
    return { name: plain(name) || "(nameless)", where, full: line > 0 ? path + ":" + line : path, kind, tint: hash, text: (plain(name) + " " + path).toLowerCase() };
  });
  const N = data.nodes.fn.length;
  const fn = data.nodes.fn, calls = data.nodes.calls;
  const parent = data.nodes.up.map((up, node) => (up ? node - up : -1));
  const why = new Map(data.nodes.why);
  const routeOf = new Array(N);
  const outermost = new Uint8Array(N);
  for (let node = 0; node < N; node++) {
    routeOf[node] = parent[node] < 0 ? fn[node] : routeOf[parent[node]];
    let above = parent[node];
    while (above >= 0 && fn[above] !== fn[node]) above = parent[above];
    outermost[node] = above < 0 ? 1 : 0;
  }
  const all = Float64Array.from(data.nodes.us);
  const perThread = data.threads.map(([, steps, times]) => {
    const weights = new Float64Array(N);
    let node = 0;
    steps.forEach((step, at) => { node += step; weights[node] = times[at]; });
    return weights;
  });

  const state = { route: -1, thread: -1, inverted: false, mine: false, query: "", sort: "self", down: true, all: false };
  let weights = all, totals = all, root = null, zoom = null, selected = null, boxes = [], hits = null, around = -1, letter = 7.2;
  const inRoute = (node) => state.route < 0 || routeOf[node] === state.route;

  // ---- the tree that is drawn --------------------------------------------------------------------------------
  function branch(label, above) { return { fn: label, above, self: 0, total: 0, calls: 0, why: -1, map: new Map(), kids: null }; }
  function below(above, label, made) {
    let item = above.map.get(label);
    if (!item) { item = branch(label, above); above.map.set(label, item); made.push(item); }
    return item;
  }
  function children(item) {
    if (!item.kids) item.kids = [...item.map.values()].filter((kid) => kid.total > 0).sort((a, b) => b.total - a.total);
    return item.kids;
  }
  const isHidden = (node) => state.mine && F[fn[node]].kind === LIBRARY;

  function grow() {
    weights = state.thread < 0 ? all : perThread[state.thread];
    totals = Float64Array.from(weights);
    for (let node = N - 1; node >= 0; node--) if (parent[node] >= 0) totals[parent[node]] += totals[node];
    root = branch(-1, null);
    const made = [root];
    if (state.inverted) invert(made); else unroll(made);
  }
  function unroll(made) {
    const places = new Array(N);
    for (let node = 0; node < N; node++) {
      const above = parent[node] < 0 ? root : places[parent[node]];
      if (!above || !inRoute(node)) continue;
      const place = isHidden(node) ? above : below(above, fn[node], made);
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
    for (let node = 0; node < N; node++) {
      const weight = weights[node];
      if (!weight || !inRoute(node)) continue;
      root.total += weight;
      let place = root;
      for (let at = node; at >= 0; at = parent[at]) {
        if (isHidden(at)) continue;
        place = below(place, fn[at], made);
        place.total += weight;
        if (place.above === root) place.self += weight;
        if (why.has(node)) place.why = why.get(node);
      }
    }
  }
  const titleOf = (item) => item.fn >= 0 ? F[item.fn].name : state.inverted ? "everything, by own time" : state.route >= 0 ? "one route" : "all routes";
  const pathOf = (item) => { const path = []; for (let at = item; at; at = at.above) path.unshift(at); return path; };

  // ---- the flame graph ---------------------------------------------------------------------------------------
  const canvas = $("flame"), stage = $("stage"), tip = $("tip"), pen = canvas.getContext("2d");
  let colours = {};
  function readColours() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["card", "ink", "soft", "line", "focus", "frame-ink", "library", "route", "route-ink", "match", "dim", "light", "saturation"]) {
      colours[name] = style.getPropertyValue("--" + name).trim();
    }
    const tile = document.createElement("canvas");
    tile.width = tile.height = 8;
    const hatch = tile.getContext("2d");
    hatch.strokeStyle = colours.card;
    hatch.globalAlpha = 0.5;
    hatch.lineWidth = 1.6;
    for (const shift of [-8, 0, 8]) { hatch.beginPath(); hatch.moveTo(shift, 8); hatch.lineTo(shift + 8, 0); hatch.stroke(); }
    colours.hatch = pen.createPattern(tile, "repeat");
  }
  function colourOf(item) {
    if (item.fn < 0) return [colours.line, colours.ink];
    const it = F[item.fn];
    if (hits && hits[item.fn]) return [colours.match, "#fff"];
    if (it.kind === ROUTE) return [colours.route, colours["route-ink"]];
    if (it.kind === APP) return [`hsl(${12 + (it.tint % 38)} ${colours.saturation} ${colours.light})`, colours["frame-ink"]];
    return [colours.library, colours.ink];
  }
  function layOut() {
    const width = stage.clientWidth;
    boxes = [];
    const above = pathOf(zoom).slice(0, -1);
    above.forEach((item, row) => boxes.push({ item, x: 0, width, row, isAbove: true }));
    const waiting = [{ item: zoom, x: 0, width, row: above.length }];
    const scale = width / (zoom.total || 1);
    while (waiting.length) {
      const box = waiting.pop();
      boxes.push(box);
      let x = box.x;
      for (const kid of children(box.item)) {
        const wide = kid.total * scale;
        if (wide < NARROWEST) break;
        if ((box.row + 2) * ROW <= TALLEST) waiting.push({ item: kid, x, width: wide, row: box.row + 1 });
        x += wide;
      }
    }
    return width;
  }
  function fitted(text, width) {
    const most = Math.floor((width - 9) / letter);
    return most < 2 ? "" : text.length <= most ? text : text.slice(0, most - 1) + "…";
  }
  function draw() {
    const width = layOut();
    const rows = boxes.reduce((most, box) => Math.max(most, box.row), 0) + 1;
    const ratio = Math.min(window.devicePixelRatio || 1, 3);
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(rows * ROW * ratio);
    canvas.style.height = rows * ROW + "px";
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, rows * ROW);
    pen.font = "12px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace";
    pen.textBaseline = "middle";
    letter = pen.measureText("0").width;
    for (const box of boxes) drawBox(box);
    const chosen = boxes.find((box) => box.item === selected);
    if (chosen) {
      pen.strokeStyle = colours.focus;
      pen.lineWidth = 2;
      pen.strokeRect(chosen.x + 1, chosen.row * ROW + 1, Math.max(chosen.width - 2, 1), ROW - 3);
    }
  }
  function drawBox(box) {
    const { item, x, width } = box, y = box.row * ROW;
    const [fill, ink] = colourOf(item);
    pen.globalAlpha = box.isAbove ? 0.55 : hits && item.fn >= 0 && !hits[item.fn] ? Number(colours.dim) : 1;
    pen.fillStyle = fill;
    const wide = Math.max(width - (width > 2 ? 1 : 0), 0.5);
    pen.beginPath();
    if (pen.roundRect && wide > 6) pen.roundRect(x, y, wide, ROW - 1, 3); else pen.rect(x, y, wide, ROW - 1);
    pen.fill();
    if (item.why >= 0) { pen.fillStyle = colours.hatch; pen.fill(); }
    const text = fitted(titleOf(item), wide);
    if (text) { pen.fillStyle = ink; pen.direction = "ltr"; pen.fillText(text, x + 5, y + ROW / 2); }
    pen.globalAlpha = 1;
  }
  function at(event) {
    const area = canvas.getBoundingClientRect();
    const x = event.clientX - area.left, row = Math.floor((event.clientY - area.top) / ROW);
    return boxes.find((box) => box.row === row && x >= box.x && x < box.x + Math.max(box.width, 2)) || null;
  }
  function told(item) {
    const parts = [time(item.total) + " (" + percent(item.total, root.total) + ")"];
    if (item.fn >= 0 && !(state.inverted && item.above !== root)) parts.push("own " + time(item.self));
    if (data.counted && item.calls && state.thread < 0 && F[item.fn].kind !== ROUTE) parts.push(plural(item.calls, "call"));
    return parts.join(" · ");
  }
  function showTip(event, item) {
    tip.replaceChildren(el("b", { text: titleOf(item) }));
    if (item.fn >= 0 && F[item.fn].full) tip.append(el("small", { text: F[item.fn].full }));
    tip.append(el("span", { text: told(item) }));
    if (item.why >= 0) tip.append(el("small", { text: "≈ " + plain(data.reasons[item.why]) }));
    tip.hidden = false;
    const x = Math.min(event.clientX + 14, window.innerWidth - tip.offsetWidth - 8);
    const y = event.clientY + 18 + tip.offsetHeight > window.innerHeight ? event.clientY - tip.offsetHeight - 10 : event.clientY + 18;
    tip.style.left = Math.max(8, x) + "px";
    tip.style.top = Math.max(8, y) + "px";
  }
  function choose(item, scroll) {
    selected = item;
    $("said").textContent = titleOf(item) + ", " + told(item);
    if (item.fn >= 0) showAround(item.fn);
    draw();
    const box = boxes.find((one) => one.item === item);
    if (scroll && box) {
      const y = box.row * ROW;
      if (y < stage.scrollTop) stage.scrollTop = y; else if (y + ROW > stage.scrollTop + stage.clientHeight) stage.scrollTop = y + ROW - stage.clientHeight;
    }
  }
  function zoomTo(item) {
    zoom = item;
    stage.scrollTop = 0;
    const path = pathOf(item);
    $("crumbs").replaceChildren(...path.flatMap((step, place) => [
      place ? " › " : "", el("button", { className: "link", type: "button", text: titleOf(step), onclick: () => { zoomTo(step); choose(step, true); } })]));
    $("crumbs").hidden = $("reset").hidden = path.length < 2;
    sum();
    draw();
  }
  function sum() {
    let text = time(zoom.total) + " in " + (zoom === root ? "all" : titleOf(zoom));
    if (hits) {
      let found = 0, frames = 0;
      const waiting = [[zoom, false]];
      while (waiting.length) {
        const [item, within] = waiting.pop();
        const isHit = item.fn >= 0 && hits[item.fn];
        if (isHit) { frames++; if (!within) found += item.total; }
        for (const kid of children(item)) waiting.push([kid, within || isHit]);
      }
      text = frames ? `${plural(frames, "frame")} found, ${time(found)} (${percent(found, zoom.total)})` : "nothing found";
    }
    $("flame-sum").textContent = text;
  }
  function rebuild() {
    const kept = zoom ? pathOf(zoom).slice(1).map((item) => item.fn) : [];
    grow();
    let item = root;
    for (const label of kept) { const next = item.map.get(label); if (!next || !next.total) break; item = next; }
    selected = null;
    zoomTo(state.inverted ? root : item);
    showFunctions();
    if (around >= 0) showAround(around);
  }
  function move(key) {
    const item = selected || zoom;
    if (!selected) return choose(item, true);
    if (key === "ArrowDown") return children(item).length ? choose(children(item)[0], true) : undefined;
    if (key === "ArrowUp") return item.above ? choose(item.above, true) : undefined;
    const among = item.above ? children(item.above) : [item];
    const next = among[among.indexOf(item) + (key === "ArrowRight" ? 1 : -1)];
    return next ? choose(next, true) : undefined;
  }
  function back() {
    if (state.query) { $("search").value = ""; search(""); return; }
    if (zoom !== root) { const left = zoom; zoomTo(zoom.above); choose(left, true); }
  }
  function search(text) {
    state.query = text.trim().toLowerCase();
    hits = state.query ? F.map((item) => item.text.includes(state.query)) : null;
    sum();
    draw();
    showFunctions();
  }
  function nextHit() {
    const found = boxes.filter((box) => !box.isAbove && box.item.fn >= 0 && hits && hits[box.item.fn]).sort((a, b) => b.width - a.width);
    if (!found.length) return;
    const place = found.findIndex((box) => box.item === selected);
    choose(found[(place + 1) % found.length].item, true);
  }

  // ---- around one function -----------------------------------------------------------------------------------
  function costsOf(label) {
    const callers = new Map(), callees = new Map(), mine = { calls: 0, self: 0, total: 0 };
    const add = (map, key, count, us) => { const item = map.get(key) || { calls: 0, total: 0 }; item.calls += count; item.total += us; map.set(key, item); };
    if (data.costs) {
      for (const [item, count, self, total] of data.costs.functions) if (item === label) Object.assign(mine, { calls: count, self, total });
      for (const [a, b, count, total] of data.costs.edges) { if (b === label) add(callers, a, count, total); if (a === label) add(callees, b, count, total); }
      return { callers, callees, mine };
    }
    const seenAbove = (node) => {
      for (let at = parent[node]; at >= 0 && parent[at] >= 0; at = parent[at]) if (fn[at] === fn[node] && fn[parent[at]] === fn[parent[node]]) return true;
      return false;
    };
    for (let node = 0; node < N; node++) {
      if (!inRoute(node) || !totals[node]) continue;
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
    const rows = [...map.entries()].sort((a, b) => b[1].total - a[1].total).slice(0, 12);
    if (!rows.length) return el("p", { className: "muted", text: none });
    return el("ul", {}, ...rows.map(([label, cost]) => {
      const bar = el("span", { className: "share" });
      bar.style.width = Math.min(100, (100 * cost.total) / (whole || 1)) + "%";
      const counts = cost.calls && (data.costs || (data.counted && state.thread < 0)) && F[label].kind !== ROUTE ? plural(cost.calls, "call") + " · " : "";
      return el("li", {}, el("div", {}, nameButton(label), el("span", { className: "n", text: counts + time(cost.total) })), bar);
    }));
  }
  function showAround(label) {
    around = label;
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
      if (!inRoute(node) || F[fn[node]].kind > LIBRARY || !totals[node]) continue;
      const item = row(fn[node]);
      item.calls += calls[node]; item.self += weights[node];
      if (outermost[node]) item.total += totals[node];
    }
    const compare = state.sort === "name" ? (a, b) => F[b.label].name.localeCompare(F[a.label].name) : (a, b) => b[state.sort] - a[state.sort];
    return [...rows.values()].filter((item) => (!hits || hits[item.label]) && (!state.mine || F[item.label].kind === APP)).sort((a, b) => (state.down ? 1 : -1) * compare(a, b));
  }
  function heading(text, key, isNumber) {
    const sorted = state.sort === key ? (state.down ? " ↓" : " ↑") : "";
    const press = () => { state.down = state.sort === key ? !state.down : true; state.sort = key; showFunctions(); };
    const cell = el("th", { className: isNumber ? "n" : "", scope: "col" }, el("button", { type: "button", text: text + sorted, onclick: press }));
    if (sorted) cell.setAttribute("aria-sort", state.down ? "descending" : "ascending");
    return cell;
  }
  function showFunctions() {
    const rows = functionRows(), most = rows.reduce((sum, row) => sum + row.self, 0);
    const isCounted = rows.some((row) => row.calls) && (data.costs || state.thread < 0);
    const head = el("tr", {}, heading("Function", "name"), heading("Own", "self", true), heading("Total", "total", true), isCounted ? heading("Calls", "calls", true) : null);
    const body = rows.slice(0, state.all ? 2000 : SHOWN).map((row) => {
      const bar = el("span", { className: "share" });
      bar.style.width = (100 * row.self) / (most || 1) + "%";
      return el("tr", {}, el("td", {}, nameButton(row.label), el("span", { className: "file", text: F[row.label].where, title: F[row.label].full }), bar),
        el("td", { className: "n", text: time(row.self) }), el("td", { className: "n", text: time(row.total) }), isCounted ? el("td", { className: "n", text: number(row.calls) }) : null);
    });
    $("functions").replaceChildren(el("thead", {}, head), el("tbody", {}, ...body));
    const summary = [plural(rows.length, "function")];
    if (!state.all && rows.length > SHOWN) summary.push(` · showing ${SHOWN} · `, el("button", { className: "link", type: "button", text: "show all", onclick: () => { state.all = true; showFunctions(); } }));
    $("functions-sum").replaceChildren(...summary);
  }
  function hottest(label) {
    const costs = new Map();
    for (let node = 0; node < N; node++) if (routeOf[node] === label && F[fn[node]].kind <= LIBRARY) costs.set(fn[node], (costs.get(fn[node]) || 0) + all[node]);
    return [...costs.entries()].filter(([, us]) => us > 0).sort((a, b) => b[1] - a[1]).slice(0, 3);
  }
  function showRoutes() {
    const titles = ["Route", "Requests", "Errors", "p50", "p95", "Wall", "CPU"];
    const head = el("tr", {}, ...titles.map((text, place) => el("th", { scope: "col", className: place ? "n" : "", text })), N ? el("th", { scope: "col", text: "Hottest functions (own time)" }) : null);
    const labels = new Map();
    for (let node = 0; node < N; node++) if (parent[node] < 0) labels.set(data.functions[fn[node]][2], fn[node]);
    const body = [...data.routes].sort((a, b) => b[5] - a[5]).map(([route, requests, errors, p50, p95, wall, cpu]) => {
      const label = labels.has(route) ? labels.get(route) : -1;
      const total = label < 0 ? 0 : all.reduce((sum, us, node) => sum + (routeOf[node] === label ? us : 0), 0);
      const name = label < 0 ? el("span", { className: "name", text: plain(route) })
        : el("button", { className: "link name", type: "button", text: plain(route), title: "Show this route alone", onclick: () => { $("route").value = label; state.route = label; rebuild(); $("flame-card").scrollIntoView({ block: "start" }); } });
      const hot = label < 0 ? [] : hottest(label).map(([item, us]) => el("li", {}, nameButton(item), el("small", { text: percent(us, total) })));
      return el("tr", {}, el("td", {}, name), el("td", { className: "n", text: number(requests) }), el("td", { className: errors ? "n bad" : "n", text: number(errors) }),
        ...[p50, p95, wall, cpu].map((seconds) => el("td", { className: "n", text: time(seconds * 1e6) })), N ? el("td", {}, el("ul", { className: "hot" }, ...hot)) : null);
    });
    $("routes").replaceChildren(el("thead", {}, head), el("tbody", {}, ...body));
    $("routes-card").hidden = !data.routes.length;
  }
  function showSection(section) {
    const isNumber = (place) => section.columns[place][1] === "n";
    const cell = (tag, value, place) => el(tag, { className: isNumber(place) ? "n" : "", text: typeof value === "number" ? number(value) : plain(value) });
    $("sections").append(el("section", { className: "card" },
      el("div", { className: "head" }, el("h2", { text: section.title }), el("p", { className: "muted", text: plain(section.text) })),
      el("div", { className: "scroll" }, el("table", {},
        el("thead", {}, el("tr", {}, ...section.columns.map((column, place) => cell("th", column[0], place)))),
        el("tbody", {}, ...section.rows.map((row) => el("tr", {}, ...row.map((value, place) => cell("td", value, place)))))))));
  }
  function showFacts() {
    const { session } = data;
    $("session").textContent = session.id;
    const workers = data.workers.length ? plural(data.workers.length, "worker") + " (" + data.workers.slice(0, 6).join(", ") + (data.workers.length > 6 ? ", …" : "") + ")" : "";
    $("facts").textContent = [session.started, workers, "cpu=" + session.cpu, data.missing.length ? plural(data.missing.length, "worker") + " missing" : ""].filter(Boolean).join(" · ");
    const total = (place) => data.routes.reduce((sum, row) => sum + row[place], 0);
    const tiles = [[time(session.duration * 1e6), "session"], [number(total(1)), total(1) === 1 ? "request" : "requests"], [number(total(2)), total(2) === 1 ? "error" : "errors", total(2) ? "bad" : ""],
      [time(total(5) * 1e6), "in requests (wall)"], [time(total(6) * 1e6), "CPU"], [N ? number(new Set(fn.filter((label) => F[label].kind <= LIBRARY)).size) : "0", "functions"]];
    $("tiles").append(...tiles.map(([value, name, kind]) => el("li", { className: kind || "" }, el("b", { text: value }), el("span", { text: name }))));
    $("notes").append(...data.notes.map((note) => el("li", { text: plain(note) })));
    $("environment").append(...Object.entries(data.environment).map(([name, value]) => el("div", {}, el("dt", { text: plain(name) }), el("dd", { text: plain(value) }))));
    $("notes-card").hidden = !data.notes.length && !Object.keys(data.environment).length;
  }

  // ---- wiring ------------------------------------------------------------------------------------------------
  function options(select, first, items) {
    select.append(el("option", { value: "-1", text: first }), ...items.map(([value, text]) => el("option", { value, text })));
    select.disabled = items.length < 2;
  }
  function setTheme(dark) {
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    readColours();
    if (root) draw();
  }
  const scheme = window.matchMedia("(prefers-color-scheme: dark)");
  let picked = false;
  scheme.addEventListener("change", () => { if (!picked) setTheme(scheme.matches); });
  $("theme").addEventListener("click", () => { picked = true; setTheme(document.documentElement.dataset.theme !== "dark"); });
  setTheme(scheme.matches);
  showFacts();
  showRoutes();
  data.sections.forEach(showSection);
  if (!N) { for (const id of ["flame-card", "around", "functions-card"]) $(id).hidden = true; return; }

  const routes = [...new Set(routeOf)].map((label) => [label, F[label].name]);
  options($("route"), "all routes", routes);
  options($("thread"), "all threads", data.threads.map(([title], place) => [place, plain(title)]));
  $("thread-label").hidden = data.threads.length < 2;
  $("guess-key").hidden = !why.size;
  $("route").addEventListener("change", (event) => { state.route = Number(event.target.value); zoom = null; rebuild(); });
  $("thread").addEventListener("change", (event) => { state.thread = Number(event.target.value); rebuild(); });
  for (const radio of document.getElementsByName("view")) radio.addEventListener("change", () => { state.inverted = radio.value === "inverted"; zoom = null; rebuild(); });
  $("mine").addEventListener("change", (event) => { state.mine = event.target.checked; zoom = null; rebuild(); });
  $("search").addEventListener("input", (event) => search(event.target.value));
  $("search").addEventListener("keydown", (event) => {
    if (event.key === "Enter") { event.preventDefault(); nextHit(); }
    if (event.key === "Escape") { event.preventDefault(); back(); canvas.focus(); }
  });
  $("reset").addEventListener("click", () => { zoomTo(root); canvas.focus(); });
  canvas.addEventListener("pointermove", (event) => { const box = at(event); if (box && event.pointerType !== "touch") showTip(event, box.item); else tip.hidden = true; });
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
  canvas.addEventListener("click", (event) => { const box = at(event); if (!box) return; tip.hidden = true; zoomTo(box.item); choose(box.item, false); });
  canvas.addEventListener("keydown", (event) => {
    if (event.key.startsWith("Arrow")) { event.preventDefault(); move(event.key); }
    if (event.key === "Enter" && selected) { event.preventDefault(); zoomTo(selected); choose(selected, true); }
    if (event.key === "Escape") { event.preventDefault(); back(); }
  });
  document.addEventListener("keydown", (event) => {
    const isTyping = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "checkbox" && event.target.type !== "radio";
    if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey) { event.preventDefault(); $("search").focus(); $("search").select(); }
  });
  new ResizeObserver(() => draw()).observe(stage);
  rebuild();
  const first = functionRows().find((row) => F[row.label].kind === APP) || functionRows()[0];
  if (first) showAround(first.label); else $("around").hidden = true;
})();
