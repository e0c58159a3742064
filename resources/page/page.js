// Makes the tables sortable and fills the browser of examples. Tables and figures are visible without this script.
"use strict";

const PAGE_SIZE = 25;
// What is shown in place of the language for verdicts that name none.
const NO_LANGUAGE = { x: "empty", n: "no words" };
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
  const url = URL.createObjectURL(source);
  const { ITable, set_or_remove_dark_class: matchColorScheme } = await import(url);
  URL.revokeObjectURL(url);
  matchColorScheme();
  for (const table of document.querySelectorAll("table.scores")) {
    new ITable(table, { paging: false, searching: false, info: false, order: [], autoWidth: false, layout: { topStart: null, topEnd: null, bottomStart: null, bottomEnd: null } });
  }
  document.documentElement.dataset.sortable = "yes";
}

function setOptions(select, entries) {
  const selected = select.value;
  select.replaceChildren(...entries.map(([value, label]) => new Option(label, value)));
  if (entries.some(([value]) => value === selected)) select.value = selected;
}

function fillFilters() {
  const experiment = experiments[fields.experiment.value || 0];
  const kinds = [...new Set(experiment.directions.map((direction) => direction.supervision))];
  setOptions(fields.direction, [
    ["", "all"],
    ...kinds.map((kind) => [kind, `all ${kind}`]),
    ...experiment.directions.map((direction) => [direction.name, `${direction.name} (${direction.supervision})`]),
  ]);
  setOptions(fields.system, [["", "any"], ...experiment.systems.map((system, number) => [String(number), system])]);
}

function searchableTexts(direction) {
  // The lower-case text of each example; computed only once, at the first search.
  direction.texts ??= direction.source.map((text, line) =>
    [text, direction.reference[line], ...direction.outputs.map((lines) => lines[line])].join("\n").toLowerCase());
  return direction.texts;
}

function hasVerdict(verdicts, line, system, selected) {
  const matches = (verdict) => selected === "off" ? verdict !== "t" : verdict === selected;
  return system === "" ? verdicts.some((ofOneSystem) => matches(ofOneSystem[line])) : matches(verdicts[system][line]);
}

function filter() {
  const experiment = experiments[fields.experiment.value];
  const verdict = fields.verdict.value;
  const search = fields.search.value.trim().toLowerCase();
  found = [];
  for (const direction of experiment.directions) {
    const selected = fields.direction.value;
    if (selected && selected !== direction.name && selected !== direction.supervision) continue;
    const texts = search ? searchableTexts(direction) : null;
    for (let line = 0; line < direction.source.length; line++) {
      if (verdict && !hasVerdict(direction.verdicts, line, fields.system.value, verdict)) continue;
      if (search && !texts[line].includes(search)) continue;
      found.push([direction, line]);
    }
  }
  start = 0;
  show();
}

function appendWithHits(element, text, search) {
  const lower = text.toLowerCase();
  let from = 0;
  // The lower-case text may be longer than the text (İ). Then positions differ, and no hit is marked.
  for (let at = lower.indexOf(search); search && lower.length === text.length && at >= 0; at = lower.indexOf(search, from)) {
    element.append(text.slice(from, at));
    const hit = document.createElement("mark");
    hit.textContent = text.slice(at, at + search.length);
    element.append(hit);
    from = at + search.length;
  }
  element.append(text.slice(from));
}

function appendText(list, name, language, verdict, text, search, given) {
  const term = document.createElement("dt");
  term.textContent = name;
  const label = document.createElement("dd");
  label.className = "language";
  const badge = document.createElement("span");
  const off = verdict !== "t";
  badge.className = off ? "badge off" : "badge";
  badge.textContent = (off ? "✗ " : "✓ ") + (NO_LANGUAGE[verdict] || language || "unknown");
  badge.title = off ? "not the target language" : "target language";
  if (language !== null) label.append(badge);
  const shown = document.createElement("dd");
  shown.className = "text";
  if (language && !NO_LANGUAGE[verdict]) shown.lang = language;
  appendWithHits(shown, text, search);
  if (given) for (const element of [term, label, shown]) element.classList.add("given");
  list.append(term, label, shown);
}

function makeCard([direction, line], systems, search) {
  const article = document.createElement("article");
  article.className = "card";
  const title = document.createElement("h4");
  title.textContent = `${direction.name}, line ${line + 1}`;
  const list = document.createElement("dl");
  appendText(list, "source", null, "", direction.source[line], search, true);
  appendText(list, "reference", null, "", direction.reference[line], search, true);
  systems.forEach((system, number) => {
    const verdict = direction.verdicts[number][line];
    appendText(list, system, direction.labels[number][line], verdict, direction.outputs[number][line], search, false);
  });
  article.append(title, list);
  return article;
}

function show() {
  const { systems } = experiments[fields.experiment.value];
  const search = fields.search.value.trim().toLowerCase();
  const selected = fields.system.value;
  const end = Math.min(start + PAGE_SIZE, found.length);
  cards.replaceChildren(...found.slice(start, end).map((example) => makeCard(example, systems, search)));
  if (selected !== "") {
    for (const term of cards.querySelectorAll("dt")) {
      if (term.textContent === systems[selected]) term.style.fontWeight = "700";
    }
  }
  const format = (number) => number.toLocaleString("en");
  count.textContent = found.length
    ? `${format(start + 1)}–${format(end)} of ${format(found.length)} examples` : "No examples match; change the filters.";
  previous.disabled = start === 0;
  next.disabled = end === found.length;
}

function turnPage(step) {
  const target = start + step * PAGE_SIZE;
  if (target < 0 || target >= found.length) return;
  start = target;
  show();
  document.getElementById("examples").scrollIntoView();
}

form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", (event) => {
  if (event.target === fields.experiment) fillFilters();
  filter();
});
previous.addEventListener("click", () => turnPage(-1));
next.addEventListener("click", () => turnPage(1));
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  if (event.key === "/") {
    event.preventDefault();
    fields.search.focus();
  }
  if (event.key === "n") turnPage(1);
  if (event.key === "p") turnPage(-1);
});

// Start after the first paint, so that tables and figures are readable while the examples are unpacked.
requestAnimationFrame(() => setTimeout(async () => {
  await makeTablesSortable();
  experiments = JSON.parse(await unpack("data"));
  setOptions(fields.experiment, experiments.map((experiment, number) => [String(number), experiment.name]));
  fillFilters();
  filter();
  document.documentElement.dataset.ready = "yes";
}));
