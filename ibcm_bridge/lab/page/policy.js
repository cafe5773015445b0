// The policy of the lab: edited, checked, applied to the running bridge, and reset.
import { make } from "./view.js";

const at = (id) => document.getElementById(id);
const LINE = /^[^:]+:(\d+): /;
// A text that was edited stays when another view was shown.
const draft = { text: null, report: null };

export async function showPolicy(call) {
  const policy = await call("/policy");
  return [
    make("h2", {}, "The policy of this lab"),
    make("p", { class: "explanation" }, "Change it, check it, and apply it: the running bridge reloads it. It can name only the addresses and files of this lab. A policy that does not check changes nothing."),
    make("label", { for: "policy-text" }, "Policy file"),
    make("textarea", { id: "policy-text", rows: "22", spellcheck: "false", autocomplete: "off", autocapitalize: "off", wrap: "off", oninput: keep }, draft.text ?? policy.text),
    make("div", { class: "row" },
      make("button", { id: "policy-check", onclick: async () => report(await call("/policy", { text: text() })) }, "Check"),
      make("button", { id: "policy-apply", class: "first", onclick: () => call("/do/apply", { text: text() }) }, "Apply"),
      make("button", { id: "policy-reset", onclick: () => call("/do/reset", {}) }, "Reset to the lab's policy")),
    make("div", { id: "policy-report", role: "status" }, ...lines(draft.report)),
  ];
}

const text = () => at("policy-text").value;

function keep() { draft.text = text(); }

function lines(said) {
  if (!said) return [];
  const state = said.edited === undefined ? [] : [make("p", {}, make("strong", {}, said.edited ? "The bridge uses an edited policy." : "The bridge uses the lab's policy."))];
  return [...state, make("ol", { class: "findings" }, ...said.lines.map(finding))];
}

function finding(words) {
  const found = words.match(LINE);
  const kind = found || words.startsWith("PROBLEM") ? "note" : false;
  const go = found ? make("button", { onclick: () => select(Number(found[1])) }, `Line ${found[1]}`) : "";
  return make("li", { class: kind }, go, go ? " " : "", words);
}

// Selects a line of the text, and scrolls to it.
function select(number) {
  const area = at("policy-text");
  const every = area.value.split("\n");
  const begin = every.slice(0, number - 1).reduce((sum, each) => sum + each.length + 1, 0);
  area.focus({ preventScroll: true });
  area.setSelectionRange(begin, begin + (every[number - 1] ?? "").length);
  // After the browser has scrolled to the end of the text.
  requestAnimationFrame(() => { area.scrollTop = (area.scrollHeight / every.length) * Math.max(0, number - 6); });
}

function report(said) {
  draft.report = said;
  at("policy-report")?.replaceChildren(...lines(said));
}

// The outcome of Apply or Reset, also of another page with the same lab.
export function showApplied(said) {
  if (!said.edited && said.good) {
    draft.text = null;
    if (at("policy-text")) at("policy-text").value = said.text;
  }
  report(said);
}
