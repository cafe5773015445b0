// The list of cases: one stop of the Tab key; the arrow keys move in it.
import { make } from "./view.js";

const nav = document.getElementById("cases");
const wide = matchMedia("(min-width: 70.01rem)");

export function listCases(cases, { choose, send }) {
  const families = new Map();
  for (const item of cases) families.set(item.family, [...(families.get(item.family) ?? []), item]);
  for (const [family, members] of families) {
    const items = members.map((item) => make("li", {}, make("button",
      { id: `case-${item.id}`, "data-case": item.id, tabindex: "-1", onclick: () => choose(item.id) },
      make("span", {}, item.title), make("span", { class: "marks" }))));
    nav.append(make("details", { open: wide.matches && "" },
      make("summary", { tabindex: "-1" }, family),
      make("button", { class: "family", "data-family": family, tabindex: "-1", onclick: () => send(members.map((item) => item.id)) }, `Send these ${members.length}`),
      make("ol", {}, ...items)));
  }
  nav.querySelector("summary").tabIndex = 0;
  nav.addEventListener("keydown", move);
}

const stops = () => [...nav.querySelectorAll("summary, button")].filter((element) => element.checkVisibility());

function move(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const every = stops();
  const next = every[every.indexOf(document.activeElement) + step];
  if (next) stopAt(next, true);
}

function stopAt(element, focus) {
  for (const other of nav.querySelectorAll("[tabindex='0']")) other.tabIndex = -1;
  element.tabIndex = 0;
  if (focus) element.focus();
}

export function markCurrent(id) {
  for (const button of nav.querySelectorAll("[aria-current]")) button.removeAttribute("aria-current");
  const button = document.getElementById(`case-${id}`);
  if (!button) return;
  button.setAttribute("aria-current", "true");
  button.closest("details").open = true;
  stopAt(button, false);
  // scrollIntoView() would also scroll the page.
  const [inner, outer] = [button.getBoundingClientRect(), nav.getBoundingClientRect()];
  if (inner.top < outer.top || inner.bottom > outer.bottom) nav.scrollTop += inner.top - outer.top - outer.height / 3;
}

export function markResult(result) {
  const marks = ["bridge", "tunnel"].map((path) => {
    const outcome = result[path];
    if (!outcome) return make("span", {}, "–");
    return make("span", { class: outcome.grade, title: `${path}: ${outcome.word}, ${outcome.client_received}`, role: "img",
      "aria-label": `${path} ${outcome.word}` }, outcome.mark);
  });
  document.getElementById(`case-${result.id}`)?.querySelector(".marks").replaceChildren(...marks);
}
