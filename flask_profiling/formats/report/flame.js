// A flame graph on a canvas: boxes, zoom, search, mouse and keys. An item is {fn, above, total, map, kids, why}; what it
// is called, looks like and says, `about` knows: titleOf, labelOf, colourOf, told, tipOf, chosen, searched.
function flameGraph(about) {
  const ROW = 21, NARROWEST = 0.5, TALLEST = 8000;
  const canvas = $("flame"), stage = $("stage"), pen = canvas.getContext("2d");
  const graph = { root: null, zoom: null, hits: null, children, pathOf, branch, below, show, draw, search, zoomTo, choose, recolour };
  let selected = null, boxes = [], letter = 7.2, palette = {};

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
  function pathOf(item) { const path = []; for (let at = item; at; at = at.above) path.unshift(at); return path; }

  function recolour() {
    palette = colours(["card", "focus", "dim"]);
    const tile = document.createElement("canvas");
    tile.width = tile.height = 8;
    const hatch = tile.getContext("2d");
    hatch.strokeStyle = palette.card;
    hatch.globalAlpha = 0.5;
    hatch.lineWidth = 1.6;
    for (const shift of [-8, 0, 8]) { hatch.beginPath(); hatch.moveTo(shift, 8); hatch.lineTo(shift + 8, 0); hatch.stroke(); }
    palette.hatch = pen.createPattern(tile, "repeat");
    if (graph.root) draw();
  }
  function layOut() {
    const width = stage.clientWidth;
    boxes = [];
    const above = pathOf(graph.zoom).slice(0, -1);
    above.forEach((item, row) => boxes.push({ item, x: 0, width, row, isAbove: true }));
    const waiting = [{ item: graph.zoom, x: 0, width, row: above.length }];
    const scale = width / (graph.zoom.total || 1);
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
      pen.strokeStyle = palette.focus;
      pen.lineWidth = 2;
      pen.strokeRect(chosen.x + 1, chosen.row * ROW + 1, Math.max(chosen.width - 2, 1), ROW - 3);
    }
  }
  function drawBox(box) {
    const { item, x, width } = box, y = box.row * ROW;
    const [fill, ink] = about.colourOf(item);
    pen.globalAlpha = box.isAbove ? 0.55 : graph.hits && item.fn >= 0 && !graph.hits[item.fn] ? Number(palette.dim) : 1;
    pen.fillStyle = fill;
    const wide = Math.max(width - (width > 2 ? 1 : 0), 0.5);
    pen.beginPath();
    if (pen.roundRect && wide > 6) pen.roundRect(x, y, wide, ROW - 1, 3); else pen.rect(x, y, wide, ROW - 1);
    pen.fill();
    if (item.why >= 0) { pen.fillStyle = palette.hatch; pen.fill(); }
    const text = fitted(about.labelOf(item), wide);
    if (text) { pen.fillStyle = ink; pen.direction = "ltr"; pen.fillText(text, x + 5, y + ROW / 2); }
    pen.globalAlpha = 1;
  }
  function at(event) {
    const area = canvas.getBoundingClientRect();
    const x = event.clientX - area.left, row = Math.floor((event.clientY - area.top) / ROW);
    return boxes.find((box) => box.row === row && x >= box.x && x < box.x + Math.max(box.width, 2)) || null;
  }
  function choose(item, scroll) {
    selected = item;
    $("said").textContent = about.titleOf(item) + ", " + about.told(item);
    if (item.fn >= 0) about.chosen(item.fn);
    draw();
    const box = boxes.find((one) => one.item === item);
    if (scroll && box) {
      const y = box.row * ROW;
      if (y < stage.scrollTop) stage.scrollTop = y; else if (y + ROW > stage.scrollTop + stage.clientHeight) stage.scrollTop = y + ROW - stage.clientHeight;
    }
  }
  function zoomTo(item) {
    graph.zoom = item;
    stage.scrollTop = 0;
    const path = pathOf(item);
    $("crumbs").replaceChildren(...path.flatMap((step, place) => [
      place ? " › " : "", el("button", { className: "link", type: "button", text: about.titleOf(step), onclick: () => { zoomTo(step); choose(step, true); } })]));
    $("crumbs").hidden = $("reset").hidden = path.length < 2;
    sum();
    draw();
  }
  function sum() {
    const { zoom, root, hits } = graph;
    let text = time(zoom.total) + " in " + (zoom === root ? "all" : about.titleOf(zoom));
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
  // Show another tree; what was zoomed into stays, as far as it is there.
  function show(root, keepsZoom) {
    const kept = graph.zoom && keepsZoom ? pathOf(graph.zoom).slice(1).map((item) => item.fn) : [];
    graph.root = root;
    let item = root;
    for (const label of kept) { const next = item.map.get(label); if (!next || !next.total) break; item = next; }
    selected = null;
    zoomTo(item);
  }
  function move(key) {
    const item = selected || graph.zoom;
    if (!selected) return choose(item, true);
    if (key === "ArrowDown") return children(item).length ? choose(children(item)[0], true) : undefined;
    if (key === "ArrowUp") return item.above ? choose(item.above, true) : undefined;
    const among = item.above ? children(item.above) : [item];
    const next = among[among.indexOf(item) + (key === "ArrowRight" ? 1 : -1)];
    return next ? choose(next, true) : undefined;
  }
  function back() {
    if (graph.hits) { $("search").value = ""; search(""); return; }
    if (graph.zoom !== graph.root) { const left = graph.zoom; zoomTo(left.above); choose(left, true); }
  }
  function search(text) {
    const query = text.trim().toLowerCase();
    graph.hits = query ? F.map((item) => item.text.includes(query)) : null;
    sum();
    draw();
    about.searched();
  }
  function nextHit() {
    const found = boxes.filter((box) => !box.isAbove && box.item.fn >= 0 && graph.hits && graph.hits[box.item.fn]).sort((a, b) => b.width - a.width);
    if (!found.length) return;
    const place = found.findIndex((box) => box.item === selected);
    choose(found[(place + 1) % found.length].item, true);
  }

  $("search").addEventListener("input", (event) => search(event.target.value));
  $("search").addEventListener("keydown", (event) => {
    if (event.key === "Enter") { event.preventDefault(); nextHit(); }
    if (event.key === "Escape") { event.preventDefault(); back(); canvas.focus(); }
  });
  $("reset").addEventListener("click", () => { zoomTo(graph.root); canvas.focus(); });
  canvas.addEventListener("pointermove", (event) => { const box = at(event); if (box && event.pointerType !== "touch") showTip(event, ...about.tipOf(box.item)); else hideTip(); });
  canvas.addEventListener("pointerleave", hideTip);
  canvas.addEventListener("click", (event) => { const box = at(event); if (!box) return; hideTip(); zoomTo(box.item); choose(box.item, false); });
  canvas.addEventListener("keydown", (event) => {
    if (event.key.startsWith("Arrow")) { event.preventDefault(); move(event.key); }
    if (event.key === "Enter" && selected) { event.preventDefault(); zoomTo(selected); choose(selected, true); }
    if (event.key === "Escape") { event.preventDefault(); back(); }
  });
  document.addEventListener("keydown", (event) => {
    const isTyping = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "checkbox" && event.target.type !== "radio";
    if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey) { event.preventDefault(); $("search").focus(); $("search").select(); }
  });
  new ResizeObserver(() => { if (graph.root) draw(); }).observe(stage);
  return graph;
}
