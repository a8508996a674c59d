"use strict";
// What the pages share: text made harmless, elements, numbers, the tables of functions, the theme. Nothing is fetched,
// stored or evaluated; all text is set as text.
const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const APP = 0, LIBRARY = 1, ROUTE = 2;

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

const digits = new Intl.NumberFormat("en");  // one for all: each toLocaleString would make its own
const number = (value) => digits.format(value);
function time(us) {
  if (us >= 1e6) return (us / 1e6).toFixed(us >= 1e8 ? 0 : us >= 1e7 ? 1 : 2) + " s";
  if (us >= 1000) return (us / 1000).toFixed(us >= 1e5 ? 0 : us >= 1e4 ? 1 : 2) + " ms";
  return Math.round(us) + " µs";
}
const percent = (part, whole) => (whole > 0 ? (100 * part) / whole : 0).toFixed(1) + " %";
const plural = (count, word) => number(count) + " " + word + (count === 1 ? "" : "s");

// ---- functions and paths, as both pages have them ------------------------------------------------------------
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
const fn = data.nodes.fn;
const parent = data.nodes.up.map((up, node) => (up ? node - up : -1));
const why = new Map(data.nodes.why.flatMap((reason, node) => (reason ? [[node, reason - 1]] : [])));
const routeOf = new Array(N);
const outermost = new Uint8Array(N);  // no caller further up is the same function: its total counts
for (let node = 0; node < N; node++) {
  routeOf[node] = parent[node] < 0 ? fn[node] : routeOf[parent[node]];
  let above = parent[node];
  while (above >= 0 && fn[above] !== fn[node]) above = parent[above];
  outermost[node] = above < 0 ? 1 : 0;
}

// ---- the theme, choices, the tooltip -------------------------------------------------------------------------
function colours(names) {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue("--" + name).trim()]));
}
function followScheme(redraw) {
  const scheme = window.matchMedia("(prefers-color-scheme: dark)");
  let picked = false;
  const set = (dark) => {
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    $("theme").setAttribute("aria-pressed", String(dark));
    redraw();
  };
  scheme.addEventListener("change", () => { if (!picked) set(scheme.matches); });
  $("theme").addEventListener("click", () => { picked = true; set(document.documentElement.dataset.theme !== "dark"); });
  set(scheme.matches);
  // Paper is light.
  let before = false;
  window.addEventListener("beforeprint", () => { before = document.documentElement.dataset.theme === "dark"; set(false); });
  window.addEventListener("afterprint", () => set(before));
}
function options(select, first, items) {
  select.append(el("option", { value: "-1", text: first }), ...items.map(([value, text]) => el("option", { value, text })));
  select.disabled = items.length < 2;
}
// A list of the first of many: how many more there are stands at its end.
const firstOf = (rows, most, item) => el("ul", {}, ...rows.slice(0, most).map(item), rows.length > most ? el("li", { className: "muted", text: `and ${number(rows.length - most)} more` }) : null);
// The rows of a long table that are shown, few until all are asked for, and what to say of the others.
const MOST_ROWS = 2000;
function fewOf(rows, few, state, show) {
  const most = state.all ? MOST_ROWS : few;
  if (rows.length <= most) return [rows, []];
  const all = el("button", { className: "link", type: "button", text: "show all", onclick: () => { state.all = true; show(); } });
  return [rows.slice(0, most), [` · showing ${number(most)}`, ...(state.all ? [] : [" · ", all])]];
}
// What makes the heads of a table's columns: pressed, they sort by their key, and again the other way around.
const sortedBy = (state, show) => (text, key, isNumber) => {
  const sorted = state.sort === key ? (state.down ? " ↓" : " ↑") : "";
  const press = () => { state.down = state.sort === key ? !state.down : true; state.sort = key; show(); };
  const cell = el("th", { className: isNumber ? "n" : "", scope: "col" }, el("button", { type: "button", text: text + sorted, onclick: press }));
  if (sorted) cell.setAttribute("aria-sort", state.down ? "descending" : "ascending");
  return cell;
};
function chosenBy(name, change) {
  for (const radio of document.getElementsByName(name)) radio.addEventListener("change", () => change(radio.value));
}
function showTip(event, ...lines) {
  const tip = $("tip");
  tip.replaceChildren(...lines.filter(Boolean));
  tip.hidden = false;
  const x = Math.min(event.clientX + 14, window.innerWidth - tip.offsetWidth - 8);
  const y = event.clientY + 18 + tip.offsetHeight > window.innerHeight ? event.clientY - tip.offsetHeight - 10 : event.clientY + 18;
  tip.style.left = Math.max(8, x) + "px";
  tip.style.top = Math.max(8, y) + "px";
}
const hideTip = () => { $("tip").hidden = true; };
