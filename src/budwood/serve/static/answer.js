// A picture in, its classes with their certainty out. What comes from files or classes enters the page as text only.
import { bdi, clean, counted, el, percent } from "./dom.js";

const SHOWN = 5; // classes with a bar
const KEPT = 20; // answers on the page
const TRIES = 4; // where the server is busy
const LONG_SIDE = 2048; // pixels, of a picture that has to be reduced before it is sent
const list = document.getElementById("answers");
const drop = document.getElementById("drop");
let info = null;

const say = (text) => { document.getElementById("said").textContent = text; };
const wait = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

class Failed extends Error {}

async function post(path, file) {
  for (let left = TRIES; ; left -= 1) {
    let answer;
    try {
      answer = await fetch(path, { method: "POST", body: file, headers: { "content-type": "application/octet-stream" } });
    } catch {
      throw new Failed("the server cannot be reached; is it still running?");
    }
    if (answer.status !== 503 || left === 1) return answer;
    await wait(Number(answer.headers.get("retry-after")) || 1);
  }
}

async function words(answer) {
  try {
    const body = await answer.json();
    return body.error || body.answers[0].error;
  } catch {
    return `the server answered ${answer.status}`;
  }
}

async function reduced(file) {
  if (file.size <= info.limits.bytes) return [file, false];
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new Failed(`larger than the ${Math.floor(info.limits.bytes / 1e6)} MB that the server takes, and no picture that this browser can reduce`);
  }
  const scale = Math.min(1, LONG_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(bitmap.width * scale);
  canvas.height = Math.round(bitmap.height * scale);
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return [await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92)), true];
}

function bars(row) {
  const sorted = Object.entries(row.probabilities).sort((a, b) => b[1] - a[1]);
  const shown = sorted.slice(0, SHOWN).map(([name, share], at) => {
    const fill = el("span", { class: "fill" });
    fill.style.width = `${100 * share}%`;
    return el("li", { class: at ? null : "best" }, bdi(name), el("span", { class: "share" }, percent(share)), el("span", { class: "rail", "aria-hidden": "true" }, fill));
  });
  const list = el("ol", { class: "bars", "aria-label": "Classes by certainty" }, shown);
  const rest = sorted.length - shown.length;
  return rest > 0 ? [list, el("p", { class: "quiet small" }, `and ${counted(rest, "class", "classes")} less likely than these`)] : [list];
}

function verdict(row) {
  if (row.certain === null) return [bdi(row.predicted), "The likeliest class. This model carries no measure of when it had better not answer."];
  const wrong = `${Math.round(100 * info.risk)} in 100`;
  if (row.certain) return [bdi(row.answer), `Certain enough: of answers like this, at most about ${wrong} are wrong.`];
  return ["I do not know", ["It may be ", ...joined(row.candidates), `. It is not certain enough to answer with at most about ${wrong} wrong.`]];
}

const joined = (names) => names.flatMap((name, at) => [at ? (at === names.length - 1 ? " or " : ", ") : "", bdi(name)]);

function whyButton(card, image, original, file, label) {
  let map = null;
  const button = el("button", { type: "button", "aria-pressed": "false", onclick: async () => {
    const on = button.getAttribute("aria-pressed") === "false";
    if (on && !map) {
      button.disabled = true;
      try {
        const answer = await post(`/why?label=${encodeURIComponent(label)}`, file);
        if (!answer.ok) throw new Failed(await words(answer));
        map = URL.createObjectURL(await answer.blob());
      } catch (error) {
        if (!(error instanceof Failed)) throw error;
        say(clean(error.message));
        button.textContent = clean(error.message);
        return;
      }
      button.disabled = false;
      button.focus();
    }
    image.src = on ? map : original;
    button.setAttribute("aria-pressed", String(on));
    say(on ? "The picture shows where the evidence lies; the rest is grey." : "The picture as it was sent.");
  } }, "Where does it look?");
  return button;
}

async function ask(file) {
  const original = URL.createObjectURL(file);
  const image = el("img", { class: "picture", src: original, alt: "the picture that was sent" });
  image.addEventListener("error", () => image.removeAttribute("src"));
  const told = el("div", {}, el("p", { class: "file", title: file.name }, bdi(file.name)), el("p", { class: "words" }, "Asking …"));
  const card = el("li", { class: "answer waiting", tabindex: "-1" }, image, told);
  list.prepend(card);
  while (list.children.length > KEPT) list.lastElementChild.remove();
  try {
    const [sent, smaller] = await reduced(file);
    const answer = await post("/predict", sent);
    if (!answer.ok) throw new Failed(await words(answer));
    const [row] = (await answer.json()).answers;
    const [name, sentence] = verdict(row);
    card.className = row.certain === false ? "answer unsure" : "answer";
    told.replaceChildren(told.firstChild, el("p", { class: "said-class" }, name), el("p", { class: "words" }, sentence), ...bars(row));
    if (smaller) told.append(el("p", { class: "quiet small" }, "Reduced before it was sent: the file is larger than this server takes."));
    if (info.why) told.append(el("div", { class: "acts" }, whyButton(card, image, original, sent, row.predicted)));
    say(clean(`${file.name}: ${row.certain === false ? "I do not know" : row.predicted}, ${percent(row.probability)}`));
  } catch (error) {
    if (!(error instanceof Failed)) throw error;
    card.className = "answer failed";
    const again = el("button", { type: "button", onclick: () => { card.remove(); take([file]); } }, "Try again");
    told.replaceChildren(told.firstChild, el("p", { class: "said-class" }, "No answer"), el("p", { class: "words" }, error.message), el("div", { class: "acts" }, again));
    say(clean(`${file.name}: no answer, ${error.message}`));
  }
}

async function take(files) {
  // The first one ends on top; one after the other, so that a phone is not asked to hold them all.
  for (const file of [...files].slice(0, KEPT)) await ask(file);
}

function listenTo(input) {
  input.addEventListener("change", () => { take([...input.files]); input.value = ""; });
}

async function begin() {
  let answer;
  try {
    answer = await fetch("/info");
  } catch {
    answer = null;
  }
  if (!answer || !answer.ok) {
    document.getElementById("about").textContent = "The server cannot be reached; load the page again.";
    return;
  }
  info = await answer.json();
  const without = info.why ? "" : ` Where it looks is not shown: ${info.why_not}.`;
  const threshold = info.threshold === null ? "" : ` It answers from ${percent(info.threshold)} certainty on.`;
  document.getElementById("about").textContent = clean(`Names pictures as one of ${counted(info.classes.length, "class", "classes")}.${threshold}${without}`);
  listenTo(document.getElementById("choose"));
  listenTo(document.getElementById("camera"));
  for (const kind of ["dragenter", "dragover"]) document.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    take([...event.dataTransfer.files]);
  });
  document.addEventListener("paste", (event) => take([...event.clipboardData.files]));
  document.documentElement.dataset.ready = "1";
}

begin();
