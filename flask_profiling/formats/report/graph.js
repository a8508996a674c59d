// The call graph: the hottest functions in layers, callers above what they call, drawn as SVG and told as a table. What
// there is to draw comes from `about`: contents() gives {functions: Map(label -> {calls, self, total}), edges: [[caller,
// callee, {calls, total}]], isCounted}, and chosen(label) is told what was pressed.
function callGraph(about) {
  const WIDE = 176, HIGH = 46, GAP = 18, BETWEEN = 62, BEND = 10, SWEEPS = 12, LEAST_EDGE = 0.002, LEAST_LABEL = 0.03;
  const stage = $("graph-stage"), SVG = stage.firstElementChild.namespaceURI;
  let scale = 1, size = [1, 1], isFitted = true;

  function svg(tag, properties, ...children) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(properties)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }
  const text = (words, properties) => { const element = svg("text", properties); element.textContent = words; return element; };
  const cut = (words, most) => (words.length > most ? words.slice(0, most - 1) + "…" : words);

  // ---- layout: layers, order, places (Sugiyama's method) -------------------------------------------------------
  // Turn around the edges that close a circle, so that all others lead down.
  function withoutCircles(count, edges) {
    const below = Array.from({ length: count }, () => []), state = new Uint8Array(count);
    edges.forEach((edge) => below[edge.from].push(edge));
    const visit = (node) => {
      state[node] = 1;
      for (const edge of below[node]) {
        if (state[edge.to] === 1) edge.isTurned = true; else if (!state[edge.to]) visit(edge.to);
      }
      state[node] = 2;
    };
    for (let node = 0; node < count; node++) if (!state[node]) visit(node);
    return edges.map((edge) => (edge.isTurned ? { ...edge, from: edge.to, to: edge.from } : edge));
  }
  function layersOf(count, edges) {
    const layer = new Array(count).fill(0), entered = new Array(count).fill(0), first = new Array(count).fill(Infinity);
    for (let round = 0, moved = true; moved && round < count; round++) {
      moved = false;
      for (const { from, to } of edges) if (layer[to] <= layer[from]) { layer[to] = layer[from] + 1; moved = true; }
    }
    for (const { from, to } of edges) { entered[to]++; first[from] = Math.min(first[from], layer[to]); }
    return layer.map((at, node) => (entered[node] || first[node] === Infinity ? at : first[node] - 1));  // callers stand right above
  }
  // Give long edges a bend in each layer they cross; returns the rows of nodes and the steps between rows.
  function rowsOf(count, edges, layer) {
    const rows = [], links = [];
    const put = (node, at) => { (rows[at] = rows[at] || []).push(node); };
    layer.forEach((at, node) => put(node, at));
    let next = count;
    for (const edge of edges) {
      edge.points = [edge.from];
      for (let at = layer[edge.from] + 1; at < layer[edge.to]; at++) { put(next, at); edge.points.push(next++); }
      edge.points.push(edge.to);
      for (let at = 1; at < edge.points.length; at++) links.push([edge.points[at - 1], edge.points[at]]);
    }
    return [rows.filter(Boolean), links, next];
  }
  function placed(count, edges) {
    const [rows, links, total] = rowsOf(count, edges, layersOf(count, edges));
    const above = Array.from({ length: total }, () => []), below = Array.from({ length: total }, () => []);
    for (const [from, to] of links) { above[to].push(from); below[from].push(to); }
    const mean = (nodes, value, none) => (nodes.length ? nodes.reduce((sum, node) => sum + value[node], 0) / nodes.length : none);
    const order = new Array(total), x = new Array(total), y = new Array(total);
    const number = (row) => row.forEach((node, place) => { order[node] = place; });
    rows.forEach(number);
    for (let sweep = 0; sweep < SWEEPS; sweep++) {  // order each row by its neighbours, down and up in turn
      const isDown = sweep % 2 === 0;
      for (const row of isDown ? rows : [...rows].reverse()) {
        const wanted = new Map(row.map((node) => [node, mean((isDown ? above : below)[node], order, order[node])]));
        row.sort((a, b) => wanted.get(a) - wanted.get(b));
        number(row);
      }
    }
    const wide = (node) => (node < count ? WIDE : BEND);
    rows.forEach((row, at) => { let left = 0; for (const node of row) { x[node] = left + wide(node) / 2; y[node] = at * (HIGH + BETWEEN); left += wide(node) + GAP; } });
    for (let sweep = 0; sweep < 2 * SWEEPS; sweep++) {  // move towards the neighbours, as far as there is room
      for (const row of sweep % 2 ? [...rows].reverse() : rows) {
        const wanted = row.map((node) => mean([...above[node], ...below[node]], x, x[node]));
        const room = (place) => (wide(row[place - 1]) + wide(row[place])) / 2 + GAP;
        const left = wanted.slice(), right = wanted.slice();
        for (let place = 1; place < row.length; place++) left[place] = Math.max(left[place], left[place - 1] + room(place));
        for (let place = row.length - 2; place >= 0; place--) right[place] = Math.min(right[place], right[place + 1] - room(place + 1));
        row.forEach((node, place) => { x[node] = (left[place] + right[place]) / 2; });
      }
    }
    const shift = x.reduce((least, at, node) => Math.min(least, at - wide(node) / 2), Infinity) - GAP;
    const width = x.reduce((most, at, node) => Math.max(most, at + wide(node) / 2), 0) - shift + GAP;
    return { x: x.map((at) => at - shift), y: y.map((at) => at + GAP), width, height: rows.length * (HIGH + BETWEEN) - BETWEEN + 2 * GAP };
  }

  // ---- drawing -------------------------------------------------------------------------------------------------
  function curve(points, x, y) {
    const at = points.map((node, place) => [x[node], y[node] + (place === 0 ? HIGH : place === points.length - 1 ? 0 : HIGH / 2)]);
    let path = `M${at[0][0].toFixed(1)},${at[0][1]}`;
    for (let place = 1; place < at.length; place++) {
      const [fromX, fromY] = at[place - 1], [toX, toY] = at[place], half = (toY - fromY) / 2;
      path += `C${fromX.toFixed(1)},${fromY + half} ${toX.toFixed(1)},${toY - half} ${toX.toFixed(1)},${toY}`;
    }
    const [[firstX, firstY], [thenX, thenY]] = at;
    return [path, (firstX + thenX) / 2, (firstY + thenY) / 2];
  }
  const told = (cost, isCounted) => (isCounted && cost.calls ? number(cost.calls) + " × · " : "") + time(cost.total);
  function drawEdge(edge, place, whole, isCounted) {
    const [path, x, y] = curve(edge.isTurned ? [...edge.points].reverse() : edge.points, place.x, place.y);
    const words = told(edge.cost, isCounted), half = 3.1 * words.length;
    const group = svg("g", { class: "edge" + (edge.cost.total < LEAST_LABEL * whole ? " slight" : ""), "data-ends": `${edge.caller} ${edge.callee}` });
    group.append(svg("path", { d: path, "stroke-width": (1 + 5 * Math.sqrt(edge.cost.total / whole)).toFixed(1), "marker-end": "url(#arrow)" }),
      svg("rect", { x: (x - half).toFixed(1), y: (y - 7).toFixed(1), width: 2 * half, height: 14, rx: 3 }), text(words, { x: x.toFixed(1), y: (y + 4).toFixed(1) }));
    const title = svg("title", {});
    title.textContent = `${F[edge.caller].name} → ${F[edge.callee].name}: ${words}`;
    group.append(title);
    return group;
  }
  function drawNode(label, cost, x, y, most, isCounted) {
    const it = F[label], left = x - WIDE / 2, shown = `${time(cost.total)} · own ${time(cost.self)}`;
    const group = svg("g", { class: "node" + (it.kind === ROUTE ? " route" : it.kind === LIBRARY ? " library" : ""), tabindex: 0, role: "button", "data-label": label,
      "aria-label": `${it.name} ${shown}` + (isCounted && cost.calls && it.kind !== ROUTE ? ", " + plural(cost.calls, "call") : "") });
    const heat = svg("rect", { x: left, y, width: WIDE, height: HIGH, rx: 7, class: "heat", "fill-opacity": (0.75 * Math.sqrt(cost.self / most)).toFixed(2) });
    group.append(svg("rect", { x: left, y, width: WIDE, height: HIGH, rx: 7 }), heat,
      text(cut(it.name, 23), { x, y: y + 19, class: "name" }), text(shown, { x, y: y + 36 }));
    const title = svg("title", {});
    title.textContent = [it.name, it.full, told(cost, isCounted && it.kind !== ROUTE) + " · own " + time(cost.self)].filter(Boolean).join("\n");
    group.append(title);
    const press = () => { mark(label); about.chosen(label); };
    group.addEventListener("click", press);
    group.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); press(); } });
    return group;
  }
  function mark(label) {
    for (const edge of stage.querySelectorAll(".edge")) edge.classList.toggle("near", edge.dataset.ends.split(" ").includes(String(label)));
    for (const node of stage.querySelectorAll(".node")) node.classList.toggle("chosen", node.dataset.label === String(label));
  }
  function show() {
    const { functions, edges, isCounted } = about.contents();
    const kept = [...functions.entries()].filter(([label, cost]) => cost.total > 0 && F[label].kind <= ROUTE)
      .sort((a, b) => b[1].total - a[1].total || b[1].self - a[1].self).slice(0, Number($("graph-most").value));
    const index = new Map(kept.map(([label], place) => [label, place]));
    const whole = kept.reduce((most, [, cost]) => Math.max(most, cost.total), 1), most = kept.reduce((sum, [, cost]) => Math.max(sum, cost.self), 1);
    const drawn = edges.filter(([caller, callee, cost]) => caller !== callee && index.has(caller) && index.has(callee) && cost.total >= LEAST_EDGE * whole)
      .sort((a, b) => b[2].total - a[2].total).map(([caller, callee, cost]) => ({ from: index.get(caller), to: index.get(callee), caller, callee, cost }));
    const directed = withoutCircles(kept.length, drawn), place = placed(kept.length, directed);
    size = [place.width, place.height];
    const arrow = svg("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 9, markerHeight: 9, markerUnits: "userSpaceOnUse", orient: "auto" }, svg("path", { d: "M0,0L8,4L0,8z" }));
    const picture = svg("svg", { role: "group", "aria-label": "Call graph of the hottest functions", viewBox: `0 0 ${size[0].toFixed(0)} ${size[1]}` }, svg("defs", {}, arrow));
    picture.append(...directed.map((edge) => drawEdge(edge, place, whole, isCounted)),
      ...kept.map(([label, cost], node) => drawNode(label, cost, place.x[node], place.y[node], most, isCounted)));
    stage.replaceChildren(picture);
    isFitted = true;
    fit();
    showTable(drawn, isCounted);
    $("graph-sum").textContent = `the ${kept.length} of ${plural(functions.size, "function")} with the most time` + (isCounted ? "; calls are exact" : "");
  }
  function showTable(edges, isCounted) {
    const head = el("tr", {}, ...["Caller", "Callee", ...(isCounted ? ["Calls"] : []), "Time"].map((words, at) => el("th", { scope: "col", text: words, className: at > 1 ? "n" : "" })));
    const name = (label) => el("td", {}, el("button", { className: "link name", type: "button", text: F[label].name, title: F[label].full, onclick: () => { mark(label); about.chosen(label); } }));
    $("graph-table").replaceChildren(el("thead", {}, head), el("tbody", {}, ...edges.map(({ caller, callee, cost }) =>
      el("tr", {}, name(caller), name(callee), isCounted ? el("td", { className: "n", text: cost.calls ? number(cost.calls) : "" }) : null, el("td", { className: "n", text: time(cost.total) })))));
  }

  // ---- zoom and pan --------------------------------------------------------------------------------------------
  function setScale(wanted) {
    const picture = stage.firstElementChild;
    if (!picture) return;
    const before = scale, middle = [(stage.scrollLeft + stage.clientWidth / 2) / before, (stage.scrollTop + stage.clientHeight / 2) / before];
    scale = Math.min(3, Math.max(0.15, wanted));
    picture.setAttribute("width", (size[0] * scale).toFixed(0));
    picture.setAttribute("height", (size[1] * scale).toFixed(0));
    stage.scrollTo(middle[0] * scale - stage.clientWidth / 2, middle[1] * scale - stage.clientHeight / 2);
  }
  function fit() { if (isFitted) setScale(Math.min(1, Math.max(0.55, stage.clientWidth / size[0]))); }
  const zoom = (by) => { isFitted = false; setScale(scale * by); };
  $("graph-in").addEventListener("click", () => zoom(1.25));
  $("graph-out").addEventListener("click", () => zoom(0.8));
  $("graph-fit").addEventListener("click", () => { isFitted = false; setScale(Math.min(stage.clientWidth / size[0], stage.clientHeight / size[1])); });
  $("graph-most").addEventListener("change", show);
  stage.addEventListener("wheel", (event) => { if (event.ctrlKey) { event.preventDefault(); zoom(event.deltaY < 0 ? 1.15 : 0.87); } }, { passive: false });
  let held = null;
  stage.addEventListener("pointerdown", (event) => { if (event.pointerType === "mouse" && event.button === 0) held = [event.clientX + stage.scrollLeft, event.clientY + stage.scrollTop]; });
  window.addEventListener("pointermove", (event) => { if (held) stage.scrollTo(held[0] - event.clientX, held[1] - event.clientY); });
  window.addEventListener("pointerup", () => { held = null; });
  new ResizeObserver(fit).observe(stage);
  return { show, mark };
}
