// What the pages of the gallery do in the browser: keys, copying, the map. Everything else works without it.
"use strict";

const one = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const ARROWS = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"];
// Tables and code that are wider than their place: arrows scroll them.
const isScrolled = (target) => target.closest(".scroll, code[tabindex], pre[tabindex]") !== null;
const isTyping = (target) => target.closest("input, select, textarea, [contenteditable]") !== null;

// Where a bar of links is wider than the screen, the one for this page is in sight.

for (const found of all("nav a[aria-current]")) {
  const bar = found.closest(".top nav, .tabs");
  if (bar) bar.scrollLeft = found.offsetLeft - (bar.clientWidth - found.offsetWidth) / 2;
}

// Help

const help = one("#help");
one("[data-help]")?.addEventListener("click", () => help.showModal());

// The cards of a grid: arrows move among them as they lie on the screen.

function cards() {
  return all(".grid a.whole");
}

function moveInGrid(key) {
  const found = cards();
  if (!found.length) return false;
  const at = found.indexOf(document.activeElement);
  if (at < 0) {
    found[0].focus();
    return true;
  }
  const columns = found.filter((card) => card.getBoundingClientRect().top === found[0].getBoundingClientRect().top).length;
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[key];
  const next = found[at + step];
  if (next) next.focus();
  return true;
}

function follow(relation) {
  const found = one(`a[rel~="${relation}"]`);
  if (found) found.click();
  return Boolean(found);
}

function press(name) {
  const found = one(`[data-key="${name}"]`);
  if (found) found.click();
  return Boolean(found);
}

// The question after an answer comes by itself: a key that was pressed twice for the one before does not answer it.

const UNSEEN_MS = 600;
const shownAt = performance.now();
const isUnseen = () => one("[data-answered]") !== null && performance.now() - shownAt < UNSEEN_MS;

function act(event) {
  const { key } = event;
  if (key === "?") {
    help.showModal();
    return true;
  }
  if (key === "/") {
    const search = one("[data-search]");
    if (search) {
      search.focus();
      search.select();
    }
    return Boolean(search);
  }
  if (key === "n") return follow("next");
  if (key === "p") return follow("prev");
  if (key === "u") return follow("up");
  if (["k", "d", "s"].includes(key)) return event.repeat || isUnseen() || press(key);
  if (ARROWS.includes(key) && !isScrolled(event.target)) {
    if (moveInGrid(key)) return true;
    if (key === "ArrowLeft") return follow("prev");
    if (key === "ArrowRight") return follow("next");
  }
  return false;
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  if (isTyping(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (act(event)) event.preventDefault();
});

// Commands to copy

for (const button of all("[data-copy]")) {
  button.addEventListener("click", async () => {
    const code = one("code", button.parentElement);
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}

// A form that is sent once: its buttons are off until its answer is there, or until one comes back to it.

for (const form of all("form[data-once]")) {
  let isSent = false;
  const turn = (sent) => {
    isSent = sent;
    for (const button of all("button", form)) button.disabled = sent;
  };
  form.addEventListener("submit", (event) => {
    if (isSent) event.preventDefault();
    isSent = true;
    // Not at once: what the pressed button says would not be sent.
    setTimeout(() => turn(true));
  });
  addEventListener("pageshow", () => turn(false));
}

// An empty field says nothing: addresses stay short.

for (const form of all("form[data-lean]")) {
  form.addEventListener("formdata", (event) => {
    for (const [name, value] of [...event.formData.entries()]) if (value === "") event.formData.delete(name);
  });
}

// What a person typed last, such as a name, is there again in the next form; it stays in this browser.

for (const field of all("[data-remember]")) {
  const name = `interlake:${field.name}`;
  if (!field.value) field.value = sessionStorage.getItem(name) ?? "";
  field.addEventListener("input", () => sessionStorage.setItem(name, field.value));
}

// The map: points on a canvas, coloured by a field, opened by a click.

// Each has a contrast of 3 with the sheet below it, light and dark.
const PALETTE = ["#4c8dc0", "#d0662f", "#3c8f5c", "#9a6fc4", "#9c7a12", "#c8527f", "#2f8f8f", "#8c7b6b", "#6a86c8", "#7a8a1e", "#c46a92", "#68788a"];
const OTHERS = "#80868d";
// From few to many.
const RAMP = ["#5469d4", "#2a8aa6", "#279b69", "#2c9325", "#789b27", "#b88a2e"];

class PictureMap {
  constructor(box) {
    this.box = box;
    this.canvas = one("canvas", box);
    this.pen = this.canvas.getContext("2d");
    this.tip = one(".tip", box);
    this.legend = one("[data-legend]");
    this.choice = one("[data-colour]");
    this.at = -1;
  }

  async start() {
    try {
      this.points = await read(this.box.dataset.points);
    } catch (error) {
      const trouble = one("[data-trouble]");
      trouble.textContent = `The points could not be read (${error.message}). Load the page again.`;
      trouble.hidden = false;
      return;
    }
    this.choice.addEventListener("change", () => this.colour());
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("pointerleave", () => this.mark(-1));
    this.canvas.addEventListener("click", (event) => {
      this.point(event);
      if (this.at >= 0) location.assign(`/sample/${this.points.sample_id[this.at]}`);
    });
    new ResizeObserver(() => this.draw()).observe(this.box);
    this.colour();
    this.box.dataset.ready = "yes";
  }

  colour() {
    const field = this.points.fields[this.choice.value];
    const known = field.names.filter((name) => name !== "unknown").length;
    const shade = field.ordered ? ramp(known) : PALETTE;
    this.shades = field.names.map((_, at) => shade[at] ?? OTHERS);
    this.values = field.values;
    this.legend.replaceChildren(...field.names.map((name, at) => this.row(name, at, field.counts[at])));
    this.draw();
  }

  row(name, at, count) {
    const row = document.createElement("li");
    const key = document.createElement("canvas");
    key.width = key.height = 12;
    const pen = key.getContext("2d");
    pen.fillStyle = this.shades[at];
    pen.fillRect(0, 0, 12, 12);
    row.append(key, `${name} (${count})`);
    return row;
  }

  place(at) {
    const rim = 14;
    const { width, height } = this;
    return [rim + this.points.x[at] * (width - 2 * rim), rim + (1 - this.points.y[at]) * (height - 2 * rim)];
  }

  draw() {
    if (!this.points) return;
    const { width, height } = this.box.getBoundingClientRect();
    [this.width, this.height] = [width, height];
    const scale = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(height * scale);
    this.pen.setTransform(scale, 0, 0, scale, 0, 0);
    const size = this.points.x.length > 3000 ? 2 : this.points.x.length > 600 ? 3 : 4.5;
    for (let at = 0; at < this.points.x.length; at += 1) this.dot(at, size);
    if (this.at >= 0) {
      this.dot(this.at, size + 3);
      this.pen.strokeStyle = getComputedStyle(this.box).color;
      this.pen.lineWidth = 2;
      this.pen.stroke();
    }
  }

  dot(at, size) {
    const [x, y] = this.place(at);
    this.pen.fillStyle = this.shades[this.values[at]];
    this.pen.beginPath();
    this.pen.arc(x, y, size, 0, 2 * Math.PI);
    this.pen.fill();
  }

  point(event) {
    const { left, top } = this.box.getBoundingClientRect();
    let nearest = -1;
    let best = 18 ** 2;
    for (let at = 0; at < this.points.x.length; at += 1) {
      const [x, y] = this.place(at);
      const away = (x - event.clientX + left) ** 2 + (y - event.clientY + top) ** 2;
      if (away < best) [nearest, best] = [at, away];
    }
    this.mark(nearest);
  }

  mark(at) {
    if (at === this.at) return;
    this.at = at;
    this.tip.hidden = at < 0;
    if (at >= 0) {
      const picture = document.createElement("img");
      picture.src = `/thumbnail/${this.points.image_sha256[at]}`;
      picture.alt = "";
      picture.width = picture.height = 144;
      this.tip.replaceChildren(picture, this.points.topic[at]);
    }
    this.draw();
  }
}

async function read(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return answer.json();
}

function ramp(count) {
  const step = (RAMP.length - 1) / Math.max(count - 1, 1);
  return Array.from({ length: count }, (_, at) => RAMP[Math.round(at * step)]);
}

const map = one("[data-points]");
if (map) new PictureMap(map).start();
