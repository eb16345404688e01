// How findings and pictures look: tiles, sets, the panel beside them. Nothing is decided here.

import { baseName, bdi, bytes, counted, el, kbd, percent, picture } from "./dom.js";

const SEVERITIES = { error: "✕ error", warning: "! warning", info: "i note" };

export function badge(severity) {
  return el("span", { class: `badge ${severity}` }, SEVERITIES[severity]);
}

// What was decided about a picture, in words.
export function verdict(view) {
  const decision = view.decision;
  if (!decision) return "";
  if (decision.action === "relabel") return `→ ${decision.label}`;
  return decision.action === "keep" ? "kept" : "excluded";
}

export function makeTile(card, view, pick) {
  const tile = { card, view };
  tile.mark = el("span", { class: "mark-of-decision" });
  tile.element = el(
    "div",
    { class: "tile", role: "option", tabindex: "-1" },
    el("div", { class: "frame" }, picture(view, { alt: "" }), tile.mark),
    el(
      "p",
      { class: "caption" },
      el("b", {}, bdi(view.label)),
      card.suggestion && card.suggestion !== view.label && !card.isSet ? el("span", { class: "perhaps" }, bdi(`${card.suggestion}?`))
        : el("span", { class: "path", title: view.path }, bdi(baseName(view.path))),
    ),
  );
  tile.element.addEventListener("click", (event) => pick(tile, event));
  refreshTile(tile);
  return tile;
}

export function refreshTile(tile) {
  const { view, element, mark } = tile;
  element.classList.remove("keep", "exclude", "relabel");
  if (view.decision) element.classList.add(view.decision.action);
  element.classList.toggle("pending", Boolean(view.pending));
  const said = verdict(view);
  mark.replaceChildren(said ? bdi(view.decision.action === "keep" ? "✓ kept" : view.decision.action === "exclude" ? "✕ excluded" : said) : "");
  element.setAttribute("aria-label", `${baseName(view.path)}, class ${view.label}${said ? `, ${said}` : ""}`);
}

export function makeSet(card, tiles, showMore) {
  const set = { card, tiles, done: el("span", { class: "set-done" }) };
  set.row = el("div", { class: "members", role: "listbox", "aria-label": card.evidence }, tiles.map((tile) => tile.element));
  set.element = el(
    "section",
    { class: `set ${card.severity}` },
    el("p", { class: "evidence" }, bdi(card.evidence), card.suggestion ? [" Most copies say ", el("b", {}, bdi(card.suggestion)), "."] : "", set.done),
    set.row,
  );
  if (card.num_pictures > tiles.length) {
    set.more = el("button", { type: "button", class: "plain-button", onclick: () => showMore(set) }, `Show more of ${card.num_pictures}`);
    set.element.append(set.more);
  }
  refreshSet(set);
  return set;
}

export function refreshSet(set) {
  const settled = set.card.isSet && !set.card.open;
  set.element.classList.toggle("settled", settled);
  set.done.replaceChildren(settled ? "✓ settled" : "");
}

function facts(view) {
  const parts = [];
  if (view.width) parts.push(`${view.width} × ${view.height} px`);
  parts.push(bytes(view.num_bytes));
  if (view.format) parts.push(view.format);
  if (view.mode && view.mode !== "RGB") parts.push(view.mode);
  if (view.part) parts.push(view.part);
  return parts.join(" · ");
}

function opinionBars(view, digits) {
  if (!view.opinion.length) return null;
  return el(
    "ol",
    { class: "opinion", "aria-label": "what the network thinks" },
    view.opinion.map(([name, share]) => {
      const bar = el("span", { class: "fill" });
      bar.style.width = `${100 * share}%`;
      return el("li", { class: name === view.label ? "own" : "" }, bar, bdi(name), el("span", {}, percent(share)));
    }),
  );
}

// The text about one tile beside its picture.
export function describe(tile) {
  const { card, view } = tile;
  const said = verdict(view);
  return [
    el(
      "div",
      { class: "about" },
      el("p", { class: "names" }, el("b", { class: "class-name" }, bdi(view.label)), said && el("span", { class: `said-of ${view.decision.action}` }, bdi(said))),
      el("p", { class: "path", title: view.path }, bdi(view.path)),
      el("p", { class: "quiet small" }, facts(view)),
    ),
    card.evidence && !card.explained && el("p", { class: `why ${card.severity}` }, bdi(card.evidence)),
    opinionBars(view),
  ].filter(Boolean);
}

export function actionRow(tile, does) {
  const { card, view } = tile;
  const button = (name, key, action, kind) =>
    el("button", { type: "button", class: kind, onclick: action, title: key }, name, kbd(key));
  return el(
    "div",
    { class: "actions", role: "group", "aria-label": "decide" },
    button("Keep", "Enter", () => does.act("keep"), "act keep"),
    button("Exclude", "x", () => does.act("exclude"), "act exclude"),
    card.suggestion && card.suggestion !== view.label ? button(["→ ", bdi(card.suggestion)], "r", () => does.act("relabel", card.suggestion), "act relabel") : null,
    card.isSet && card.num_pictures > 1 ? [button("Only this one", "o", does.keepOne, "act"), button("Keep all", "a", () => does.wholeSet("keep"), "act less")] : null,
    button("Other class", "c", does.choose, "act less"),
    button("Undo", "u", does.undo, "act less"),
  );
}

// The classes with their digits; `suggested` is marked.
export function classRow(classes, tile, relabel) {
  return el(
    "div",
    { class: "classes", role: "group", "aria-label": "give another class" },
    classes.slice(0, 9).map((name, i) =>
      el(
        "button",
        { type: "button", class: name === tile.card.suggestion ? "suggested" : "", "aria-pressed": String(name === (tile.view.decision?.label || tile.view.label)), onclick: () => relabel(name), title: name },
        kbd(i + 1), bdi(name),
      )),
    classes.length > 9 && el("span", { class: "quiet small" }, `and ${counted(classes.length - 9, "class", "classes")} more: press c`),
  );
}

export function checkRow(check) {
  const looked = check.total - check.left;
  const bar = el("progress", { max: String(Math.max(1, check.total)), value: String(looked), "aria-label": "looked at" });
  return el(
    "li",
    { class: check.total && !check.left ? "finished" : "" },
    el(
      "a",
      { href: `#check/${encodeURIComponent(check.name)}` },
      el("h2", {}, bdi(check.title), badge(check.severity)),
      el("p", {}, check.meaning),
      check.notes.length ? el("ul", { class: "notes" }, check.notes.map((note) => el("li", {}, bdi(note)))) : null,
      check.total
        ? el("p", { class: "standing" }, bar, el("b", {}, check.left ? `${check.left} left` : "done"), el("span", { class: "quiet" }, `${looked} of ${check.total} looked at`))
        : null,
    ),
  );
}
