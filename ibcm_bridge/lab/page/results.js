// The score, and the table of all results. Both are counted from the results.
import { make } from "./view.js";

const PATHS = [["bridge", "Bridge"], ["tunnel", "Tunnel"]];

function count(results, path, key) {
  const counts = new Map();
  for (const result of results) {
    const label = result[path] ? key(result[path]) : path === "tunnel" ? "- NO TUNNEL" : "- NO RESULT";
    counts.set(label, (counts.get(label) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => b[1] - a[1]);
}

export function showScore(results, grades) {
  if (!results.length) return [];
  return PATHS.flatMap(([path, title]) => {
    const counted = new Map(count(results, path, (outcome) => outcome.grade));
    const parts = grades.filter((grade) => counted.has(grade.grade)).map((grade) =>
      make("strong", { class: grade.grade, title: grade.meaning }, ` ${grade.mark} ${counted.get(grade.grade)}`));
    return [make("span", { class: "score-part" }, `${title.toLowerCase()}`, ...parts), " "];
  });
}

function totals(cases, results) {
  const sent = Object.values(results);
  const [bridge, tunnel] = PATHS;
  const lines = [bridge, ["plain_proxy", "nginx"], tunnel].map(([path, title]) => {
    const labels = count(sent, path, (outcome) => `${outcome.mark} ${outcome.word}`);
    return make("p", { class: "total" }, make("strong", {}, `${title}: `), labels.map(([label, number]) => `${number} ${label}`).join(" · ") || "not sent yet");
  });
  return [make("h2", {}, `All cases: ${sent.length} of ${cases.length} sent`), ...lines];
}

function row(item, result) {
  const cell = (path) => {
    if (!result) return make("td", {}, "…");
    const outcome = result[path];
    if (!outcome) return make("td", {}, path === "tunnel" ? "- NO TUNNEL" : "–");
    return make("td", { class: outcome.grade }, make("strong", {}, `${outcome.mark} ${outcome.word}`), ` ${outcome.client_received}${outcome.recorded ? " (recorded)" : ""}`);
  };
  return make("tr", { "data-row": item.id }, make("th", { scope: "row" }, make("a", { href: `#${item.id}` }, item.title)), cell("bridge"), cell("plain_proxy"), cell("tunnel"));
}

// Renders the totals and some rows of the shown table again. The whole table takes too long for one frame.
export function updateResults(cases, results, changed) {
  document.getElementById("totals").replaceChildren(...totals(cases, results));
  for (const item of cases.filter((each) => changed.has(each.id))) {
    document.querySelector(`[data-row="${item.id}"]`).replaceWith(row(item, results[item.id]));
  }
}

export function showResults(cases, results, grades) {
  const legend = make("p", { class: "requirement" }, grades.map((grade) => `${grade.mark} ${grade.meaning}`).join(" · "));
  let family = "";
  const rows = cases.flatMap((item) => {
    const begins = item.family === family ? [] : [make("tr", {}, make("th", { colspan: "4", scope: "rowgroup", class: "rowgroup" }, item.family))];
    family = item.family;
    return [...begins, row(item, results[item.id])];
  });
  const head = ["Case", "Bridge", "nginx", "Tunnel"].map((title) => make("th", { scope: "col" }, title));
  return [
    make("div", { id: "totals" }, ...totals(cases, results)), legend,
    make("table", { id: "results" }, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows)),
  ];
}
