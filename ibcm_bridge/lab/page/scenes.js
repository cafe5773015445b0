// The scenes: each is one sentence of the planning page, played by clients of the lab.
import { make } from "./view.js";

const SETTINGS = [["user_policy", "Enable user policy on clients"], ["internet_user_policy", "Enable user policy requests from Internet clients"]];
export const settings = { user_policy: true, internet_user_policy: true };

const at = (id) => document.getElementById(id);

function actions(run) {
  if (!run?.actions.length) return "";
  // On a phone a row is a flex container; the roles keep it a row.
  const cell = (text) => make("td", { role: "cell" }, text);
  const rows = run.actions.map((each) => make("tr", { role: "row" },
    cell(each.network), cell(each.site_system), cell(each.action),
    make("td", { class: each.grade, role: "cell" }, make("strong", {}, [each.mark, each.word].filter(Boolean).join(" ")), ` ${each.response}`, each.text ? make("small", {}, ` ${each.text}`) : "")));
  const head = ["Network", "Site system", "Action", "Result"].map((title) => make("th", { scope: "col", role: "columnheader" }, title));
  return make("table", { role: "table" }, make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...head)), make("tbody", { role: "rowgroup" }, ...rows));
}

function scene(card, run, play) {
  return make("section", { class: "scene", id: `scene-${card.name}`, "aria-label": card.title },
    make("h3", {}, card.title),
    make("p", {}, card.sentence, ...card.requirements.flatMap((cited) => [" ", make("code", { title: cited.text }, cited.id)])),
    make("div", { class: "row" },
      make("button", { id: `play-${card.name}`, onclick: () => play([card.name]) }, run ? "Play again" : "Play"),
      make("code", {}, `ibcm-bridge lab client --scene ${card.name}`)),
    card.drawing ? make("pre", { tabindex: "0", class: "drawing" }, card.drawing) : "",
    actions(run),
    run ? make("p", { role: "status" }, make("strong", {}, run.end || "Playing…")) : "");
}

export function showScenes(cards, runs, play) {
  return [
    make("h2", {}, "Scenes of the planning page"),
    make("p", { class: "explanation" }, "Each scene shows one sentence of Microsoft's planning page. Its clients use the network of this lab."),
    make("fieldset", { class: "row" }, make("legend", {}, "Client settings"),
      ...SETTINGS.map(([name, title]) => make("label", {}, make("input", { type: "checkbox", id: name, checked: settings[name] && "", onchange: (event) => { settings[name] = event.target.checked; } }), ` ${title}`))),
    make("div", { class: "row" }, make("button", { class: "first", id: "play-all", onclick: () => play(cards.map((card) => card.name)) }, `Play all ${cards.length}`)),
    ...cards.map((card) => scene(card, runs[card.name], play)),
  ];
}

// Renders one scene again, and keeps the focus.
export function updateScene(card, run, play) {
  const old = at(`scene-${card.name}`);
  if (!old) return;
  const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
  old.replaceWith(scene(card, run, play));
  if (focused) at(focused)?.focus({ preventScroll: true });
}
