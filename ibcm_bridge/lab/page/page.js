// The lab's page: sends actions to the lab, and shows its events.
import { listCases, markCurrent, markResult } from "./case_list.js";
import { prepareEdit, showEdit, showEdited } from "./edit.js";
import { showApplied, showPolicy } from "./policy.js";
import { settings, showScenes, updateScene } from "./scenes.js";
import { showResults, showScore, updateResults } from "./results.js";
import { addressOf, prepareTour, showTour, stepOf } from "./tour.js";
import { make, replace, showCase, showLifeCycle, showSummary, update } from "./view.js";
import { prepareWire, showWire } from "./wire.js";

const at = (id) => document.getElementById(id);
const token = new URLSearchParams(location.search).get("token") ?? "";
const state = { cases: new Map(), results: {}, verdicts: new Map(), sent: new Set(), awaited: "", lifeCycle: [], scenes: {}, shown: "", filled: "" };
const LINES = 60;
const LIFE_CYCLE = "life_cycle";
const ALL = "all";
const SCENES = "scenes";
const POLICY = "policy";
const TABLES = [LIFE_CYCLE, ALL, SCENES, POLICY];
const MOST = 60_000;
const NOT_RUNNING = "The lab does not respond. Is it still running?";

async function call(path, parameters) {
  const request = { headers: { "X-Lab-Token": token } };
  if (parameters !== undefined) {
    request.method = "POST";
    request.headers["Content-Type"] = "application/json";
    request.body = JSON.stringify(parameters);
    if (new Blob([request.body]).size > MOST) {
      showError(`Too long: the page sends at most ${MOST.toLocaleString("en")} bytes.`);
      throw new Error(path);
    }
  }
  const response = await fetch(path, request).catch(() => null);
  if (!response?.ok) {
    showError(response ? await response.text() : NOT_RUNNING);
    throw new Error(path);
  }
  return response.json();
}

const showError = (text) => { at("error").textContent = text; };

const announce = (text) => { at("announcement").textContent = text; };

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    announce("Copied.");
  } catch {
    showError("The browser blocked the clipboard. Select the text and copy it yourself.");
  }
}

const play = (names) => { showError(""); return call("/do/scenes", { names, ...settings }); };

const send = (ids) => { showError(""); return call("/do/send", { cases: ids }); };

// The shown case

function choose(id) {
  if (address() === id) show(id);
  else location.hash = id;
  openList(false);
}

const address = () => decodeURIComponent(location.hash.slice(1));
const first = () => state.cases.keys().next().value;

function fill(head, below = []) {
  const put = state.filled === state.shown ? update : replace;
  state.filled = state.shown;
  put(at("shown"), head);
  put(at("more"), below);
}

function titled(text) { document.title = `${text} · ibcm-bridge lab`; }

async function show(wanted) {
  const step = stepOf(wanted);
  const id = step?.show ?? (wanted || first());
  showTour(step, state.results[id]);
  if (step) sendOnce(id);
  document.body.classList.toggle("table-view", TABLES.includes(id));
  const moved = state.shown !== id;
  state.shown = id;
  if (moved) scrollTo(0, 0);
  markCurrent(id);
  showWire(state.cases.has(id) ? id : "");
  showEdit(state.cases.has(id) ? id : "");
  for (const name of ["case", "reference"]) delete at("shown").dataset[name];
  if (id === LIFE_CYCLE) { titled("Client life cycle"); return fill(showLifeCycle(state.lifeCycle)); }
  if (id === ALL) { titled("All cases"); return fill(showResults([...state.cases.values()], state.results, lab.grades)); }
  if (id === SCENES) { titled("Scenes"); return fill(showScenes(lab.scenes, state.scenes, play)); }
  if (id === POLICY) {
    titled("Policy");
    // A text that is being edited stays, and the place in it.
    if (!moved) return undefined;
    const parts = await showPolicy(call);
    return state.shown === id ? fill(parts) : undefined;
  }
  if (!state.cases.has(id)) { titled("Unknown case"); return fill(unknown(id)); }
  const item = await call(`/case/${id}`);
  if (state.shown !== id) return undefined;
  titled(item.title);
  const reference = item.result?.paths.bridge.audit.reference;
  Object.assign(at("shown").dataset, { case: id, ...(reference && { reference }) });
  const { head, below } = showCase(item, { send: () => { state.awaited = id; send([id]); }, copy, address: location.href });
  return fill(head, below);
}

// A step of the tour needs a result.
function sendOnce(id) {
  if (state.results[id] || state.sent.has(id)) return;
  state.sent.add(id);
  if (state.cases.has(id)) send([id]);
  else if (id === LIFE_CYCLE && !state.lifeCycle.length) call("/do/life", {});
}

// The result of Send: the verdicts, also where the button was pressed far below them.
function showVerdicts() {
  state.awaited = "";
  const cards = document.querySelector(".cards");
  if (cards && cards.getBoundingClientRect().top < 0) scrollTo(0, 0);
}

const unknown = (id) => [
  make("h2", {}, "Unknown case"),
  make("p", { id: "unknown" }, `This lab has no case “${id}”. The link can be from another version. Choose a case from the list.`),
];

function step(by) {
  const shown = stepOf(address());
  if (shown) {
    location.hash = addressOf(shown.number + by) || address();
    return;
  }
  const ids = [...state.cases.keys()];
  const here = ids.indexOf(state.shown);
  const next = ids[here < 0 ? 0 : here + by];
  if (next) location.hash = next;
}

const KEYS = { j: () => step(1), ArrowRight: () => step(1), k: () => step(-1), ArrowLeft: () => step(-1), s: () => at("send")?.click() };

function pressed(event) {
  const away = event.ctrlKey || event.altKey || event.metaKey || event.target.closest("pre, ol[tabindex], textarea, select, input[type='text']");
  if (!away) KEYS[event.key]?.();
}

function openList(open) {
  document.body.classList.toggle("list-open", open);
  at("list").setAttribute("aria-expanded", open);
}

// Live traffic and verdicts

function addLine(line) {
  const lines = at(`live-${line.path}`);
  lines.append(make("li", { "data-reference": line.reference }, make("time", {}, line.time), " ",
    make("strong", {}, line.word), ` ${line.status} ${line.text}`));
  judgeLine(lines.lastChild);
  while (lines.children.length > LINES) lines.firstChild.remove();
  lines.scrollTop = lines.scrollHeight;
  at("live-count").textContent = `(${at("live-bridge").children.length + at("live-tunnel").children.length})`;
}

// The verdict of a case, on the line of its request
function judgeLine(line) {
  const verdict = state.verdicts.get(line.dataset.reference);
  if (!verdict) return;
  const word = line.querySelector("strong");
  word.className = verdict.grade;
  word.textContent = `${verdict.mark} ${verdict.word}`;
}

function keep(result) {
  state.results[result.id] = result;
  markResult(result);
  for (const path of ["bridge", "tunnel"]) {
    const verdict = result[path];
    if (!verdict?.reference) continue;
    state.verdicts.set(verdict.reference, verdict);
    const line = document.querySelector(`#live-${path} [data-reference="${verdict.reference}"]`);
    if (line) judgeLine(line);
  }
}

function score() { at("score").replaceChildren(...showScore(Object.values(state.results), lab.grades)); }

function showState(now) {
  const title = state.cases.get(now.running)?.title ?? (now.running === LIFE_CYCLE ? "client life cycle" : now.running);
  const doing = state.cases.has(now.running) ? "Sending" : "Running";
  at("running").textContent = now.running ? `${doing}: ${title}${now.queued ? `, ${now.queued} queued` : ""}` : "Ready";
  document.body.dataset.faults = now.faults.join(" ");
  document.body.dataset.busy = now.running || now.queued ? "yes" : "no";
  at("stop").disabled = !now.stoppable;
  for (const box of document.querySelectorAll("#faults input")) box.checked = now.faults.includes(box.value);
  replace(at("fault-banner"), [...lab.faults.filter((fault) => now.faults.includes(fault.id)).flatMap((fault) => [
    make("strong", {}, `! Fault on: ${fault.title} `),
    make("button", { id: `off-${fault.id}`, onclick: () => setFault(fault.id, false) }, "Switch off"), " "]),
  ...(now.edited_policy ? [make("strong", {}, "! The bridge uses an edited policy "), make("button", { id: "banner-reset", onclick: () => call("/do/reset", {}) }, "Reset")] : [])]);
}

// At most once per frame: results can come faster.
let pending = 0;
const changed = new Set();
function refresh(id) {
  changed.add(id);
  pending ||= requestAnimationFrame(() => {
    pending = 0;
    if (state.shown === ALL) updateResults([...state.cases.values()], state.results, changed);
    changed.clear();
  });
}

const setFault = (id, on) => call("/do/fault", { id, on });

function listFaults(faults) {
  at("faults").replaceChildren(...faults.map((fault) => make("label", { class: "fault", title: fault.explanation },
    make("input", { type: "checkbox", value: fault.id, onchange: (event) => setFault(fault.id, event.target.checked) }),
    make("span", {}, ` ${fault.title}`), make("small", {}, fault.explanation))));
}

function follow() {
  const events = new EventSource(`/events?token=${encodeURIComponent(token)}`);
  const on = (name, act) => events.addEventListener(name, (event) => act(JSON.parse(event.data)));
  on("hello", (all) => {
    showError("");
    Object.assign(state, { results: {}, lifeCycle: all.life_cycle, scenes: all.scenes });
    Object.values(all.results).forEach(keep);
    for (const path of ["bridge", "tunnel"]) at(`live-${path}`).replaceChildren();
    all.traffic.forEach(addLine);
    score();
    // The first picture needs a result. A link to a case sends nothing.
    if (!address() && !state.results[first()] && !all.running) send([first()]);
    else showState(all);
    show(address());
  });
  on("state", showState);
  on("traffic", addLine);
  on("failure", (failure) => showError(`${failure.action}: ${failure.error}`));
  on("result", async (result) => {
    keep(result);
    score();
    announce(result.announcement);
    if (state.shown === result.id) await show(address());
    if (state.shown === result.id && state.awaited === result.id) showVerdicts();
    if (state.shown === ALL) refresh(result.id);
  });
  on("edited", showEdited);
  on("policy", showApplied);
  on("scene", (event) => {
    if (event.begins) state.scenes[event.name] = { actions: [], end: "" };
    const run = state.scenes[event.name];
    if (event.action) run.actions.push(event.action);
    if (event.end) run.end = event.end;
    if (state.shown === SCENES) updateScene(lab.scenes.find((card) => card.name === event.name), run, play);
  });
  on("wire", (event) => { if (state.shown === event.id) showWire(event.id); });
  on("life_cycle", (event) => {
    if (event.begins) state.lifeCycle = [];
    else state.lifeCycle.push(event);
    if (state.shown === LIFE_CYCLE) show(address());
  });
  events.onerror = () => {
    at("running").textContent = "Not connected";
    showError(NOT_RUNNING);
  };
}

const lab = await call("/lab");
lab.cases.forEach((item) => state.cases.set(item.id, item));
listCases(lab.cases, { send, choose: (id) => { choose(id); send([id]); } });
listFaults(lab.faults);
prepareTour(lab.tour);
prepareWire(call, token);
prepareEdit(call);
at("summary").replaceChildren(...showSummary(lab.summary, copy));
at("list").onclick = () => openList(!document.body.classList.contains("list-open"));
at("previous").onclick = () => step(-1);
at("next").onclick = () => step(1);
at("all").onclick = () => { choose(ALL); send(lab.cases.map((item) => item.id)); };
at("life").onclick = () => { if (state.shown !== LIFE_CYCLE) choose(LIFE_CYCLE); call("/do/life", {}); };
at("stop").onclick = () => call("/do/stop", {});
addEventListener("hashchange", () => { openList(false); show(address()); });
addEventListener("keydown", pressed);
follow();
