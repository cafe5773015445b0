// The lab's page: asks the lab to do things, and shows what the lab says has happened.
import { make, showAbout, showCase, showLife } from "./view.js";

const at = (id) => document.getElementById(id);
const token = new URLSearchParams(location.search).get("token") ?? "";
const state = { cases: new Map(), results: {}, life: [], faults: [], shown: "" };
const LINES = 60;
const wide = matchMedia("(min-width: 52.01rem)");

async function ask(path, given) {
  const request = { headers: { "X-Lab-Token": token } };
  if (given !== undefined) {
    request.method = "POST";
    request.headers["Content-Type"] = "application/json";
    request.body = JSON.stringify(given);
  }
  const answer = await fetch(path, request).catch(() => null);
  if (!answer?.ok) {
    trouble(answer ? await answer.text() : "The lab does not answer: has it ended?");
    throw new Error(path);
  }
  return answer.json();
}

const trouble = (text) => { at("trouble").textContent = text; };

function say(text) { at("said").textContent = text; }

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    say("Copied.");
  } catch {
    trouble("The browser did not let this page copy; select the text instead.");
  }
}

const send = (ids) => { trouble(""); return ask("/do/send", { cases: ids }); };

// The list of cases

function marks(result) {
  if (!result) return [];
  const signs = { right: "✓", late: "~", wrong: "✗" };
  const words = { right: "as it should be", late: "stopped late", wrong: "not stopped" };
  return ["bridge", "tunnel"].map((way) => {
    const one = result[way];
    if (!one) return make("span", {}, "–");
    return make("span", { class: one.standing, title: `${way}: ${one.text}`, role: "img",
      "aria-label": `${way} ${words[one.standing]}` }, signs[one.standing]);
  });
}

function listCases(cases) {
  const families = Map.groupBy ? Map.groupBy(cases, (one) => one.family)
    : cases.reduce((map, one) => map.set(one.family, [...(map.get(one.family) ?? []), one]), new Map());
  for (const [family, members] of families) {
    const items = members.map((one) => make("li", {}, make("button",
      { id: `case-${one.id}`, "data-case": one.id, onclick: () => { choose(one.id); send([one.id]); } },
      make("span", {}, one.title), make("span", { class: "marks" }))));
    at("cases").append(make("details", { open: wide.matches && "" },
      make("summary", {}, family),
      make("button", { class: "family", "data-family": family, onclick: () => send(members.map((one) => one.id)) }, `Send these ${members.length}`),
      make("ol", {}, ...items)));
  }
}

function mark(id) {
  at(`case-${id}`)?.querySelector(".marks").replaceChildren(...marks(state.results[id]));
}

// What is shown

function choose(id) {
  if (location.hash.slice(1) === id) show(id);
  else location.hash = id;
  if (!wide.matches) at("shown").scrollIntoView();
}

async function show(id) {
  const known = state.cases.has(id) || id === "life";
  state.shown = known ? id : "";
  for (const one of document.querySelectorAll("nav [aria-current]")) one.removeAttribute("aria-current");
  if (id === "life") return at("shown").replaceChildren(...showLife(state.life));
  if (!known) return at("shown").replaceChildren(...welcome());
  at(`case-${id}`).setAttribute("aria-current", "true");
  at(`case-${id}`).closest("details").open = true;
  const item = await ask(`/case/${id}`);
  if (state.shown !== id) return undefined;
  const reference = item.result?.ways.bridge.audit.reference;
  Object.assign(at("shown").dataset, { case: id, ...(reference && { reference }) });
  if (!reference) delete at("shown").dataset.reference;
  const held = at("shown").contains(document.activeElement) ? document.activeElement.id : "";
  at("shown").replaceChildren(...showCase(item, { send: () => send([id]), copied, address: location.href }));
  if (held) at(held)?.focus();
  return undefined;
}

const welcome = () => [
  make("h2", {}, "Choose a case"),
  make("p", { class: "lesson" }, "Each is sent twice, by the same client: through the bridge, which terminates TLS, reads and decides; and through the tunnel, which passes bytes. Here is what each could see, and what became of it."),
  make("p", {}, make("strong", { class: "allow" }, "✓ as it should be"), " · ~ stopped, but not at the perimeter · ", make("strong", { class: "deny" }, "✗ not stopped at all")),
];

function line(it) {
  const lines = at(`live-${it.way}`);
  const verdict = it.verdict === "allow" ? "passed" : "refused";
  lines.append(make("li", {}, make("time", {}, it.time), " ",
    make("strong", { class: it.verdict }, `${verdict} ${it.status}`.trim()), ` ${it.text}`));
  while (lines.children.length > LINES) lines.firstChild.remove();
  lines.scrollTop = lines.scrollHeight;
}

function doing(now) {
  const title = state.cases.get(now.doing)?.title ?? (now.doing === "life" ? "A client's life" : now.doing);
  at("doing").textContent = now.doing ? `Sending: ${title}${now.waiting ? `, ${now.waiting} to go` : ""}` : "Ready";
  document.body.dataset.faults = now.faults.join(" ");
  document.body.dataset.busy = now.doing || now.waiting ? "yes" : "no";
  at("stop").disabled = !now.waiting;
  for (const box of document.querySelectorAll("#faults input")) box.checked = now.faults.includes(box.value);
}

function listFaults(faults) {
  at("faults").replaceChildren(...faults.map((one) => make("p", { class: "fault" },
    make("label", {}, make("input", { type: "checkbox", value: one.id,
      onchange: (event) => ask("/do/fault", { id: one.id, on: event.target.checked }) }), ` ${one.title}`),
    make("span", {}, one.lesson))));
}

function follow() {
  const events = new EventSource(`/events?token=${encodeURIComponent(token)}`);
  const on = (name, act) => events.addEventListener(name, (event) => act(JSON.parse(event.data)));
  on("hello", (all) => {
    trouble("");
    Object.assign(state, { results: all.results, life: all.life });
    for (const one of ["bridge", "tunnel"]) at(`live-${one}`).replaceChildren();
    all.traffic.forEach(line);
    Object.keys(all.results).forEach(mark);
    doing(all);
    show(location.hash.slice(1));
  });
  on("state", doing);
  on("traffic", line);
  on("trouble", (it) => trouble(`${it.what}: ${it.why}`));
  on("result", (it) => {
    state.results[it.id] = it;
    mark(it.id);
    say(it.announce);
    if (state.shown === it.id) show(it.id);
  });
  on("life", (it) => {
    if (it.begins) state.life = [];
    else state.life.push(it);
    if (state.shown === "life") at("shown").replaceChildren(...showLife(state.life));
  });
  events.onerror = () => {
    at("doing").textContent = "Not connected";
    trouble("The lab does not answer: has it ended?");
  };
}

const lab = await ask("/lab");
lab.cases.forEach((one) => state.cases.set(one.id, one));
listCases(lab.cases);
listFaults(lab.faults);
at("about").replaceChildren(...showAbout(lab.about, copied));
at("all").onclick = () => send(lab.cases.map((one) => one.id));
at("life").onclick = () => { choose("life"); ask("/do/life", {}); };
at("stop").onclick = () => ask("/do/stop", {});
addEventListener("hashchange", () => show(location.hash.slice(1)));
follow();
