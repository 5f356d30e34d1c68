// What the pages of the gallery do in the browser: keys, copying, the map. Everything else works without it.
"use strict";

const one = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
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
  if (["k", "d", "s"].includes(key)) return press(key);
  if (key.startsWith("Arrow")) {
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

// A choice that takes effect at once

for (const chosen of all("select[data-submit]")) chosen.addEventListener("change", () => chosen.form.requestSubmit());

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

const PALETTE = ["#4c8dc0", "#d9703c", "#43a06c", "#9a6fc4", "#c9a227", "#c8527f", "#3fa6a6", "#8c7b6b", "#7f9cd4", "#a3b545", "#e08fb0", "#5d6d7e"];
const OTHERS = "#9aa0a6";

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
    const answer = await fetch(this.box.dataset.points);
    if (!answer.ok) return;
    this.points = await answer.json();
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
    const shade = field.ordered ? ramp(field.names.length) : PALETTE;
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
    const { width, height } = this.box.getBoundingClientRect();
    return [rim + this.points.x[at] * (width - 2 * rim), rim + (1 - this.points.y[at]) * (height - 2 * rim)];
  }

  draw() {
    if (!this.points) return;
    const { width, height } = this.box.getBoundingClientRect();
    const scale = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(height * scale);
    this.pen.setTransform(scale, 0, 0, scale, 0, 0);
    const size = this.points.x.length > 3000 ? 2 : this.points.x.length > 600 ? 3 : 4.5;
    this.pen.globalAlpha = 0.75;
    for (let at = 0; at < this.points.x.length; at += 1) this.dot(at, size);
    this.pen.globalAlpha = 1;
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

function ramp(count) {
  return Array.from({ length: count }, (_, at) => {
    const share = count > 1 ? at / (count - 1) : 1;
    return `hsl(${Math.round(230 - 190 * share)} 60% ${Math.round(45 + 12 * share)}%)`;
  });
}

const map = one("[data-points]");
if (map) new PictureMap(map).start();
