// What the wire shows: the message that the bridge read, beside the bytes that passed the tunnel.
import { make, replace } from "./view.js";

const at = (id) => document.getElementById(id);
const lab = { call: null, token: "" };
const VERSIONS = [["tunnel", "TLS 1.3"], ["tunnel-tls1.2", "TLS 1.2"]];
let shown = "";
let chosen = "tunnel";

export function prepareWire(call, token) {
  Object.assign(lab, { call, token });
  at("wire").addEventListener("toggle", load);
}

// Shows the wire of a case; without a case, nothing.
export function showWire(id) {
  if (id !== shown) chosen = "tunnel";
  shown = id;
  at("wire").hidden = !id;
  return load();
}

async function load() {
  if (!shown || !at("wire").open) return;
  const id = shown;
  const wire = await lab.call(`/wire/${id}`);
  if (id === shown) fill(id, wire);
}

function fill(id, wire) {
  const known = VERSIONS.filter(([path]) => !wire[path].missing);
  replace(at("wire-content"), [
    known.length ? facts(wire, known) : "",
    make("section", {},
      make("h3", {}, "Through the bridge"),
      wire.message?.texts.length ? make("p", {}, "The bridge decrypts, and reads the message.") : "",
      ...message(wire.message),
      capture(id, "bridge", wire, "both legs, with their TLS secrets")),
    make("section", { class: "wire-tunnel" },
      make("h3", {}, "Through the tunnel"),
      make("p", {}, "The bytes of one connection pass. The tunnel has no secrets."),
      ...(known.length ? passed(id, wire, known) : []),
      capture(id, "tunnel", wire, "the same bytes, without secrets")),
  ]);
  showFindings();
}

// The request as the bridge read it, with the finding marked.
function message(read) {
  if (!read) return [];
  return [make("p", { id: "finding" }, make("strong", {}, read.note)), ...read.texts.flatMap(decoded)];
}

function decoded(text) {
  const pieces = text.segments.map((one) => (one.marked ? make("mark", { title: one.words || false }, one.text) : one.text));
  const words = text.segments.map((one) => one.words).filter(Boolean);
  return [
    make("h3", {}, text.title),
    make("pre", { class: "decoded", tabindex: "0", "aria-label": text.title }, ...pieces),
    ...[...words, text.left_out].filter(Boolean).map((sentence) => make("p", {}, make("small", {}, sentence))),
  ];
}

// A finding can be below the end of its box; scrollIntoView() would also scroll the page.
function showFindings() {
  for (const box of at("wire").querySelectorAll(".decoded")) {
    const mark = box.querySelector("mark");
    if (mark) box.scrollTop = mark.offsetTop - box.offsetTop - box.clientHeight / 3;
  }
}

function capture(id, path, wire, content) {
  const name = `${id}-${path}.pcapng`;
  if (wire[path].missing) return make("p", { class: "note", id: `capture-${path}` }, wire[path].missing);
  const address = `/capture/${id}/${path}.pcapng?token=${encodeURIComponent(lab.token)}`;
  return make("p", {}, make("a", { href: address, download: name, id: `capture-${path}` }, "Download pcapng"), ` for Wireshark: ${content}`);
}

function passed(id, wire, known) {
  if (!known.some(([path]) => path === chosen)) [[chosen]] = known;
  const choose = (path) => { chosen = path; fill(id, wire); };
  const button = ([path, title]) => make("button", { id: `bytes-${path}`, "aria-pressed": `${path === chosen}`, onclick: () => choose(path) }, `Bytes of ${title}`);
  const compare = make("button", { id: "tls12", onclick: () => lab.call("/do/tls12", { case: id }) }, "Compare with TLS 1.2");
  return [
    make("div", { class: "row" }, ...(known.length > 1 ? known.map(button) : [compare])),
    make("ol", { class: "records" }, ...wire[chosen].records.map(record)),
  ];
}

// Which facts are readable, one column for each version of TLS.
function facts(wire, known) {
  const names = [...new Set(known.flatMap(([path]) => wire[path].facts.map((fact) => fact.name)))];
  const cell = (path, name) => {
    const fact = wire[path].facts.find((one) => one.name === name);
    if (!fact) return make("td", {}, "–");
    return make("td", {}, fact.readable ? make("mark", {}, fact.value) : fact.value);
  };
  const head = ["Everybody on the path to the tunnel reads", ...known.map(([, title]) => title)].map((title) => make("th", { scope: "col" }, title));
  return make("table", { class: "facts" }, make("thead", {}, make("tr", {}, ...head)),
    make("tbody", {}, ...names.map((name) => make("tr", {}, make("th", { scope: "row" }, name), ...known.map(([path]) => cell(path, name))))));
}

function record(one) {
  const arrow = one.from === "client" ? "client → server" : "client ← server";
  const title = [make("span", { class: "way" }, arrow), ` ${one.title} `, make("small", {}, one.size)];
  const look = `record ${one.encrypted ? "encrypted" : "readable"}`;
  if (!one.parts.length) return make("li", { class: look }, ...title);
  const open = one.parts.some((part) => part.marked) && "";
  return make("li", { class: look }, make("details", { open }, make("summary", {}, ...title), ...one.parts.map(part)));
}

function part(one) {
  const words = [make("strong", {}, one.name), ...(one.value ? [" ", make(one.marked ? "mark" : "span", {}, one.value)] : []), ...(one.words ? [" ", make("small", {}, one.words)] : [])];
  return make("div", { class: `part${one.marked ? " marked" : ""}` },
    make("pre", { class: "dump" }, one.dump + (one.more ? `\n… ${one.more} more` : "")), make("p", {}, ...words));
}
