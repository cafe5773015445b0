// Try your own: the request of a case as texts, explained and sent on both paths.
import { make, outcome, replace } from "./view.js";

const at = (id) => document.getElementById(id);
const lab = { call: null };
let shown = "";

export function prepareEdit(call) {
  lab.call = call;
  at("edit").addEventListener("toggle", () => { if (at("edit").open) load(); });
}

// Shows the editor of a case; without a case, nothing.
export function showEdit(id) {
  if (id === shown) return;
  shown = id;
  at("edit").hidden = !id;
  at("edit-content").replaceChildren();
  if (id && at("edit").open) load();
}

async function load() {
  const id = shown;
  if (!id) return;
  const parts = await lab.call(`/edit/${id}`);
  if (id === shown) fill(id, parts);
}

function area(id, title, text, rows) {
  return [
    make("label", { for: id }, title),
    make("textarea", { id, rows, spellcheck: "false", autocomplete: "off", autocapitalize: "off" }, text),
  ];
}

const lines = (text, most) => Math.min(most, text.split("\n").length + 1);

function fill(id, parts) {
  if (parts.why_not) return at("edit-content").replaceChildren(make("p", {}, parts.why_not));
  const options = parts.clients.map((each) => make("option", { value: each.name, selected: each.name === parts.client && "" }, each.title));
  replace(at("edit-content"), [
    make("label", { for: "edit-line" }, "Request line"),
    make("input", { id: "edit-line", type: "text", value: parts.line, spellcheck: "false", autocomplete: "off", autocapitalize: "off" }),
    ...area("edit-fields", "Header fields", parts.fields, lines(parts.fields, 8)),
    ...parts.texts.flatMap((each, number) => area(`edit-text-${number}`, each.title, each.text, 5)),
    parts.note ? make("p", { class: "requirement" }, parts.note) : "",
    make("div", { class: "row" },
      make("label", { for: "edit-client" }, "Client with"),
      make("select", { id: "edit-client" }, ...options),
      parts.signed ? make("label", {}, make("input", { type: "checkbox", id: "edit-sign", checked: "" }), " sign a changed message with the key of this client") : ""),
    make("div", { class: "row" },
      make("button", { id: "edit-explain", onclick: () => ask("/explain") }, "Explain"),
      make("button", { id: "edit-send", class: "first", onclick: () => ask("/try") }, "Send both ways"),
      make("button", { id: "edit-reset", onclick: load }, "Begin again")),
    make("div", { id: "edit-explained", role: "status" }),
    make("div", { id: "edit-result" }),
  ]);
  if (parts.result) showEdited(parts.result);
  return undefined;
}

async function ask(path) {
  const texts = [...at("edit-content").querySelectorAll("textarea[id^='edit-text-']")].map((each) => each.value);
  const said = await lab.call(path, {
    case: shown, line: at("edit-line").value, fields: at("edit-fields").value, texts,
    client: at("edit-client").value, sign: at("edit-sign")?.checked ?? false,
  });
  at("edit-result").replaceChildren();
  explained(said);
}

function explained(said) {
  at("edit-explained").replaceChildren(...(said.problem
    ? [make("p", { class: "note" }, said.problem), make("p", {}, "Nothing was sent.")]
    : [make("h3", {}, "ibcm-bridge explain"),
      make("ol", { class: "steps" }, ...said.steps.map((each) => make("li", {}, each))),
      make("p", {}, make("strong", { id: "edit-decision" }, said.decision))]));
}

// The result of Send, also of another page with the same lab.
export function showEdited(result) {
  if (result.id !== shown || !at("edit-explained")) return;
  explained({ steps: result.steps, decision: result.decision });
  at("edit-result").replaceChildren(...(result.problem ? [make("p", { class: "note" }, result.problem)] : outcome(result)));
}
