// The two small dialogs: choosing a class by typing, and the list of keys.

import { bdi, el, kbd } from "./dom.js";

const SHOWN = 50; // classes; typing narrows them down

export function chooseClass(dialog, classes, tile, relabel) {
  let shown = [], at = 0;
  const list = el("ul", { role: "listbox", id: "class-list", "aria-label": "classes" });
  const input = el("input", { type: "text", role: "combobox", "aria-expanded": "true", "aria-controls": "class-list", "aria-label": "the first letters of a class", placeholder: "Type a class …", autocomplete: "off", spellcheck: "false" });
  const mark = () => [...list.children].forEach((item, i) => {
    item.setAttribute("aria-selected", String(i === at));
    if (i === at) {
      input.setAttribute("aria-activedescendant", item.id);
      item.scrollIntoView({ block: "nearest" });
    }
  });
  const take = (name) => {
    dialog.close();
    relabel(name);
  };
  const fill = () => {
    const asked = input.value.trim().toLowerCase();
    const starts = classes.filter((name) => name.toLowerCase().startsWith(asked));
    const holds = classes.filter((name) => !starts.includes(name) && name.toLowerCase().includes(asked));
    shown = [...starts, ...holds].slice(0, SHOWN);
    at = Math.max(0, asked ? 0 : shown.indexOf(tile.card.suggestion));
    list.replaceChildren(...shown.map((name, i) => el("li", { role: "option", id: `class-${i}`, onclick: () => take(name) }, bdi(name), name === tile.view.label ? el("span", { class: "quiet" }, "as it is") : null, name === tile.card.suggestion ? el("span", { class: "quiet" }, "suggested") : null)));
    mark();
  };
  input.addEventListener("input", fill);
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      at = Math.min(shown.length - 1, Math.max(0, at + (event.key === "ArrowDown" ? 1 : -1)));
      mark();
    } else if (event.key === "Enter") {
      if (shown[at] !== undefined) take(shown[at]);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  dialog.replaceChildren(el("p", { class: "quiet" }, "Another class for this picture"), input, list, close(dialog));
  fill();
  dialog.showModal();
  input.focus();
}

const LINES = [
  ["Enter", "keep: it is fine as it is"], ["x", "exclude"], ["r", "give it the suggested class"], ["1 – 9", "give it that class"], ["c or /", "choose a class by typing"],
  ["u", "undo, as often as you like"], ["o", "in a set: only this one stays"], ["a", "in a set: keep all"], ["Shift R", "in a set: all get the suggested class"],
  ["← → ↑ ↓", "move"], ["j k", "next and previous finding"], ["n", "next one that is not decided"], ["[ ]", "previous and next page"], ["Space", "large view"], ["Esc", "back"],
];

export function showHelp(dialog) {
  dialog.replaceChildren(
    el("h2", {}, "Keys"),
    el("dl", {}, LINES.flatMap(([keys, words]) => [el("dt", {}, keys.split(" ").map((key) => (["or", "–"].includes(key) ? ` ${key} ` : kbd(key)))), el("dd", {}, words)])),
    el("p", { class: "quiet" }, "Every decision is on the disk before “all saved” appears. No picture file is ever changed."),
    close(dialog),
  );
  dialog.showModal();
}

function close(dialog) {
  return el("button", { type: "button", class: "plain-button", onclick: () => dialog.close() }, "Close", kbd("Esc"));
}
