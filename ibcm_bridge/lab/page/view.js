// Renders a case. All texts are set as text nodes: messages are untrusted.

export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== false && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== "" && child !== null && child !== undefined));
  return element;
}

// The items that stand for an item after a replacement: those with its id, else those with its name and text.
const alike = (element, { id, localName, textContent }) =>
  [...element.querySelectorAll(id ? `#${CSS.escape(id)}` : localName)].filter((each) => id || each.textContent === textContent);

// Replaces what an element contains, and keeps the focus. Keyboards and screen readers stay where they are.
export function replace(element, children) {
  const focused = element.contains(document.activeElement) ? document.activeElement : null;
  const place = focused && alike(element, focused).indexOf(focused);
  element.replaceChildren(...children.filter(Boolean));
  if (focused) alike(element, focused)[place]?.focus({ preventScroll: true });
}

// As replace(), for newer content of the same kind: what a reader opened or closed stays so.
export function update(element, children) {
  const titles = () => [...element.querySelectorAll("details > summary")];
  const before = titles().map((title) => [title.textContent, title.parentNode.open]);
  replace(element, children);
  for (const title of titles()) {
    const place = before.findIndex(([text]) => text === title.textContent);
    if (place >= 0) [[, title.parentNode.open]] = before.splice(place, 1);
  }
}

const folded = (title, text, open = false) =>
  text ? make("details", { open: open && "" }, make("summary", {}, title), make("pre", { tabindex: "0" }, text)) : "";

function list(facts) {
  return make("dl", {}, ...facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

const bytes = (count) => `${count.toLocaleString("en")} bytes`;

const cite = (requirement) => make("p", { class: "requirement" }, make("code", {}, requirement.id), ` ${requirement.text}`);

function fieldText(fields) {
  return fields.map(([name, value]) => `${name}: ${value}`).join("\n");
}

function sent(request) {
  const fields = request.fields.length ? `\n${fieldText(request.fields)}` : "";
  return [
    make("h3", {}, "What the client sends"),
    make("pre", { tabindex: "0", class: "sent" }, request.line + fields + (request.bytes ? `\n\n[${bytes(request.bytes)}]` : "")),
    folded("Decoded message", request.view),
  ];
}

function received(path) {
  const request = path.received;
  if (!request) return [make("p", {}, path.site_system_received)];
  const body = request.bytes ? `${bytes(request.bytes)}, ${request.unchanged ? "unchanged" : "changed"}` : "none";
  const facts = [["Request", make("code", {}, request.line)], ["Certificate", request.certificate], ["Body", body]];
  if (request.removed.length) facts.push(["Removed", make("strong", { class: "struck" }, request.removed.join(", "))]);
  return [list(facts), folded("Received header fields", fieldText(request.fields)), folded("Decoded body", request.view)];
}

function verdict(title, name, path, item) {
  if (!path) {
    const why = name === "tunnel" && item.no_tunnel ? item.no_tunnel : "Not sent yet.";
    return make("section", { class: `card ${name}` }, make("h3", {}, title), make("p", { class: "verdict" }, "–"), make("p", {}, why));
  }
  return make("section", { class: `card ${name} ${path.verdict.grade}` },
    make("h3", {}, title),
    make("p", { class: "verdict" }, `${path.verdict.mark} ${path.verdict.word}`.trim()),
    make("p", { class: "received" }, make("strong", {}, path.client_received), `, ${path.verdict.detail}`));
}

function column(title, name, path, item) {
  if (!path) return "";
  const decided = [];
  if (path.rule) decided.push(["Rule", make("code", {}, path.rule)]);
  if (path.reason) decided.push(["Reason", make("code", {}, path.reason)], ["Detail", path.detail]);
  if (path.requirement) decided.push(["Requirement", make("code", {}, path.requirement.id)]);
  const known = [item.requirement, ...item.other_requirements].some((requirement) => requirement.id === path.requirement?.id);
  const inspected = path.body_inspected && item.result ? folded("Inspected message", item.result.sent.view) : "";
  return make(
    "section", { class: `path ${name} ${path.verdict.grade}` },
    make("h2", {}, title),
    ...(decided.length ? [make("h3", {}, "Decision"), list(decided)] : []),
    path.requirement && !known ? cite(path.requirement) : "",
    make("h3", {}, "The proxy saw"), list(path.proxy_saw), inspected,
    make("h3", {}, "The client received"),
    make("p", {}, path.client_received, path.certificate_presented ? ` from ${path.certificate_presented}` : ""),
    folded("Response body", path.response_text),
    make("h3", {}, "The site system received"), ...received(path),
    make("h3", {}, "Expected in the client's log"), make("p", {}, path.client_log),
    path.client_next ? make("p", { class: "requirement" }, `Next: ${path.client_next}.`) : "",
    folded("Audit record", JSON.stringify(path.audit, null, 1)),
  );
}

function commands(lines, copy, program) {
  if (lines.unsupported) return [make("p", {}, `${program} cannot send this case. ${lines.unsupported}`)];
  const block = (title, texts) => texts.length
    ? [make("div", { class: "row" }, make("span", {}, title), make("button", { onclick: () => copy(texts.join("\n")) }, "Copy")),
      make("pre", { tabindex: "0", class: "curl" }, texts.join("\n"))] : [];
  const first = lines.bridge.length > 1 ? " (with the requests that must precede it)" : "";
  return [...block(`Through the bridge${first}`, lines.bridge), ...block("Through the tunnel", lines.tunnel)];
}

// The picture is drawn, and its texts are escaped, by the lab.
function drawn(picture) {
  const template = document.createElement("template");
  template.innerHTML = picture;
  return make("div", { id: "picture" }, ...template.content.children);
}

const PATHS = [["Bridge", "bridge"], ["Tunnel", "tunnel"]];

// The result of an edited request, without a grade.
export function outcome(result) {
  const item = { requirement: {}, other_requirements: [], no_tunnel: result.no_tunnel, result };
  return [
    make("div", { class: "cards" }, ...PATHS.map(([title, name]) => verdict(title, name, result.paths[name], item))),
    third(result.plain),
    make("div", { class: "paths" }, ...PATHS.map(([title, name]) => column(title, name, result.paths[name], item))),
  ];
}

function third(plain) {
  if (plain.why_not !== undefined) return make("p", { class: "requirement" }, `Not sent through a plain reverse proxy${plain.why_not ? `: ${plain.why_not}` : ""}.`);
  return make("p", { class: "plain-proxy" }, `Through a plain reverse proxy with the same policy (${plain.proxy}): `,
    make("strong", {}, plain.word), `, ${plain.received}, ${plain.detail}`);
}

function plainProxy(plain) {
  const recorded = plain.recorded ? `; recorded: ${plain.why_recorded}` : "";
  return make("p", { class: "plain-proxy" }, `Through a plain reverse proxy with the same policy (${plain.proxy}${recorded}): `,
    make("strong", { class: plain.grade }, `${plain.mark} ${plain.word}`), `, ${plain.client_received}, ${plain.detail}`);
}

export function showCase(item, { send, copy, address }) {
  const result = item.result;
  const paths = result ? result.paths : { bridge: null, tunnel: null };
  const request = result ? result.sent : item.preview.sent;
  const notes = result ? [
    result.faults.length ? make("p", { class: "note" }, `Sent with fault: ${result.faults.join(", ")}.`) : "",
    ...(result.faults.length ? [] : result.problems.map((problem) => make("p", { class: "note" }, `Not as required: ${problem}`))),
  ] : [];
  const [head, below] = [[
    make("h2", {}, item.title),
    make("p", { class: "explanation" }, item.explanation, " ", make("code", {}, item.requirement.id)),
    make("div", { class: "cards" }, ...PATHS.map(([title, name]) => verdict(title, name, paths[name], item))),
    ...notes,
    result ? drawn(result.picture) : "",
    make("div", { class: "row" },
      make("button", { class: "first", id: "send", title: "Send (s)", onclick: send }, result ? "Send again" : "Send on both paths"),
      make("a", { href: `#${item.id}`, id: "address" }, "Link to this case"),
      make("button", { onclick: () => copy(address) }, "Copy link")),
  ], [
    result && result.plain_proxy ? plainProxy(result.plain_proxy) : "",
    result ? make("div", { class: "paths" }, ...PATHS.map(([title, name]) => column(title, name, paths[name], item))) : "",
    make("h3", {}, "Requirements"), cite(item.requirement), ...item.other_requirements.map(cite),
    make("p", {}, make("code", { id: "line" }, request.line), ` from a client with ${item.client}`),
    ...sent(request),
    make("h3", { class: "command-lines" }, "With curl"), ...commands(item.preview.curl, copy, "curl"),
    make("h3", { class: "command-lines" }, "In PowerShell"), ...commands(item.preview.powershell, copy, "This line"),
  ]];
  return { head, below };
}

export function showLifeCycle(steps) {
  const names = [...new Set(steps.map((step) => step.step))];
  const cell = (name, path) => {
    const step = steps.find((step) => step.step === name && step.path === path);
    return make("td", { class: step ? (step.good ? "right" : "wrong") : "" }, step ? `${step.good ? "✓" : "✗"} ${step.response}` : "—");
  };
  const rows = names.map((name) => {
    const sent = steps.find((step) => step.step === name && step.request);
    return make("tr", {}, make("th", { scope: "row" }, name, make("br"), make("code", {}, sent ? sent.request : "")),
      cell(name, "bridge"), cell(name, "tunnel"));
  });
  const head = ["Step", "Through the bridge", "Through the tunnel"].map((title) => make("th", { scope: "col" }, title));
  return [
    make("h2", {}, "Client life cycle"),
    make("p", { class: "explanation" }, "The requests of an Internet-only client, from its registration on: through the bridge, which inspects them, and through the tunnel, which does not."),
    make("table", { id: "steps" }, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows)),
  ];
}

export function showSummary(summary, copy) {
  const names = summary.names.map((name) => [name.address, `${name.name} (${[name.mode, ...name.roles].join(", ")})`]);
  return [
    make("h3", {}, "Names"), list(names),
    make("h3", {}, "Site systems"), list(Object.entries(summary.site_systems)),
    make("h3", {}, "Files"), list(Object.entries(summary.files).map(([name, path]) => [name, make("code", {}, path)])),
    make("h3", {}, "Command lines"),
    ...summary.curl.flatMap((command) => [
      make("div", { class: "row" }, make("span", {}, command.purpose), make("button", { onclick: () => copy(command.line) }, "Copy")),
      make("pre", { tabindex: "0" }, command.line),
      ...(command.powershell ? [make("div", { class: "row" }, make("span", {}, "In PowerShell"), make("button", { onclick: () => copy(command.powershell) }, "Copy")),
        make("pre", { tabindex: "0" }, command.powershell)] : [])]),
  ];
}
