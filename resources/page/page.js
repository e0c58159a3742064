// Makes the tables sortable, fills the browser of examples, and shows the tables and examples of the selected seed. Tables
// of means over seeds and figures are visible without this script.
"use strict";

const PAGE_SIZE = 25;
// The run of systems on the untrained base model, which belongs to every seed.
const SHARED = "shared";
// What is shown in place of the language for verdicts that name none.
const NO_LANGUAGE = { x: "empty", n: "no words" };
const cards = document.getElementById("cards");
const count = document.getElementById("count");
const form = document.getElementById("filters");
const previous = document.getElementById("previous");
const next = document.getElementById("next");
const fields = form.elements;
// The selected seed, or an empty text for the means over seeds; null on pages with fewer than two seeds.
const picker = document.getElementById("seeds")?.elements.seed ?? null;
const packs = new Map();
// Packed data and scripts from the folder of examples beside the page, which only pages with many examples have.
const packed = new Map();
const scripts = new Map();
const sortable = new Map();
let experiments = [];
// The directions of the selected experiment, with the texts and the outputs that are shown.
let directions = [];
let requests = 0;
let found = [];
let start = 0;

function decodeBase64(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  // A loop: `Uint8Array.from` with a function for each character takes twenty times as long.
  for (let position = 0; position < text.length; position++) bytes[position] = text.charCodeAt(position);
  return bytes;
}

async function unpack(id) {
  const bytes = decodeBase64(packed.get(id) ?? document.getElementById(id).textContent);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

// Called by the scripts in the folder of examples.
function addPacks(found) {
  for (const [name, text] of Object.entries(found)) packed.set(name, text);
}

// A page that is opened from a folder may load scripts from there, but may not read files.
function loadScript(address) {
  if (!scripts.has(address)) scripts.set(address, new Promise((resolve) => {
    const script = document.createElement("script");
    script.src = address;
    script.onload = () => resolve(true);
    script.onerror = () => {
      // It is tried again when it is selected again.
      scripts.delete(address);
      resolve(false);
    };
    document.head.append(script);
  }));
  return scripts.get(address);
}

// Each pack is unpacked when it is first needed, so that the page does not become slower with each seed.
function load(name) {
  if (!packs.has(name)) packs.set(name, unpack(name).then(JSON.parse));
  return packs.get(name);
}

async function makeTablesSortable() {
  const source = new Blob([await unpack("library")], { type: "text/javascript" });
  const url = URL.createObjectURL(source);
  const { ITable, set_or_remove_dark_class: matchColorScheme } = await import(url);
  URL.revokeObjectURL(url);
  matchColorScheme();
  for (const table of document.querySelectorAll("table.scores")) {
    const { dt } = new ITable(table, { paging: false, searching: false, info: false, order: [], autoWidth: false, layout: { topStart: null, topEnd: null, bottomStart: null, bottomEnd: null } });
    sortable.set(table, dt);
  }
  document.documentElement.dataset.sortable = "yes";
}

function setText(element, text) {
  element.textContent = text;
  element.hidden = !text;
}

// As in page.html.j2, which has the first content of every cell.
function showCell(element, cell) {
  const text = cell.best ? document.createElement("strong") : document.createTextNode(cell.text);
  if (cell.best) text.textContent = cell.text;
  element.replaceChildren(text, cell.mark);
  if (cell.spread) {
    const spread = document.createElement("span");
    spread.className = "spread";
    spread.textContent = ` ${cell.spread}`;
    element.append(spread);
  }
  element.dataset.order = cell.value;
  element.classList.toggle("text", cell.is_text);
  element.title = cell.hint;
}

function showTables({ tables, notes }) {
  document.getElementById("notes").replaceChildren(...notes.map((text) => {
    const note = document.createElement("p");
    note.className = "note";
    note.textContent = text;
    return note;
  }));
  const shown = [...sortable];
  tables.forEach((content, number) => {
    const [table, dt] = shown[number];
    const region = table.closest(".scroll");
    setText(region.previousElementSibling, content.remark);
    setText(region.nextElementSibling, content.note);
    content.rows.forEach((row, position) => {
      // The library knows each row by its first position, whatever the table is sorted by.
      const elements = dt.row(position).node().querySelectorAll("td");
      row.cells.forEach((cell, column) => showCell(elements[column], cell));
    });
    dt.rows().invalidate("dom").draw();
  });
}

async function selectSeed() {
  const seed = picker.value;
  const tables = await load(`tables-${seed || "mean"}`);
  // Another seed may have been selected while this one was unpacked.
  if (seed !== picker.value) return;
  showTables(tables);
  document.querySelector("#seeds .note").textContent = seed
    ? `Tables and examples: seed ${seed}.` : "Tables: means over seeds. Examples: one seed.";
  await loadExamples();
}

function setOptions(select, entries) {
  const selected = select.value;
  select.replaceChildren(...entries.map(([value, label]) => new Option(label, value)));
  if (entries.some(([value]) => value === selected)) select.value = selected;
}

function fillFilters() {
  const experiment = experiments[fields.experiment.value];
  const kinds = [...new Set(experiment.directions.map((direction) => direction.supervision))];
  // Examples beside the page are loaded one direction at a time.
  const groups = experiment.folder ? [] : [["", "all"], ...kinds.map((kind) => [kind, `all ${kind}`])];
  setOptions(fields.direction, [
    ...groups,
    ...experiment.directions.map((direction) => [direction.name, `${direction.name} (${direction.supervision})`]),
  ]);
  setOptions(fields.system, [["", "any"], ...experiment.systems.map((system, number) => [String(number), system])]);
}

async function loadExamples() {
  const number = fields.experiment.value;
  const experiment = experiments[number];
  const selected = picker?.value ?? "";
  const seed = experiment.seeds.includes(selected) ? selected : experiment.seeds[0];
  const request = ++requests;
  const runs = experiment.runs.filter((run) => run === seed || run === SHARED);
  let name = number;
  let shown = experiment.directions;
  if (experiment.folder) {
    const position = shown.findIndex((direction) => direction.name === fields.direction.value);
    const address = [...experiment.folder, `${shown[position].name}.js`].map(encodeURIComponent).join("/");
    const isLoaded = await loadScript(address);
    if (request !== requests) return;
    if (!isLoaded) {
      directions = found = [];
      showNothing(`There is no file ${address} beside this page; open the page in its results folder.`);
      return;
    }
    name = `${number}-${position}`;
    shown = [shown[position]];
  }
  const [texts, ...outputs] = await Promise.all([`texts-${name}`, ...runs.map((run) => `outputs-${name}-${run}`)].map(load));
  // Another experiment, direction or seed may have been selected while this one was unpacked.
  if (request !== requests) return;
  const ofSystems = new Map(outputs.flat());
  const ofSystem = (position, part) => experiment.systems.map((system) => ofSystems.get(system)[position][part]);
  directions = shown.map((direction, position) => ({
    ...direction,
    source: texts[position][0],
    reference: texts[position][1],
    outputs: ofSystem(position, 0),
    labels: ofSystem(position, 1),
    verdicts: ofSystem(position, 2),
  }));
  describeRun(experiment, selected, seed);
  filter();
}

function describeRun(experiment, selected, seed) {
  const element = document.getElementById("run");
  if (!picker || !seed) {
    element.hidden = true;
    return;
  }
  let remark = "";
  if (selected && selected !== seed) remark = ` No run of this experiment has the seed ${selected}.`;
  else if (!selected && experiment.seeds.length > 1) remark = " Select a training seed above to see those of another.";
  setText(element, `Outputs of seed ${seed}.${remark}`);
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
  // While the first examples are unpacked, there is nothing to filter.
  if (!directions.length) return;
  const verdict = fields.verdict.value;
  const search = fields.search.value.trim().toLowerCase();
  found = [];
  for (const direction of directions) {
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

function showNothing(text) {
  cards.replaceChildren();
  count.textContent = text;
  previous.disabled = next.disabled = true;
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
  // Before the first examples are there, there are no experiments.
  const folder = experiments[fields.experiment.value]?.folder;
  if (event.target === fields.experiment) {
    fillFilters();
    loadExamples();
  } else if (folder && event.target === fields.direction) {
    loadExamples();
  } else {
    filter();
  }
});
picker?.form.addEventListener("submit", (event) => event.preventDefault());
picker?.addEventListener("input", selectSeed);
previous.addEventListener("click", () => turnPage(-1));
next.addEventListener("click", () => turnPage(1));
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  if (event.key === "/") {
    event.preventDefault();
    fields.search.focus();
  }
  if (event.key === "s" && picker) {
    event.preventDefault();
    picker.focus();
  }
  if (event.key === "n") turnPage(1);
  if (event.key === "p") turnPage(-1);
});

// Start after the first paint, so that tables and figures are readable while the examples are unpacked.
requestAnimationFrame(() => setTimeout(async () => {
  await makeTablesSortable();
  experiments = await load("experiments");
  setOptions(fields.experiment, experiments.map((experiment, number) => [String(number), experiment.name]));
  fillFilters();
  await loadExamples();
  if (picker) picker.disabled = false;
  document.documentElement.dataset.ready = "yes";
}));
