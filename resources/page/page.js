// Makes the tables sortable, fills the browser of examples, and shows the tables and examples of the selected seed. Tables
// of means over seeds and figures are visible without this script. The address of the page has all filters and the selected
// seed, so that a view can be reloaded and shared, and the browser's button leads back to the view before.
"use strict";

const PAGE_SIZE = 25;
// The run of systems on the untrained base model, which belongs to every seed.
const SHARED = "shared";
// Filters of the output language: of one or any system, by the letter of the verdict; and of two systems that are compared.
const VERDICTS = [
  ["", "any"], ["off", "any but the target language"], ["t", "target language"], ["s", "source language"], ["e", "English"],
  ["o", "other language"], ["x", "none (empty line)"], ["n", "none (no words)"],
];
const PAIR_VERDICTS = {
  "": () => "any", "off-on": (first, second) => `${first} off target, ${second} on target`,
  "on-off": (first, second) => `${first} on target, ${second} off target`, "off-off": () => "both off target",
  "on-on": () => "both on target",
};
// Lines of more words than these are compared as a whole, since comparing all pairs of words would take too long.
const WORDS_TO_COMPARE = 2000;
// What is shown in place of the language for verdicts that name none.
const NO_LANGUAGE = { x: "empty", n: "no words" };
const cards = document.getElementById("cards");
const count = document.getElementById("count");
const form = document.getElementById("filters");
const previous = document.getElementById("previous");
const next = document.getElementById("next");
const fields = form.elements;
const pairButton = document.getElementById("pair");
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
let scorings = 0;
let found = [];
let start = 0;
// The selected system and the query of the address, as they were before the last change.
let formerSystem = "";
let formerQuery = location.search;
// The field that was changed last, so that typing a search is one step back and not one per letter.
let lastChanged = null;

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
  if (cell.interval) {
    const interval = document.createElement("span");
    interval.className = "interval";
    interval.textContent = ` ${cell.interval}`;
    element.append(interval);
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

async function selectSeed(position = 0) {
  const seed = picker.value;
  const tables = await load(`tables-${seed || "mean"}`);
  // Another seed may have been selected while this one was unpacked.
  if (seed !== picker.value) return;
  showTables(tables);
  document.querySelector("#seeds .note").textContent = seed
    ? `Tables and examples: seed ${seed}.` : "Tables: means over seeds. Examples: one seed.";
  await loadExamples(position);
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
  setOptions(fields.system, [["", "all"], ...experiment.systems.map((system, number) => [String(number), system])]);
  fillPair();
}

// The filters that depend on the selected system.
function fillPair() {
  const { systems, pair } = experiments[fields.experiment.value];
  const first = fields.system.value;
  // A single system is compared with nothing.
  const others = systems.map((system, number) => [String(number), system]).filter(([number]) => pair.length && number !== first);
  setOptions(fields.compare, [["", "none"], ...others]);
  if (first === "") fields.compare.value = "";
  const second = fields.compare.value;
  setOptions(fields.verdict, second === "" ? VERDICTS
    : Object.entries(PAIR_VERDICTS).map(([value, label]) => [value, label(systems[first], systems[second])]));
  pairButton.textContent = second === "" ? `Compare ${pair[0]} with ${pair[1]}` : "Show all systems";
  pairButton.parentElement.hidden = !pair.length;
  formerSystem = first;
  for (const select of [fields.experiment, fields.compare]) select.parentElement.hidden = select.options.length < 2;
}

// Two systems are first compared where the method helps: the first one is off target, the second one is not.
function startPair(first, second) {
  const experiment = experiments[fields.experiment.value];
  const direction = experiment.directions.find(({ supervision }) => supervision === "zero-shot") ?? experiment.directions[0];
  fields.system.value = first;
  fillPair();
  fields.compare.value = second;
  fillPair();
  fields.verdict.value = "off-on";
  fields.search.value = "";
  fields.direction.value = direction.name;
}

async function togglePair() {
  const { systems, pair } = experiments[fields.experiment.value];
  if (fields.compare.value === "") {
    startPair(...pair.map((system) => String(systems.indexOf(system))));
  } else {
    fields.system.value = "";
    fillPair();
    fields.verdict.value = "";
  }
  await loadExamples();
  writeAddress();
}

function choose(select, value) {
  const values = [...select.options].map((option) => option.value);
  select.value = values.includes(value) ? value : values[0];
}

// The line that the address names after `#`, such as `it-nl-17`.
function linkedLine() {
  const [, name, number] = /^#(.+)-([1-9]\d*)$/.exec(location.hash) ?? [];
  const isKnown = experiments[fields.experiment.value].directions.some((direction) => direction.name === name);
  return isKnown ? { name, line: Number(number) - 1 } : null;
}

// Fills all filters from the address and shows what they select.
async function readAddress() {
  formerQuery = location.search;
  lastChanged = null;
  const query = new URLSearchParams(location.search);
  const numberOf = (name) => String(experiments[fields.experiment.value].systems.indexOf(query.get(name)));
  choose(fields.experiment, String(experiments.findIndex(({ name }) => name === query.get("experiment"))));
  fillFilters();
  choose(fields.direction, query.get("direction") ?? (experiments[fields.experiment.value].folder ? linkedLine()?.name : ""));
  choose(fields.system, numberOf("system"));
  fillPair();
  if (fields.system.value !== "") choose(fields.compare, numberOf("compare"));
  fillPair();
  choose(fields.verdict, query.get("verdict"));
  fields.search.value = query.get("search") ?? "";
  const position = Math.max(0, (Number.parseInt(query.get("from"), 10) || 1) - 1);
  const seed = picker?.value;
  if (picker) choose(picker, query.get("seed"));
  await (picker && picker.value !== seed ? selectSeed(position) : loadExamples(position));
  revealLinkedLine();
}

function writeAddress(isNewStep = true) {
  const { name, systems, directions } = experiments[fields.experiment.value];
  const isFirst = (select) => select.value === select.options[0].value;
  const values = {
    experiment: isFirst(fields.experiment) ? "" : name,
    direction: isFirst(fields.direction) ? "" : fields.direction.value,
    system: systems[fields.system.value] ?? "",
    compare: systems[fields.compare.value] ?? "",
    verdict: fields.verdict.value,
    search: fields.search.value,
    from: start ? String(start + 1) : "",
    seed: picker?.value ?? "",
  };
  const query = new URLSearchParams(location.search);
  for (const [key, value] of Object.entries(values)) {
    query.delete(key);
    if (value) query.append(key, value);
  }
  const text = query.size ? `?${query}` : "";
  formerQuery = text;
  try {
    history[isNewStep ? "pushState" : "replaceState"](null, "", `${location.pathname}${text}`);
  } catch {
    // Inside of another document, such as Snakemake's report, a page may have an address that cannot be changed.
  }
}

// Shows the line that the address names, whatever the filters are, and marks it.
function revealLinkedLine() {
  const linked = linkedLine();
  if (!linked || !directions.length) return;
  const find = () => found.findIndex(([direction, line]) => direction.name === linked.name && line === linked.line);
  let position = find();
  if (position < 0) {
    const selected = fields.direction.value;
    if (selected && selected !== linked.name && !experiments[fields.experiment.value].folder) fields.direction.value = linked.name;
    fields.verdict.value = fields.search.value = "";
    filter();
    position = find();
  }
  if (position < 0) return;
  if (position < start || position >= start + PAGE_SIZE) show(position - position % PAGE_SIZE);
  for (const card of cards.children) card.classList.toggle("linked", card.id === location.hash.slice(1));
  document.getElementById(location.hash.slice(1)).scrollIntoView({ behavior: "instant" });
}

async function loadExamples(position = 0) {
  const number = fields.experiment.value;
  const experiment = experiments[number];
  const selected = picker?.value ?? "";
  const seed = experiment.seeds.includes(selected) ? selected : experiment.seeds[0];
  const request = ++requests;
  const runs = experiment.runs.filter((run) => run === seed || run === SHARED);
  let name = number;
  let shown = experiment.directions;
  if (experiment.folder) {
    const place = shown.findIndex((direction) => direction.name === fields.direction.value);
    const address = [...experiment.folder, `${shown[place].name}.js`].map(encodeURIComponent).join("/");
    const isLoaded = await loadScript(address);
    if (request !== requests) return;
    if (!isLoaded) {
      directions = found = [];
      start = 0;
      showNothing(`There is no file ${address} beside this page; open the page in its results folder.`);
      return;
    }
    name = `${number}-${place}`;
    shown = [shown[place]];
  }
  const [texts, ...outputs] = await Promise.all([`texts-${name}`, ...runs.map((run) => `outputs-${name}-${run}`)].map(load));
  // Another experiment, direction or seed may have been selected while this one was unpacked.
  if (request !== requests) return;
  const ofSystems = new Map(outputs.flat());
  const ofSystem = (place, part) => experiment.systems.map((system) => ofSystems.get(system)[place][part]);
  directions = shown.map((direction, place) => ({
    ...direction,
    languages: direction.name.split("-"),
    source: texts[place][0],
    reference: texts[place][1],
    outputs: ofSystem(place, 0),
    labels: ofSystem(place, 1),
    verdicts: ofSystem(place, 2),
    percents: ofSystem(place, 3),
    others: ofSystem(place, 4),
  }));
  describeRun(experiment, selected, seed);
  filter(position);
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

// The numbers of the systems whose outputs are shown.
function shownSystems() {
  const { systems } = experiments[fields.experiment.value];
  const selected = [fields.system.value, fields.compare.value].filter((number) => number !== "").map(Number);
  return selected.length ? selected : [...systems.keys()];
}

function searchableTexts(direction, shown) {
  // The lower-case text of each example; computed only once, at the first search among the outputs of these systems.
  const key = shown.join();
  if (direction.searchable?.key !== key) {
    const outputs = shown.map((number) => direction.outputs[number]);
    direction.searchable = { key, texts: direction.source.map((text, line) =>
      [text, direction.reference[line], ...outputs.map((lines) => lines[line])].join("\n").toLowerCase()) };
  }
  return direction.searchable.texts;
}

function hasVerdict(verdicts, line, shown, selected) {
  const [first, second] = selected.split("-");
  if (second) {
    return (verdicts[shown[0]][line] !== "t") === (first === "off") && (verdicts[shown[1]][line] !== "t") === (second === "off");
  }
  return shown.some((number) => selected === "off" ? verdicts[number][line] !== "t" : verdicts[number][line] === selected);
}

function filter(position = 0) {
  // While the first examples are unpacked, there is nothing to filter.
  if (!directions.length) return;
  const verdict = fields.verdict.value;
  const search = fields.search.value.trim().toLowerCase();
  const shown = shownSystems();
  found = [];
  for (const direction of directions) {
    const selected = fields.direction.value;
    if (selected && selected !== direction.name && selected !== direction.supervision) continue;
    const texts = search ? searchableTexts(direction, shown) : null;
    for (let line = 0; line < direction.source.length; line++) {
      if (verdict && !hasVerdict(direction.verdicts, line, shown, verdict)) continue;
      if (search && !texts[line].includes(search)) continue;
      found.push([direction, line]);
    }
  }
  show(Math.min(position, Math.max(0, found.length - 1)));
}

// The words of a text and what separates them; in writing systems without spaces, words are those of the browser.
function splitWords(text, language) {
  if (!/^(ja|zh|th|lo|km|my)$/.test(language) || !Intl.Segmenter) return text.match(/\s+|\S+/g) ?? [];
  return Array.from(new Intl.Segmenter(language, { granularity: "word" }).segment(text), ({ segment }) => segment);
}

// The positions of the characters of two texts, as pairs of start and end, in words that are not part of the longest
// sequence of words that both texts have.
function differences(first, second, language) {
  const parts = [first, second].map((text) => {
    let end = 0;
    return splitWords(text, language).map((word) => ({ word, start: end, end: (end += word.length) })).filter(({ word }) => word.trim());
  });
  const [one, other] = parts;
  if (one.length > WORDS_TO_COMPARE || other.length > WORDS_TO_COMPARE) {
    return first === second ? [[], []] : parts.map((words) => words.map(({ start, end }) => [start, end]));
  }
  const width = other.length + 1;
  // The length of the longest common sequence of the words from each position on.
  const lengths = new Uint16Array((one.length + 1) * width);
  for (let row = one.length - 1; row >= 0; row--) {
    for (let column = other.length - 1; column >= 0; column--) {
      const at = row * width + column;
      lengths[at] = one[row].word === other[column].word ? lengths[at + width + 1] + 1 : Math.max(lengths[at + width], lengths[at + 1]);
    }
  }
  const different = [[], []];
  const mark = (place, word) => {
    const former = different[place].at(-1);
    // Words that follow each other are one mark, with the space between them.
    if (former && ![first, second][place].slice(former[1], word.start).trim()) former[1] = word.end;
    else different[place].push([word.start, word.end]);
  };
  let row = 0;
  let column = 0;
  while (row < one.length || column < other.length) {
    const at = row * width + column;
    if (row < one.length && column < other.length && one[row].word === other[column].word) {
      row++;
      column++;
    } else if (column === other.length || (row < one.length && lengths[at + width] >= lengths[at + 1])) {
      mark(0, one[row++]);
    } else {
      mark(1, other[column++]);
    }
  }
  return different;
}

// White space as Python's `str.split` has it, which SacreBLEU uses.
const SPACES = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/u;

function addNgram(counts, ngram) {
  counts.set(ngram, (counts.get(ngram) ?? 0) + 1);
}

// The n-grams of a text with their numbers: those of one to six characters, then those of one and two words.
function chrfNgrams(text) {
  const words = text.split(SPACES).filter(Boolean);
  const joined = words.join("");
  // Where characters begin; some take two places.
  const borders = [0];
  for (const character of joined) borders.push(borders.at(-1) + character.length);
  const all = Array.from({ length: 8 }, () => new Map());
  for (let order = 1; order <= 6; order++) {
    for (let at = 0; at + order < borders.length; at++) addNgram(all[order - 1], joined.slice(borders[at], borders[at + order]));
  }
  const isMark = (character) => /[!-/:-@[-`{-~]/.test(character);
  const bare = words.flatMap((word) => {
    // Marks take one place, so that a word of one character is never split.
    const isOne = word.length === 1 || (word.length === 2 && word.codePointAt(0) > 0xffff);
    if (!isOne && isMark(word.at(-1))) return [word.slice(0, -1), word.at(-1)];
    if (!isOne && isMark(word[0])) return [word[0], word.slice(1)];
    return [word];
  });
  bare.forEach((word, at) => {
    addNgram(all[6], word);
    if (at) addNgram(all[7], `${bare[at - 1]} ${word}`);
  });
  return all;
}

// chrF++ of a line, from 0 to 100: SacreBLEU's score of a sentence, with the signature of the tables. The n-grams are
// those of the reference.
function chrf(hypothesis, ngrams) {
  let orders = 0;
  let precision = 0;
  let recall = 0;
  chrfNgrams(hypothesis).forEach((counts, number) => {
    let matches = 0;
    let given = 0;
    let wanted = 0;
    for (const [ngram, count] of counts) {
      given += count;
      matches += Math.min(count, ngrams[number].get(ngram) ?? 0);
    }
    for (const count of ngrams[number].values()) wanted += count;
    if (!given || !wanted) return;
    orders++;
    precision += matches / given;
    recall += matches / wanted;
  });
  if (!(precision + recall)) return 0;
  return 100 * 5 * precision * recall / (4 * precision + recall) / orders;
}

// The positions of a searched text within a text, as pairs of start and end.
function findHits(text, search) {
  const hits = [];
  const lower = text.toLowerCase();
  // The lower-case text may be longer than the text (İ). Then positions differ, and no hit is marked.
  if (!search || lower.length !== text.length) return hits;
  for (let at = lower.indexOf(search); at >= 0; at = lower.indexOf(search, at + search.length)) hits.push([at, at + search.length]);
  return hits;
}

function appendMarked(element, text, search, different) {
  const hits = findHits(text, search);
  const isIn = (ranges, at) => ranges.some(([from, to]) => from <= at && at < to);
  const borders = [...new Set([0, text.length, ...hits.flat(), ...different.flat()])].sort((one, other) => one - other);
  borders.slice(0, -1).forEach((from, number) => {
    let part = document.createTextNode(text.slice(from, borders[number + 1]));
    for (const [ranges, tag, kind] of [[different, "span", "differs"], [hits, "mark", ""]]) {
      if (!isIn(ranges, from)) continue;
      const outer = document.createElement(tag);
      if (kind) outer.className = kind;
      outer.append(part);
      part = outer;
    }
    element.append(part);
  });
}

function makeElement(tag, className, text = "") {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

function makeBadge(verdict, label, percent, others) {
  const off = verdict !== "t";
  const name = NO_LANGUAGE[verdict] || label || "unknown";
  const badge = makeElement("span", off ? "badge off" : "badge", `${off ? "✗" : "✓"} ${name}`);
  badge.title = off ? "not the target language" : "target language";
  // Identifiers say nothing that means something about a line without words.
  if (NO_LANGUAGE[verdict]) return badge;
  const probability = (percent / 100).toFixed(2);
  badge.textContent += ` ${probability}`;
  badge.title += `, probability ${probability}`;
  for (const [identifier, found] of Object.entries(others)) {
    // 0 stands for the same label.
    badge.append(makeElement("span", "other", ` ${identifier}: ${(found === 0 ? label : found) || "none"}`));
  }
  return badge;
}

// Adds a row to the list of a card.
function appendRow(list, name, language, text, search, { details = [], different = [], isGiven = false }) {
  const term = makeElement("dt", "", name);
  const label = makeElement("dd", "language");
  label.append(...details);
  const shown = makeElement("dd", "text");
  shown.dir = "auto";
  if (language) shown.lang = language.replace("_", "-");
  appendMarked(shown, text, search, different);
  if (isGiven) for (const element of [term, label, shown]) element.classList.add("given");
  list.append(term, label, shown);
}

function makeCard([direction, line], systems, search, shown) {
  const article = makeElement("article", "card");
  article.id = `${direction.name}-${line + 1}`;
  const title = document.createElement("h3");
  const link = makeElement("a", "", `${direction.name}, line ${line + 1}`);
  link.href = `#${article.id}`;
  title.append(link);
  const list = document.createElement("dl");
  const [source, target] = direction.languages;
  const reference = direction.reference[line];
  appendRow(list, "source", source, direction.source[line], search, { isGiven: true });
  appendRow(list, "reference", target, reference, search, { isGiven: true });
  const texts = shown.map((number) => direction.outputs[number][line]);
  const isPair = fields.compare.value !== "";
  const different = isPair ? differences(...texts, target) : [];
  const scores = shown.map(() => makeElement("span", "chrf", "chrF++ …"));
  const difference = makeElement("span", "difference");
  shown.forEach((number, place) => {
    const verdict = direction.verdicts[number][line];
    const label = direction.labels[number][line];
    const others = Object.fromEntries(Object.entries(direction.others[number]).map(([name, lines]) => [name, lines[line]]));
    const details = [makeBadge(verdict, label, direction.percents[number][line], others), scores[place]];
    if (isPair && place) details.push(difference);
    appendRow(list, systems[number], NO_LANGUAGE[verdict] ? "" : label, texts[place], search, { details, different: different[place] });
  });
  article.score = () => {
    const ngrams = chrfNgrams(reference);
    const values = texts.map((text) => chrf(text, ngrams).toFixed(1));
    values.forEach((value, place) => { scores[place].textContent = `chrF++ ${value}`; });
    if (!isPair) return;
    // Of the rounded scores, so that the three numbers agree.
    const change = values[1] - values[0];
    difference.textContent = `${change < 0 ? "−" : "+"}${Math.abs(change).toFixed(1)} against ${systems[shown[0]]}`;
  };
  article.append(title, list);
  return article;
}

// Scores are added after the cards are shown, one card at a time, so that filters answer at once.
async function scoreCards() {
  const scoring = ++scorings;
  for (const card of [...cards.children]) {
    await new Promise((resolve) => setTimeout(resolve));
    // Other cards may be shown by now.
    if (scoring !== scorings) return;
    card.score();
  }
}

function show(position) {
  start = position;
  const { systems } = experiments[fields.experiment.value];
  const search = fields.search.value.trim().toLowerCase();
  const shown = shownSystems();
  const end = Math.min(start + PAGE_SIZE, found.length);
  cards.replaceChildren(...found.slice(start, end).map((example) => makeCard(example, systems, search, shown)));
  const format = (number) => number.toLocaleString("en");
  count.textContent = found.length
    ? `${format(start + 1)}–${format(end)} of ${format(found.length)} examples` : "No examples match; change the filters.";
  previous.disabled = start === 0;
  next.disabled = end === found.length;
  scoreCards();
}

function showNothing(text) {
  cards.replaceChildren();
  count.textContent = text;
  previous.disabled = next.disabled = true;
}

function turnPage(step) {
  // Also from a page that begins at any example, as an address may.
  const target = Math.max(0, start + step * PAGE_SIZE);
  if (target === start || target >= found.length) return;
  show(target);
  writeAddress();
  document.getElementById("examples").scrollIntoView();
}

form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", async (event) => {
  // Before the first examples are there, there are no experiments.
  if (!experiments.length) return;
  const { folder, systems, pair } = experiments[fields.experiment.value];
  const isLoading = event.target === fields.experiment || (folder && event.target === fields.direction);
  const direction = fields.direction.value;
  if (event.target === fields.experiment) fillFilters();
  if (event.target === fields.system) {
    // A system that was compared with the selected one changes places with it.
    const isSwapped = fields.system.value !== "" && fields.system.value === fields.compare.value;
    const former = formerSystem;
    const verdict = fields.verdict.value;
    fillPair();
    if (isSwapped) {
      fields.compare.value = former;
      fillPair();
      fields.verdict.value = verdict.split("-").reverse().join("-");
    }
  }
  if (event.target === fields.compare) {
    const second = fields.compare.value;
    const wasPair = [...fields.verdict.options].some(({ value }) => value === "off-on");
    if (second !== "" && !wasPair) {
      const numbers = [formerSystem, ...pair.map((system) => String(systems.indexOf(system)))];
      const first = numbers.find((number) => number !== "" && number !== second);
      startPair(first, second);
    } else {
      fillPair();
    }
  }
  const isNewStep = event.target !== fields.search || lastChanged !== fields.search;
  lastChanged = event.target;
  if (isLoading || (folder && direction !== fields.direction.value)) await loadExamples();
  else filter();
  writeAddress(isNewStep);
});
pairButton.addEventListener("click", togglePair);
addEventListener("popstate", () => {
  // A link to a place within the page changes only what follows `#`.
  if (!experiments.length) return;
  if (location.search === formerQuery) revealLinkedLine();
  else readAddress();
});
picker?.form.addEventListener("submit", (event) => event.preventDefault());
picker?.addEventListener("input", async () => {
  await selectSeed(start);
  writeAddress();
});
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

// Tables and figures that are wider than the page can be scrolled with the keyboard; others are no stop of the tab key.
const observer = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const region = target.closest(".scroll");
    const isWide = region.scrollWidth > region.clientWidth;
    for (const [name, value] of [["tabindex", "0"], ["role", "region"], ["aria-label", region.dataset.name]]) {
      if (isWide) region.setAttribute(name, value);
      else region.removeAttribute(name);
    }
  }
});
for (const region of document.querySelectorAll(".scroll")) for (const element of [region, region.querySelector("table, svg")]) observer.observe(element);

// Start after the first paint, so that tables and figures are readable while the examples are unpacked.
requestAnimationFrame(() => setTimeout(async () => {
  await makeTablesSortable();
  experiments = await load("experiments");
  setOptions(fields.experiment, experiments.map((experiment, number) => [String(number), experiment.name]));
  await readAddress();
  if (picker) picker.disabled = false;
  document.documentElement.dataset.ready = "yes";
}));
