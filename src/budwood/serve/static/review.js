// The review: which view is open, where the cursor is, what a key or a click does.

import { actionRow, checkRow, classRow, describe, makeSet, makeTile, refreshSet, refreshTile, verdict } from "./cards.js";
import { chooseClass, showHelp } from "./dialogs.js";
import { baseName, bdi, counted, el, kbd, picture } from "./dom.js";
import { Link } from "./link.js";

const SHARPEN_MS = 180; // the panel loads the large picture when the cursor rests
const $ = (id) => document.getElementById(id);
const view = $("view"), loupe = $("loupe");
let session = null, route = { kind: "overview" }, page = null, tiles = [], sets = [], cursor = -1, panel = null, asked = 0, sharpen = 0;

const link = new Link({
  session(values) {
    session = values;
    progress();
  },
  saved,
  refused(operation, text) {
    say(text);
    reload();
  },
  outbox(number) {
    $("saved").textContent = number ? `saving ${number} …` : link.steps ? "all saved" : "";
    $("saved").classList.toggle("busy", number > 0);
  },
  trouble(text, again = true) {
    const waiting = link.outbox.length;
    const state = waiting ? ` Your last ${waiting === 1 ? "decision is" : `${waiting} decisions are`} not saved yet.` : " All your decisions so far are saved.";
    const box = $("trouble");
    if (!text) box.hidden = true;
    else if (box.hidden || box.dataset.text !== text + state) {
      box.dataset.text = text + state;
      box.replaceChildren(el("b", {}, text), `${state}${again ? " Trying again …" : ""} `, again && el("button", { type: "button", onclick: () => link.tryNow() }, "Try now"));
      box.hidden = false;
    }
  },
});

// ---- where we are ----

function readRoute() {
  const [kind, name, number] = location.hash.slice(1).split("/").map(decodeURIComponent);
  if (kind === "check" && name) return { kind, name, page: Number(number) || 0 };
  if (kind === "pictures") {
    const asked = new URLSearchParams(name);
    return { kind, label: asked.get("label") || "", show: asked.get("show") || "all", page: Number(number) || 1 };
  }
  return { kind: "overview" };
}

function address(where, number) {
  if (where.kind === "check") return `#check/${encodeURIComponent(where.name)}/${number}`;
  return `#pictures/${encodeURIComponent(new URLSearchParams({ label: where.label, show: where.show }))}/${number}`;
}

const summary = () => session.checks.find((check) => check.name === route.name);

async function open() {
  const mine = (asked += 1);
  const next = readRoute();
  if (next.kind === "overview") {
    await link.get("/api/session").then((values) => { session = { ...session, ...values }; });
    if (mine !== asked) return;
    route = next;
    drawOverview();
    return;
  }
  let at = -1;
  try {
    if (next.kind === "check" && !next.page) {
      const first = (await link.get(`/api/next?check=${encodeURIComponent(next.name)}`)).index ?? 0;
      const known = session.checks.find((check) => check.name === next.name);
      next.page = 1 + Math.floor(first / (known && known.shape === "pictures" ? session.page_size : session.sets_size));
      at = first;
    }
    const query = next.kind === "check" ? `/api/findings?check=${encodeURIComponent(next.name)}&page=${next.page}`
      : `/api/pictures?${new URLSearchParams({ label: next.label, show: next.show, page: next.page })}`;
    const loaded = await link.get(query);
    if (mine !== asked) return;
    const same = route.kind === next.kind && route.page === next.page && route.name === next.name;
    const before = same && current() ? current().view.path : null;
    [route, page] = [next, loaded];
    drawList();
    const found = tiles.findIndex((tile) => tile.view.path === before);
    const card = at >= 0 ? page.cards[at - page.first] : null;
    moveTo(found >= 0 ? found : Math.max(0, tiles.findIndex((tile) => tile.card === card)), { scroll: found < 0 && at > 0 });
  } catch (error) {
    say(error.message);
  }
}

function reload() {
  open();
}

function go(hash) {
  if (location.hash === hash) open();
  else location.hash = hash;
}

function turnPage(by) {
  if (!page || route.kind === "overview") return;
  const number = page.page + by;
  if (number >= 1 && number <= page.pages) go(address(route, number));
  else say(by > 0 ? "That was the last page." : "This is the first page.");
}

// ---- drawing ----

function progress() {
  const box = $("progress");
  const check = session && route.kind === "check" ? summary() : null;
  const [done, total, words] = check ? [check.total - check.left, check.total, "looked at"]
    : route.kind === "pictures" && session ? [session.num_decided, session.num_pictures, "decided"] : [0, 0, ""];
  box.hidden = !total;
  $("progress-text").textContent = `${done} of ${total} ${words}`;
  $("progress-bar").max = total || 1;
  $("progress-bar").value = done;
}

function heading(text) {
  $("heading").replaceChildren(bdi(text));
  document.title = `${text} – Budwood review`;
}

function drawOverview() {
  [page, tiles, sets, cursor] = [null, [], [], -1];
  loupe.close();
  heading(session.title);
  progress();
  const left = session.checks.reduce((sum, check) => sum + check.left, 0);
  const decidable = session.checks.filter((check) => check.shape !== "notes");
  const notes = session.checks.filter((check) => check.shape === "notes");
  const pictures = (show, text) => el("a", { class: "pill", href: address({ kind: "pictures", label: "", show }, 1) }, text);
  view.className = "overview";
  view.replaceChildren(
    el("p", { class: "lead" }, !decidable.length ? "The audit found nothing to decide." : left ? `${counted(left, "finding")} to look at.` : "All findings are looked at."),
    el("p", { class: "quiet" }, `${counted(session.num_pictures, "picture")} in ${counted(session.classes.length, "class", "classes")}; ${counted(session.num_decided, "picture")} decided upon. Decisions are on the disk at once; your files are never changed. Ledger: `, el("code", {}, session.ledger)),
    el("ul", { class: "checks" }, decidable.map(checkRow)),
    el("p", { class: "pills" }, pictures("all", "All pictures"), pictures("decided", `Decided (${session.num_decided})`), pictures("exclude", "Excluded"), pictures("relabel", "Relabelled"), session.num_unreadable ? pictures("unreadable", `Unreadable (${session.num_unreadable})`) : null),
    notes.length ? el("h2", { class: "to-know" }, "To know") : "",
    notes.length ? el("ul", { class: "checks" }, notes.map(checkRow)) : "",
  );
  if (!view.contains(document.activeElement)) view.querySelector(".checks a")?.focus({ preventScroll: true });
}

function drawList() {
  const check = route.kind === "check" ? summary() : null;
  const asSets = Boolean(check && check.shape !== "pictures") || page.cards.some((card) => card.num_pictures !== 1);
  heading(check ? check.title : "All pictures");
  [tiles, sets, cursor] = [[], [], -1];
  for (const card of page.cards) {
    card.isSet = check?.shape === "sets";
    card.explained = asSets; // the evidence stands above its pictures
    const own = card.pictures.map((item) => makeTile(card, item, picked));
    tiles.push(...own);
    if (asSets) sets.push(makeSet(card, own, showMore));
  }
  const list = asSets ? el("div", { class: "sets" }, sets.map((set) => set.element))
    : el("div", { class: "grid", role: "listbox", "aria-label": check ? check.title : "pictures" }, tiles.map((tile) => tile.element));
  panel = { picture: el("div", { class: "close-up" }), text: el("div", { class: "text" }), buttons: el("div", { class: "buttons" }) };
  panel.element = el("aside", { class: "panel", "aria-label": "the chosen picture" }, panel.picture, panel.text, panel.buttons);
  panel.picture.addEventListener("click", openLoupe);
  view.className = tiles.length ? "list" : "list alone";
  view.replaceChildren(
    el("div", { class: "desk" },
      el("div", { class: "side" },
        el("div", { class: "intro" }, check ? el("p", {}, check.meaning, " ", el("span", { class: "quiet" }, check.remedy)) : filters(), bulk(check)),
        page.cards.length ? list : el("p", { class: "quiet" }, "There are no pictures here."),
        pager()),
      tiles.length ? panel.element : ""),
  );
  progress();
  window.scrollTo(0, 0);
}

function filters() {
  const choose = (name, options, value) => el(
    "select",
    { "aria-label": name, onchange: (event) => go(address({ ...route, [name]: event.target.value }, 1)) },
    options.map(([key, text]) => el("option", { value: key, selected: key === value }, text)),
  );
  const classes = [["", "all classes"], ...session.classes.map((name) => [name, name])];
  const shows = [["all", "all"], ["open", "not decided"], ["decided", "decided"], ["keep", "kept"], ["exclude", "excluded"], ["relabel", "relabelled"], ["unreadable", "unreadable"]];
  return el("p", { class: "filters" }, choose("label", classes, route.label), choose("show", shows, route.show), el("span", { class: "quiet" }, counted(page.total, "picture")));
}

function bulk(check) {
  if (!check || check.shape === "notes" || !tiles.length) return "";
  const button = (text, wishes) => el("button", { type: "button", class: "bulk", onclick: () => inBulk(text, wishes) }, text);
  if (check.shape === "sets") {
    return el("p", { class: "bulks" }, el("span", { class: "quiet" }, "All open ones on this page:"),
      button("Keep the best of each", (card) => ({ action: "keep_one", finding: card.id, path: card.pictures[card.best].path })),
      button("Keep all", (card) => ({ action: "keep", finding: card.id })));
  }
  return el("p", { class: "bulks" }, el("span", { class: "quiet" }, "All open ones on this page:"),
    button("Exclude", (card) => ({ action: "exclude", finding: card.id })),
    button("Keep", (card) => ({ action: "keep", finding: card.id })),
    page.cards.some((card) => card.suggestion) && button("Relabel as suggested", (card) => card.suggestion && { action: "relabel", finding: card.id, label: card.suggestion }));
}

function pager() {
  if (page.pages < 2) return "";
  const to = (number, text, key) => (number < 1 || number > page.pages ? el("span", { class: "pill off" }, text)
    : el("a", { class: "pill", href: address(route, number) }, text, kbd(key)));
  return el("nav", { class: "pager", "aria-label": "pages" }, to(page.page - 1, "← Back", "["), el("span", { class: "quiet" }, `page ${page.page} of ${page.pages}`), to(page.page + 1, "Next →", "]"));
}

function drawPanel() {
  const tile = current();
  if (!tile || !panel) return;
  const does = { act, keepOne, wholeSet, choose, undo };
  panel.text.replaceChildren(...describe(tile));
  panel.buttons.replaceChildren(actionRow(tile, does), classRow(session.classes, tile, relabel));
  if (panel.shown !== tile.view.content) {
    panel.shown = tile.view.content;
    panel.picture.replaceChildren(picture(tile.view, { alt: `${tile.view.label}: ${baseName(tile.view.path)}` }));
    clearTimeout(sharpen);
    if (tile.view.digest && Math.max(tile.view.width, tile.view.height) > 256) sharpen = setTimeout(() => sharpenPanel(tile), SHARPEN_MS);
  }
  if (loupe.open) drawLoupe();
}

function sharpenPanel(tile) {
  if (current() !== tile || loupe.open || !panel.picture.offsetParent) return;
  const large = picture(tile.view, { large: true, alt: `${tile.view.label}: ${baseName(tile.view.path)}` });
  large.addEventListener("load", () => { if (current() === tile) panel.picture.replaceChildren(large); });
}

function openLoupe() {
  if (!current()) return;
  if (loupe.open) {
    loupe.close();
    return;
  }
  loupe.showModal();
  drawLoupe();
}

function drawLoupe() {
  const tile = current();
  const step = (by, text, name) => el("button", { type: "button", class: "step", "aria-label": name, onclick: () => moveTo(cursor + by) }, text);
  loupe.replaceChildren(
    el("div", { class: "stage" }, picture(tile.view, { large: true, alt: `${tile.view.label}: ${baseName(tile.view.path)}` }), step(-1, "‹", "picture before"), step(1, "›", "next picture")),
    el("div", { class: "under" }, ...describe(tile), actionRow(tile, { act, keepOne, wholeSet, choose, undo }),
      el("button", { type: "button", class: "plain-button", onclick: () => loupe.close() }, "Close", kbd("Esc"))),
  );
  loupe.focus(); // else Enter would press the button that was clicked last
}

// ---- the cursor ----

const current = () => tiles[cursor];

function moveTo(index, { scroll = true } = {}) {
  if (!tiles.length) return;
  const before = current();
  cursor = Math.min(tiles.length - 1, Math.max(0, index));
  if (before) {
    before.element.setAttribute("aria-selected", "false");
    before.element.tabIndex = -1;
  }
  const { element } = current();
  element.setAttribute("aria-selected", "true");
  element.tabIndex = 0;
  if (!loupe.open) element.focus({ preventScroll: true });
  if (scroll) (current().view === current().card.pictures[0] && current().card.num_pictures > 1 ? element.closest(".set") || element : element).scrollIntoView({ block: "nearest" });
  drawPanel();
}

function picked(tile, event) {
  const index = tiles.indexOf(tile);
  const again = index === cursor;
  moveTo(index, { scroll: false });
  if (again || event.detail === 2) openLoupe();
}

function stepCard(by) {
  const card = current()?.card;
  let index = cursor;
  while (tiles[index] && tiles[index].card === card) index += by;
  if (!tiles[index]) {
    if (by > 0) endOfPage();
    return;
  }
  const target = tiles[index].card;
  moveTo(tiles.findIndex((tile) => tile.card === target));
}

function stepRow(by) {
  if (sets.length) {
    stepCard(by);
    return;
  }
  const columns = tiles.filter((tile) => tile.element.offsetTop === tiles[0].element.offsetTop).length;
  if (cursor + by * columns >= 0 && cursor + by * columns < tiles.length) moveTo(cursor + by * columns);
  else if (by > 0 && cursor < tiles.length - 1) moveTo(tiles.length - 1);
}

function forward() {
  if (cursor < tiles.length - 1) moveTo(cursor + 1);
  else endOfPage();
}

function endOfPage() {
  if (page.page < page.pages) go(address(route, page.page + 1));
  else say(route.kind === "check" && summary()?.left > waitingHere() ? "That was the last one. n goes to the next open one." : "That was the last one. Esc goes back to the checks.");
}

const waitingHere = () => link.outbox.length;

async function nextOpen() {
  if (route.kind !== "check") return;
  const after = current() ? page.first + page.cards.indexOf(current().card) : -1;
  const { index } = await link.get(`/api/next?check=${encodeURIComponent(route.name)}&after=${after}`);
  if (index === null) say("Nothing is left to decide here. Esc goes back to the checks.");
  else if (index >= page.first && index < page.first + page.cards.length) moveTo(tiles.findIndex((tile) => tile.card === page.cards[index - page.first]));
  else go(address(route, 1 + Math.floor(index / page.size)));
}

async function showMore(set) {
  const { pictures } = await link.get(`/api/members?finding=${set.card.id}&first=${set.tiles.length}`);
  const own = pictures.map((item) => makeTile(set.card, item, picked));
  tiles.splice(tiles.indexOf(set.tiles.at(-1)) + 1, 0, ...own);
  cursor = tiles.findIndex((tile) => tile.element.getAttribute("aria-selected") === "true");
  set.tiles.push(...own);
  set.row.append(...own.map((tile) => tile.element));
  if (set.tiles.length >= set.card.num_pictures || !own.length) set.more.remove();
}

// ---- deciding ----

function decide(wishes, shown, words) {
  for (const [tile, decision] of shown) {
    tile.view.decision = decision;
    tile.view.pending = true;
    refreshTile(tile);
  }
  link.push({ kind: "decide", wishes, check: route.kind === "check" ? route.name : "" });
  say(words);
}

function act(action, label = "") {
  const tile = current();
  if (!tile) return;
  if (action === "relabel" && label === tile.view.label) [action, label] = ["keep", ""];
  const decision = { action, label };
  decide([{ action, label, path: tile.view.path, digest: tile.view.content }], [[tile, decision]], `${baseName(tile.view.path)}: ${verdict({ decision })}`);
  drawPanel();
  forward();
}

function wholeSet(action, label = "") {
  const tile = current();
  if (!tile?.card.id) return;
  const own = tiles.filter((other) => other.card === tile.card);
  const shown = own.map((other) => [other, action === "relabel" && label === other.view.label ? { action: "keep", label: "" } : { action, label }]);
  decide([{ action, label, finding: tile.card.id }], shown, `all ${tile.card.num_pictures}: ${verdict({ decision: { action, label } })}`);
  drawPanel();
  stepCard(1);
}

function keepOne() {
  const tile = current();
  if (!tile?.card.isSet) return;
  const own = tiles.filter((other) => other.card === tile.card);
  const shown = own.map((other) => [other, { action: other === tile ? "keep" : "exclude", label: "" }]);
  decide([{ action: "keep_one", finding: tile.card.id, path: tile.view.path }], shown, `${baseName(tile.view.path)} stays, ${counted(tile.card.num_pictures - 1, "copy", "copies")} excluded`);
  drawPanel();
  stepCard(1);
}

function inBulk(text, wish) {
  // What is still on its way to the server is decided too.
  const open = page.cards.filter((card) => card.id && card.open && !card.pictures.some((item) => item.pending));
  const wishes = open.map(wish).filter(Boolean);
  if (!wishes.length) {
    say("Nothing on this page is left to decide.");
    return;
  }
  decide(wishes, [], `${text}: ${wishes.length} on this page. u takes it back.`);
}

const relabel = (name) => act("relabel", name);

function choose() {
  const tile = current();
  if (tile) chooseClass($("chooser"), session.classes, tile, relabel);
}

function suggested() {
  const suggestion = current()?.card.suggestion;
  if (suggestion) relabel(suggestion);
  else choose();
}

function undo() {
  link.push({ kind: "undo" });
}

function saved(operation, answer) {
  const reach = operation.kind === "undo" ? Object.keys(answer.changed) : [];
  session = { ...session, ...answer };
  const waiting = new Set(link.outbox.flatMap((later) => (later.wishes || []).map((wish) => wish.path || wish.finding)));
  for (const tile of tiles) {
    if (!(tile.view.path in answer.changed) || waiting.has(tile.view.path) || waiting.has(tile.card.id)) continue;
    tile.view.decision = answer.changed[tile.view.path];
    tile.view.pending = false;
    refreshTile(tile);
  }
  for (const card of page ? page.cards : []) if (card.id in answer.open) card.open = answer.open[card.id];
  sets.forEach(refreshSet);
  progress();
  drawPanel();
  if (answer.trouble) say(answer.trouble);
  if (operation.kind === "undo") undone(reach, answer);
  if (route.kind === "overview") drawOverview();
}

function undone(paths, answer) {
  if (!paths.length) {
    reload();
    return;
  }
  const found = tiles.findIndex((tile) => paths.includes(tile.view.path));
  const elsewhere = found < 0 && session.checks.find((check) => check.name === answer.check);
  say(`Taken back: ${paths.length === 1 ? baseName(paths[0]) : counted(paths.length, "picture")}${elsewhere ? ` in “${elsewhere.title}”` : ""}.`);
  if (found >= 0) moveTo(found);
}

let fading = 0;
function say(text) {
  $("said").replaceChildren(bdi(text));
  $("said").classList.add("shown");
  clearTimeout(fading);
  fading = setTimeout(() => $("said").classList.remove("shown"), 3500);
}

// ---- keys ----

const KEYS = {
  j: () => stepCard(1), k: () => stepCard(-1), ArrowDown: () => stepRow(1), ArrowUp: () => stepRow(-1),
  ArrowRight: () => moveTo(cursor + 1), ArrowLeft: () => moveTo(cursor - 1), Home: () => moveTo(0), End: () => moveTo(tiles.length - 1),
  Enter: () => act("keep"), x: () => act("exclude"), Delete: () => act("exclude"), o: keepOne, a: () => current()?.card.isSet && wholeSet("keep"),
  r: suggested, R: () => current()?.card.suggestion && wholeSet("relabel", current().card.suggestion),
  c: choose, "/": choose, " ": openLoupe, n: nextOpen, "]": () => turnPage(1), "[": () => turnPage(-1), PageDown: () => turnPage(1), PageUp: () => turnPage(-1),
};

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("chooser").open || $("help").open) return;
  const onControl = event.target.closest("button, a, select, input, summary");
  if (onControl && (event.key === "Enter" || event.key === " " || onControl.matches("select, input"))) return;
  if (event.key === "?") showHelp($("help"));
  else if (event.key === "u") undo();
  else if (event.key === "Escape" && !loupe.open && route.kind !== "overview") go("#");
  else if (/^[1-9]$/.test(event.key) && current() && session.classes[event.key - 1] !== undefined) relabel(session.classes[event.key - 1]);
  else if (tiles.length && Object.hasOwn(KEYS, event.key)) KEYS[event.key]();
  else return;
  event.preventDefault();
}

document.addEventListener("keydown", pressed);
loupe.addEventListener("close", () => current()?.element.focus({ preventScroll: true }));
$("help-button").addEventListener("click", () => showHelp($("help")));
// After a click the keys go on where the cursor is.
view.addEventListener("click", (event) => { if (event.target.closest(".act, .classes button, .bulk")) current()?.element.focus({ preventScroll: true }); });
window.addEventListener("hashchange", open);
window.addEventListener("beforeunload", (event) => { if (link.outbox.length) event.preventDefault(); });
await link.open();
await open();
document.documentElement.dataset.ready = "1";
