// What is shown of a case. Text goes in as text: a message is anybody's.

export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== false && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((one) => one !== "" && one !== null && one !== undefined));
  return element;
}

const folded = (title, text, open = false) =>
  text ? make("details", { open: open && "" }, make("summary", {}, title), make("pre", { tabindex: "0" }, text)) : "";

function list(facts) {
  return make("dl", {}, ...facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

const bytes = (count) => `${count.toLocaleString("en")} bytes`;

const cites = (one) => make("p", { class: "cites" }, make("code", {}, one.id), ` ${one.sentence}`);

function fieldText(fields) {
  return fields.map(([name, value]) => `${name}: ${value}`).join("\n");
}

function sent(it) {
  const fields = it.fields.length ? `\n${fieldText(it.fields)}` : "";
  return [
    make("h3", {}, "What the client sends"),
    make("pre", { tabindex: "0", class: "sent" }, it.line + fields + (it.bytes ? `\n\n[${bytes(it.bytes)}]` : "")),
    folded("Its message, decoded", it.view),
  ];
}

function arrived(way) {
  const it = way.received;
  if (!it) return [make("p", {}, way.arrived)];
  const body = it.bytes ? `${bytes(it.bytes)}${it.same ? ", byte for byte what was sent" : ", not what was sent"}` : "none";
  const facts = [["Request", make("code", {}, it.line)], ["Certificate", it.certificate], ["Body", body]];
  if (it.missing.length) facts.push(["Taken out", make("strong", { class: "struck" }, it.missing.join(", "))]);
  return [list(facts), folded("Header fields as they arrived", fieldText(it.fields)), folded("Body, decoded", it.view)];
}

function column(title, name, way, item) {
  if (!way) {
    const why = item.no_tunnel || "Not sent yet.";
    return make("section", { class: `way ${name}` }, make("h2", {}, title), make("p", { class: "verdict" }, "—"), make("p", {}, name === "tunnel" ? why : "Not sent yet."));
  }
  const decided = [];
  if (way.rule) decided.push(["Rule", make("code", {}, way.rule)]);
  if (way.reason) decided.push(["Reason", make("code", {}, way.reason)], ["Found", way.detail]);
  if (way.cites) decided.push(["Requirement", make("code", {}, way.cites.id)]);
  const known = [item.requirement, ...item.also].some((one) => one.id === way.cites?.id);
  const decoded = way.decoded && item.result ? folded("The message it could read", item.result.sent.view) : "";
  return make(
    "section", { class: `way ${name} ${way.standing}` },
    make("h2", {}, title),
    make("p", { class: "verdict" }, way.verdict),
    make("p", { class: "got" }, "The client got: ", make("strong", {}, way.got), way.shown ? ` (from ${way.shown})` : ""),
    folded("What it was told", way.said),
    ...(decided.length ? [make("h3", {}, "Decided by"), list(decided)] : []),
    way.cites && !known ? cites(way.cites) : "",
    make("h3", {}, "The proxy could see"), list(way.saw), decoded,
    make("h3", {}, "The site system received"), ...arrived(way),
    make("h3", {}, "The client's log would show"), make("p", {}, way.log),
    way.next ? make("p", { class: "cites" }, `Then ${way.next}.`) : "",
    folded("Audit record", JSON.stringify(way.audit, null, 1)),
  );
}

function curl(lines, copied) {
  if (lines.cannot) return [make("p", {}, `curl cannot send it. ${lines.cannot}`)];
  const block = (title, texts) => texts.length
    ? [make("div", { class: "row" }, make("span", {}, title), make("button", { onclick: () => copied(texts.join("\n")) }, "Copy")),
      make("pre", { tabindex: "0", class: "curl" }, texts.join("\n"))] : [];
  const first = lines.bridge.length > 1 ? " (what must come before it stands first)" : "";
  return [...block(`Through the bridge${first}`, lines.bridge), ...block("Through the tunnel", lines.tunnel)];
}

export function showCase(item, { send, copied, address }) {
  const result = item.result;
  const ways = result ? result.ways : { bridge: null, tunnel: null };
  const notes = result ? [
    result.faults.length ? make("p", { class: "note" }, `Sent with a fault: ${result.faults.join(", ")}.`) : "",
    ...(result.faults.length ? [] : result.problems.map((one) => make("p", { class: "note" }, `Not as required: ${one}`))),
  ] : [];
  return [
    make("h2", {}, item.title),
    make("p", { class: "lesson" }, item.lesson),
    make("p", {}, make("code", { id: "line" }, (result ? result.sent : item.prepared.sent).line), ` from a client with ${item.client}`),
    cites(item.requirement), ...item.also.map(cites),
    make("div", { class: "row" },
      make("button", { class: "first", id: "send", onclick: send }, result ? "Send again" : "Send it both ways"),
      make("a", { href: `#${item.id}`, id: "address" }, "Address of this case"),
      make("button", { onclick: () => copied(address) }, "Copy it")),
    ...notes,
    make("div", { class: "ways" },
      column("Through the bridge", "bridge", ways.bridge, item),
      column("Through the tunnel", "tunnel", ways.tunnel, item)),
    ...sent(result ? result.sent : item.prepared.sent),
    make("h3", {}, "The same with curl"), ...curl(item.prepared.curl, copied),
  ];
}

export function showLife(steps) {
  const names = [...new Set(steps.map((one) => one.step))];
  const cell = (step, way) => {
    const one = steps.find((it) => it.step === step && it.way === way);
    return make("td", { class: one ? (one.good ? "allow" : "deny") : "" }, one ? one.answer : "—");
  };
  const rows = names.map((step) => {
    const one = steps.find((it) => it.step === step && it.request);
    return make("tr", {}, make("th", { scope: "row" }, step, make("br"), make("code", {}, one ? one.request : "")),
      cell(step, "bridge"), cell(step, "tunnel"));
  });
  const head = ["Step", "Through the bridge", "Through the tunnel"].map((one) => make("th", { scope: "col" }, one));
  return [
    make("h2", {}, "A client's life"),
    make("p", { class: "lesson" }, "From its registration on, as a client that is only ever on the Internet: all of it passes through the bridge, which reads it, and through the tunnel, which does not."),
    make("table", { id: "steps" }, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows)),
  ];
}

export function showAbout(about, copied) {
  const names = about.names.map((one) => [one.address, `${one.name} (${[one.mode, ...one.roles].join(", ")})`]);
  return [
    make("h3", {}, "Names"), list(names),
    make("h3", {}, "Site systems"), list(Object.entries(about.site_systems)),
    make("h3", {}, "Files"), list(Object.entries(about.files).map(([name, path]) => [name, make("code", {}, path)])),
    make("h3", {}, "To paste"),
    ...about.curl.flatMap((one) => [
      make("div", { class: "row" }, make("span", {}, one.what), make("button", { onclick: () => copied(one.line) }, "Copy")),
      make("pre", { tabindex: "0" }, one.line)]),
  ];
}
