// Elements and words. Everything that comes from files or classes enters the page as text, never as HTML.

// What would turn the text around a name: the marks for writing direction, and control characters.
const TURNING = /[\u0000-\u001f\u007f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

export const clean = (text) => String(text).replace(TURNING, "\ufffd");

// el("button", {class: "x", onclick: f, "aria-label": "y"}, "text", child, ...)
export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : clean(value));
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : clean(child))));
  return made;
}

export const bdi = (text, properties = {}) => el("bdi", properties, text);

export const kbd = (key) => el("kbd", { "aria-hidden": "true" }, key);

export const baseName = (path) => path.slice(path.lastIndexOf("/") + 1) || path;

export const counted = (number, noun, plural) => `${number} ${number === 1 ? noun : plural || `${noun}s`}`;

export function bytes(number) {
  if (number < 1000) return `${number} B`;
  return number < 1e6 ? `${Math.round(number / 1000)} kB` : `${(number / 1e6).toFixed(1)} MB`;
}

// Never rounded to certainty.
export function percent(share) {
  if (share > 0 && share < 0.005) return "< 1 %";
  return share >= 0.995 && share < 1 ? "> 99 %" : `${Math.round(100 * share)} %`;
}

export function picture(view, { large = false, alt = "" } = {}) {
  if (!view.digest) return el("div", { class: "blank", role: "img", "aria-label": alt }, view.reason || "cannot be read");
  const image = el("img", { src: `/${large ? "picture" : "thumb"}/${view.digest}`, alt, loading: large ? "eager" : "lazy", decoding: "async", draggable: "false" });
  image.addEventListener("error", () => {
    // A server that is away for a moment is no reason to give a picture up.
    if (!image.dataset.again) {
      image.dataset.again = "1";
      setTimeout(() => { image.src = `${image.getAttribute("src")}?again`; }, 4000);
    } else image.replaceWith(el("div", { class: "blank", role: "img", "aria-label": alt }, "cannot be shown now"));
  });
  return image;
}
