// The page without it shows every table and figure; this makes tables sortable and fills the browser of examples.
"use strict";

const PAGE = 25;
const cards = document.getElementById("cards");
const count = document.getElementById("count");
const form = document.getElementById("filters");
const previous = document.getElementById("previous");
const next = document.getElementById("next");
const fields = form.elements;
let experiments = [];
let found = [];
let start = 0;

async function unpack(id) {
  const text = atob(document.getElementById(id).textContent);
  const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

async function makeTablesSortable() {
  const source = new Blob([await unpack("library")], { type: "text/javascript" });
  const address = URL.createObjectURL(source);
  const { ITable, set_or_remove_dark_class: matchScheme } = await import(address);
  URL.revokeObjectURL(address);
  matchScheme();
  for (const table of document.querySelectorAll("table.figures")) {
    new ITable(table, { paging: false, searching: false, info: false, order: [], autoWidth: false, layout: { topStart: null, topEnd: null, bottomStart: null, bottomEnd: null } });
  }
  document.documentElement.dataset.sortable = "yes";
}

function options(select, entries) {
  const kept = select.value;
  select.replaceChildren(...entries.map(([value, label]) => new Option(label, value)));
  if (entries.some(([value]) => value === kept)) select.value = kept;
}

function fillFilters() {
  const its = experiments[fields.experiment.value || 0];
  const kinds = [...new Set(its.directions.map((direction) => direction.supervision))];
  options(fields.direction, [
    ["", "all"],
    ...kinds.map((kind) => [kind, `all ${kind}`]),
    ...its.directions.map((direction) => [direction.name, `${direction.name} (${direction.supervision})`]),
  ]);
  options(fields.system, [["", "any"], ...its.systems.map((system, number) => [String(number), system])]);
}

function searchable(direction) {
  // Made once, when somebody first searches: lower case of everything an example shows.
  direction.texts ??= direction.source.map((text, line) =>
    [text, direction.reference[line], ...direction.outputs.map((lines) => lines[line])].join("\n").toLowerCase());
  return direction.texts;
}

function matches(verdicts, line, system, wanted) {
  const fits = (verdict) => wanted === "off" ? verdict !== "t" : verdict === wanted;
  return system === "" ? verdicts.some((its) => fits(its[line])) : fits(verdicts[system][line]);
}

function filter() {
  const its = experiments[fields.experiment.value];
  const wanted = fields.verdict.value;
  const search = fields.search.value.trim().toLowerCase();
  found = [];
  for (const direction of its.directions) {
    const chosen = fields.direction.value;
    if (chosen && chosen !== direction.name && chosen !== direction.supervision) continue;
    const texts = search ? searchable(direction) : null;
    for (let line = 0; line < direction.source.length; line++) {
      if (wanted && !matches(direction.verdicts, line, fields.system.value, wanted)) continue;
      if (search && !texts[line].includes(search)) continue;
      found.push([direction, line]);
    }
  }
  start = 0;
  show();
}

function withHits(element, text, search) {
  const lower = text.toLowerCase();
  let from = 0;
  // Lower case may be longer than the text (İ): then no hit is shown rather than a wrong one.
  for (let at = lower.indexOf(search); search && lower.length === text.length && at >= 0; at = lower.indexOf(search, from)) {
    element.append(text.slice(from, at));
    const hit = document.createElement("mark");
    hit.textContent = text.slice(at, at + search.length);
    element.append(hit);
    from = at + search.length;
  }
  element.append(text.slice(from));
}

function entry(list, name, language, off, text, search, given) {
  const term = document.createElement("dt");
  term.textContent = name;
  const label = document.createElement("dd");
  label.className = "language";
  const badge = document.createElement("span");
  badge.className = off ? "badge off" : "badge";
  badge.textContent = (off ? "✗ " : "✓ ") + (language || "empty");
  badge.title = off ? "not the language asked for" : "the language asked for";
  if (language !== null) label.append(badge);
  const shown = document.createElement("dd");
  shown.className = "text";
  if (language) shown.lang = language;
  withHits(shown, text, search);
  if (given) for (const element of [term, label, shown]) element.classList.add("given");
  list.append(term, label, shown);
}

function card([direction, line], systems, search) {
  const article = document.createElement("article");
  article.className = "card";
  const title = document.createElement("h4");
  title.textContent = `${direction.name}, line ${line + 1}`;
  const list = document.createElement("dl");
  entry(list, "source", null, false, direction.source[line], search, true);
  entry(list, "reference", null, false, direction.reference[line], search, true);
  systems.forEach((system, number) => {
    const off = direction.verdicts[number][line] !== "t";
    entry(list, system, direction.labels[number][line], off, direction.outputs[number][line], search, false);
  });
  article.append(title, list);
  return article;
}

function show() {
  const { systems } = experiments[fields.experiment.value];
  const search = fields.search.value.trim().toLowerCase();
  const chosen = fields.system.value;
  const end = Math.min(start + PAGE, found.length);
  cards.replaceChildren(...found.slice(start, end).map((example) => card(example, systems, search)));
  if (chosen !== "") {
    for (const term of cards.querySelectorAll("dt")) {
      if (term.textContent === systems[chosen]) term.style.fontWeight = "700";
    }
  }
  const number = (value) => value.toLocaleString("en");
  count.textContent = found.length
    ? `${number(start + 1)}–${number(end)} of ${number(found.length)} examples` : "No example fits; loosen a filter.";
  previous.disabled = start === 0;
  next.disabled = end === found.length;
}

function turn(step) {
  const to = start + step * PAGE;
  if (to < 0 || to >= found.length) return;
  start = to;
  show();
  document.getElementById("examples").scrollIntoView();
}

form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", (event) => {
  if (event.target === fields.experiment) fillFilters();
  filter();
});
previous.addEventListener("click", () => turn(-1));
next.addEventListener("click", () => turn(1));
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  if (event.key === "/") {
    event.preventDefault();
    fields.search.focus();
  }
  if (event.key === "n") turn(1);
  if (event.key === "p") turn(-1);
});

// After the first paint: tables and figures are readable while the rest unpacks.
requestAnimationFrame(() => setTimeout(async () => {
  await makeTablesSortable();
  experiments = JSON.parse(await unpack("data"));
  options(fields.experiment, experiments.map((its, number) => [String(number), its.name]));
  fillFilters();
  filter();
  document.documentElement.dataset.ready = "yes";
}));
