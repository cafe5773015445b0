// The guided tour: steps with notes for the speaker, a timer, and a prediction before each verdict.
import { make, replace } from "./view.js";

const at = (id) => document.getElementById(id);
const PATHS = ["bridge", "tunnel"];
const EFFECTS = {
  through: "reaches the site system and is accepted",
  perimeter: "is stopped at the perimeter",
  elsewhere: "is stopped, but not at the perimeter",
};
const EFFECT = {
  PASSED: "through", "NOT STOPPED": "through", REFUSED: "perimeter", "RESPONSE REFUSED": "perimeter",
  "STOPPED INSIDE": "elsewhere", "STOPPED BY CLIENT": "elsewhere",
};
const tour = { steps: [], began: 0, predict: false, guesses: new Map() };

export function prepareTour(steps) {
  tour.steps = steps;
  setInterval(() => { if (at("clock")) at("clock").textContent = clock(); }, 1000);
}

// Returns the step of an address such as tour-3, or undefined.
export function stepOf(address) {
  const number = Number(/^tour-(\d+)$/.exec(address)?.[1]);
  return tour.steps[number - 1] && { number, ...tour.steps[number - 1] };
}

export const addressOf = (number) => (tour.steps[number - 1] ? `tour-${number}` : "");

const minutes = (seconds) => `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;

const clock = () => minutes(Math.floor((Date.now() - tour.began) / 1000));

// The time at which a step ends, as planned.
const planned = (step) => minutes(tour.steps.slice(0, step.number).reduce((sum, each) => sum + each.seconds, 0));

// Shows the bar and the notes of a step; without a step, ends the tour.
export function showTour(step, result) {
  document.body.classList.toggle("tour", Boolean(step));
  tour.began = step ? tour.began || Date.now() : 0;
  replace(at("tour-bar"), step ? bar(step) : []);
  at("notes").replaceChildren(...(step ? notes(step) : []));
  showPrediction(step, result);
  at("predict")?.addEventListener("change", (event) => { tour.predict = event.target.checked; showPrediction(step, result); });
}

function bar(step) {
  const link = (by, text) => make("a", { class: by > 0 ? "button first" : "button", id: by > 0 ? "tour-next" : "tour-back",
    href: `#${addressOf(step.number + by)}`, hidden: !addressOf(step.number + by) && "" }, text);
  return [
    link(-1, "Back"), link(1, "Next"),
    make("span", {}, `Step ${step.number} of ${tour.steps.length} · `, make("span", { id: "clock", title: "elapsed" }, clock()), make("span", { title: "planned end of this step" }, ` / ${planned(step)}`)),
    make("label", {}, make("input", { type: "checkbox", id: "predict", checked: tour.predict && "" }), " Predict first"),
    make("a", { href: `#${step.show}`, id: "tour-end" }, "End tour"),
  ];
}

const notes = (step) => [
  make("h2", {}, step.point),
  make("ul", {}, ...step.notes.map((note) => make("li", {}, note))),
];

const pathsOf = (result) => PATHS.filter((path) => EFFECT[result[path]?.word]);

function showPrediction(step, result) {
  const asked = step && tour.predict && result ? pathsOf(result) : [];
  const guess = tour.guesses.get(result?.id) ?? {};
  const open = asked.filter((path) => !guess[path]);
  document.body.classList.toggle("predicting", open.length > 0);
  if (!asked.length) return at("prediction").replaceChildren();
  if (!open.length) return replace(at("prediction"), [make("p", { id: "guessed" }, answer(result, guess))]);
  const choose = (path, effect) => {
    const truth = EFFECT[result[path].word];
    tour.guesses.set(result.id, { ...guess, [path]: { effect, right: effect === truth } });
    showPrediction(step, result);
    at("prediction").querySelector("button")?.focus();
  };
  return replace(at("prediction"), open.slice(0, 1).map((path) => make("fieldset", {},
    make("legend", {}, `Through the ${path}, this request…`),
    ...Object.entries(EFFECTS).map(([effect, words]) => make("button", { "data-effect": effect, onclick: () => choose(path, effect) }, words)))));
}

function answer(result, guess) {
  const said = pathsOf(result).map((path) => `${path} ${guess[path].right ? "✓ right" : "✗ wrong"}`).join(", ");
  const every = [...tour.guesses.values()].flatMap((guess) => Object.values(guess));
  return `Your prediction: ${said}. Score: ${every.filter((guess) => guess.right).length} of ${every.length}.`;
}
