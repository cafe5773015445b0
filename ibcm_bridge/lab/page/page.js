// The lab's page: sends actions to the lab, and shows its events.
import { make, showCase, showLifeCycle, showSummary } from "./view.js";

const at = (id) => document.getElementById(id);
const token = new URLSearchParams(location.search).get("token") ?? "";
const state = { cases: new Map(), results: {}, verdicts: new Map(), lifeCycle: [], faults: [], shown: "" };
const LINES = 60;
const LIFE_CYCLE = "life_cycle";
const wide = matchMedia("(min-width: 52.01rem)");

async function call(path, parameters) {
  const request = { headers: { "X-Lab-Token": token } };
  if (parameters !== undefined) {
    request.method = "POST";
    request.headers["Content-Type"] = "application/json";
    request.body = JSON.stringify(parameters);
  }
  const response = await fetch(path, request).catch(() => null);
  if (!response?.ok) {
    showError(response ? await response.text() : NOT_RUNNING);
    throw new Error(path);
  }
  return response.json();
}

const NOT_RUNNING = "The lab does not respond. Is it still running?";

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

const send = (ids) => { showError(""); return call("/do/send", { cases: ids }); };

// The list of cases

function marks(result) {
  if (!result) return [];
  return ["bridge", "tunnel"].map((path) => {
    const outcome = result[path];
    if (!outcome) return make("span", {}, "–");
    return make("span", { class: outcome.grade, title: `${path}: ${outcome.word}, ${outcome.client_received}`, role: "img",
      "aria-label": `${path} ${outcome.word}` }, outcome.mark);
  });
}

function listCases(cases) {
  const families = Map.groupBy ? Map.groupBy(cases, (item) => item.family)
    : cases.reduce((map, item) => map.set(item.family, [...(map.get(item.family) ?? []), item]), new Map());
  for (const [family, members] of families) {
    const items = members.map((item) => make("li", {}, make("button",
      { id: `case-${item.id}`, "data-case": item.id, onclick: () => { choose(item.id); send([item.id]); } },
      make("span", {}, item.title), make("span", { class: "marks" }))));
    at("cases").append(make("details", { open: wide.matches && "" },
      make("summary", {}, family),
      make("button", { class: "family", "data-family": family, onclick: () => send(members.map((item) => item.id)) }, `Send these ${members.length}`),
      make("ol", {}, ...items)));
  }
}

function mark(id) {
  at(`case-${id}`)?.querySelector(".marks").replaceChildren(...marks(state.results[id]));
}

// The shown case

function choose(id) {
  if (location.hash.slice(1) === id) show(id);
  else location.hash = id;
  if (!wide.matches) at("shown").scrollIntoView();
}

async function show(id) {
  const known = state.cases.has(id) || id === LIFE_CYCLE;
  state.shown = known ? id : "";
  for (const button of document.querySelectorAll("nav [aria-current]")) button.removeAttribute("aria-current");
  if (id === LIFE_CYCLE) return at("shown").replaceChildren(...showLifeCycle(state.lifeCycle));
  if (!known) return at("shown").replaceChildren(...welcome());
  at(`case-${id}`).setAttribute("aria-current", "true");
  at(`case-${id}`).closest("details").open = true;
  const item = await call(`/case/${id}`);
  if (state.shown !== id) return undefined;
  const reference = item.result?.paths.bridge.audit.reference;
  Object.assign(at("shown").dataset, { case: id, ...(reference && { reference }) });
  if (!reference) delete at("shown").dataset.reference;
  const focused = at("shown").contains(document.activeElement) ? document.activeElement.id : "";
  at("shown").replaceChildren(...showCase(item, { send: () => send([id]), copy, address: location.href }));
  if (focused) at(focused)?.focus();
  return undefined;
}

const welcome = () => [
  make("h2", {}, "Choose a case"),
  make("p", { class: "explanation" }, "Each case is sent twice by the same client: through the bridge, which terminates TLS and inspects the request, and through the tunnel, which forwards bytes. The page shows what each proxy saw, and the result."),
  make("p", {}, ...lab.grades.map((grade) => make("strong", { class: grade.grade }, `${grade.mark} ${grade.meaning} `))),
];

function addLine(line) {
  const lines = at(`live-${line.path}`);
  const word = make("strong", {}, line.word);
  lines.append(make("li", { "data-reference": line.reference }, make("time", {}, line.time), " ",
    word, ` ${line.status} ${line.text}`));
  judgeLine(lines.lastChild);
  while (lines.children.length > LINES) lines.firstChild.remove();
  lines.scrollTop = lines.scrollHeight;
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
  for (const path of ["bridge", "tunnel"]) {
    const verdict = result[path];
    if (!verdict?.reference) continue;
    state.verdicts.set(verdict.reference, verdict);
    const line = document.querySelector(`#live-${path} [data-reference="${verdict.reference}"]`);
    if (line) judgeLine(line);
  }
}

function showState(now) {
  const title = state.cases.get(now.running)?.title ?? (now.running === LIFE_CYCLE ? "client life cycle" : now.running);
  at("running").textContent = now.running ? `Sending: ${title}${now.queued ? `, ${now.queued} queued` : ""}` : "Ready";
  document.body.dataset.faults = now.faults.join(" ");
  document.body.dataset.busy = now.running || now.queued ? "yes" : "no";
  at("stop").disabled = !now.queued;
  for (const box of document.querySelectorAll("#faults input")) box.checked = now.faults.includes(box.value);
}

function listFaults(faults) {
  at("faults").replaceChildren(...faults.map((fault) => make("p", { class: "fault" },
    make("label", {}, make("input", { type: "checkbox", value: fault.id,
      onchange: (event) => call("/do/fault", { id: fault.id, on: event.target.checked }) }), ` ${fault.title}`),
    make("span", {}, fault.explanation))));
}

function follow() {
  const events = new EventSource(`/events?token=${encodeURIComponent(token)}`);
  const on = (name, act) => events.addEventListener(name, (event) => act(JSON.parse(event.data)));
  on("hello", (all) => {
    showError("");
    Object.assign(state, { results: {}, lifeCycle: all.life_cycle });
    Object.values(all.results).forEach(keep);
    for (const path of ["bridge", "tunnel"]) at(`live-${path}`).replaceChildren();
    all.traffic.forEach(addLine);
    Object.keys(all.results).forEach(mark);
    showState(all);
    show(location.hash.slice(1));
  });
  on("state", showState);
  on("traffic", addLine);
  on("failure", (failure) => showError(`${failure.action}: ${failure.error}`));
  on("result", (result) => {
    keep(result);
    mark(result.id);
    announce(result.announcement);
    if (state.shown === result.id) show(result.id);
  });
  on("life_cycle", (step) => {
    if (step.begins) state.lifeCycle = [];
    else state.lifeCycle.push(step);
    if (state.shown === LIFE_CYCLE) at("shown").replaceChildren(...showLifeCycle(state.lifeCycle));
  });
  events.onerror = () => {
    at("running").textContent = "Not connected";
    showError(NOT_RUNNING);
  };
}

const lab = await call("/lab");
lab.cases.forEach((item) => state.cases.set(item.id, item));
listCases(lab.cases);
listFaults(lab.faults);
at("summary").replaceChildren(...showSummary(lab.summary, copy));
at("all").onclick = () => send(lab.cases.map((item) => item.id));
at("life").onclick = () => { choose(LIFE_CYCLE); call("/do/life", {}); };
at("stop").onclick = () => call("/do/stop", {});
addEventListener("hashchange", () => show(location.hash.slice(1)));
follow();
