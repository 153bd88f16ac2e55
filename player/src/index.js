// The player: `mount(element, film)` draws a film of descend and plays it. No request is ever made.

import { Controls } from "./controls.js";
import { Film, setting, text, whole } from "./film.js";
import { readLook, SHEET } from "./look.js";
import { BoundaryPanel, ClassesPanel, HistogramPanel, RegionsPanel, SigmoidPanel } from "./panels/classes.js";
import { LossPanel, PathsPanel, SurfacePanel } from "./panels/descent.js";
import { FitPanel, LinePanel, ResidualPanel } from "./panels/regression.js";

const MODELS = {
  line: [LinePanel],
  curve: [LinePanel],
  fit: [FitPanel, ResidualPanel],
  sigmoid: [SigmoidPanel],
  boundary: [BoundaryPanel],
  histogram: [HistogramPanel],
  regions: [RegionsPanel],
  classes: [ClassesPanel],
  none: [],
};

const mounted = [];

/**
 * Draw a film in an element and return its handle: `play()`, `pause()`, `seek(frame)`, `append(message)`,
 * `destroy()`, and the properties `frame`, `frames` and `playing`. It plays once when it comes into view,
 * unless `autoplay` is false or the reader prefers reduced motion.
 */
export function mount(element, data, { autoplay = true } = {}) {
  const player = new Player(element, new Film(data), autoplay);
  mounted.push(player);
  return player.handle;
}

class Player {
  constructor(element, film, autoplay) {
    this.film = film;
    this.frame = film.last;
    this.playing = false;
    this.speed = 1;
    this.loop = false;
    this.root = document.createElement("section");
    this.root.className = "dp";
    this.root.tabIndex = 0;
    this.root.setAttribute("aria-label", `Film of a run: ${film.title || film.model}`);
    this.root.append(sheet());
    element.replaceChildren(this.root);
    this.build();
    this.listen();
    this.layout();
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (autoplay && !still && film.length > 1) this.playWhenSeen();
  }

  get handle() {
    const player = this;
    return {
      play: () => player.play(),
      pause: () => player.pause(),
      seek: (frame) => player.seek(frame),
      append: (message) => player.append(message),
      destroy: () => player.destroy(),
      get frame() {
        return player.frame;
      },
      get frames() {
        return player.film.length;
      },
      get playing() {
        return player.playing;
      },
    };
  }

  build() {
    const { film, root } = this;
    const head = child(root, "header", "dp-head");
    this.title = child(head, "h2", "dp-title", film.title);
    this.read = child(head, "dl", "dp-read");
    const panels = [...(MODELS[film.picture] ?? [])];
    if (film.surface) panels.push(SurfacePanel);
    if (Object.keys(film.curves).length) panels.push(LossPanel);
    if (film.names.length) panels.push(PathsPanel);
    this.panels = panels.map((Panel) => new Panel(film));
    const kind = [
      "dp-grid",
      this.panels.length % 2 ? "dp-odd" : "",
      film.surface ? "" : "dp-flat",
      this.panels.length <= 2 ? "dp-pair" : "",
    ];
    const grid = child(root, "div", kind.join(" ").trim());
    grid.append(...this.panels.map((panel) => panel.root));
    this.controls = new Controls(this);
    root.append(this.controls.root);
    this.notes = child(root, "ul", "dp-notes");
    this.live = child(root, "div", "dp-live");
    this.live.setAttribute("aria-live", "polite");
    this.say();
  }

  say() {
    this.title.textContent = this.film.title;
    this.title.hidden = !this.film.title;
    const said = [this.film.outcome, this.film.surface?.note && `surface: ${this.film.surface.note}`, ...this.film.notes];
    this.notes.replaceChildren(...said.filter(Boolean).map((words) => child(null, "li", "", words)));
    if (this.film.diverged) this.notes.firstChild.className = "dp-bad";
  }

  listen() {
    this.signal = new AbortController();
    const { signal } = this.signal;
    const on = (target, name, action) => target.addEventListener(name, action, { signal });
    on(document, "keydown", (event) => this.key(event));
    on(matchMedia("(prefers-color-scheme: dark)"), "change", () => this.layout());
    on(window, "beforeprint", () => this.print(true));
    on(window, "afterprint", () => this.print(false));
    this.watch = new ResizeObserver(() => {
      cancelAnimationFrame(this.pending);
      this.pending = requestAnimationFrame(() => this.layout());
    });
    this.watch.observe(this.root);
  }

  // On paper: the light look, at a width that paper has.
  print(begins) {
    if (begins) this.pause();
    this.root.classList.toggle("dp-print", begins);
    for (const panel of this.panels) panel.paper = begins;
    this.layout();
  }

  playWhenSeen() {
    this.show(0);
    this.seen = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      this.seen.disconnect();
      if (this.frame === 0) this.play();
    });
    this.seen.observe(this.root);
  }

  layout() {
    const look = readLook(this.root);
    for (const panel of this.panels) panel.resize(look);
    this.show(this.frame);
    this.fill();
  }

  // A page inside a frame of its own, as in a notebook, gives the frame its height.
  fill() {
    try {
      if (window.frameElement && mounted.length === 1) {
        window.frameElement.style.height = `${Math.ceil(this.root.getBoundingClientRect().height) + 2}px`;
      }
    } catch {
      // a sandboxed frame keeps the height it was given
    }
  }

  show(frame) {
    const { film } = this;
    this.frame = Math.max(0, Math.min(film.last, Math.round(frame) || 0));
    for (const panel of this.panels) panel.draw(this.frame);
    const items = [["step", whole(film.steps[this.frame] ?? 0)]];
    const batch = film.value("batch_loss", this.frame);
    const loss = film.value("loss", this.frame);
    if (loss !== undefined || batch === undefined) items.push(["loss", loss === undefined ? "–" : text(loss ?? NaN)]);
    else items.push(["batch loss", text(batch ?? NaN)]);
    const valid = film.value("validation_loss", this.frame);
    if (film.curves.validation_loss) items.push(["validation", valid === undefined ? "–" : text(valid ?? NaN)]);
    const rate = film.learning_rate?.[this.frame];
    if (film.learning_rate) items.push(["learning rate", setting(rate)]);
    if (film.names.length <= 4) film.names.forEach((name, j) => items.push([name, text(film.weights[this.frame]?.[j])]));
    this.write(items);
    this.controls.show();
  }

  write(items) {
    if (this.read.children.length !== items.length) {
      this.read.replaceChildren(
        ...items.map(() => {
          const item = child(null, "div");
          child(item, "dt");
          child(item, "dd");
          return item;
        }),
      );
    }
    items.forEach(([name, value], i) => {
      const [dt, dd] = this.read.children[i].children;
      if (dt.textContent !== name) dt.textContent = name;
      dd.textContent = value;
    });
    const widest = Math.max(...[0, this.film.last].map((f) => whole(this.film.steps[f] ?? 0).length));
    this.read.children[0].children[1].style.minWidth = `${widest}ch`;
    this.said = items.map(([name, value]) => `${name} ${value}`).join(", ");
  }

  play() {
    if (this.playing || this.film.length < 2) return;
    this.playing = true;
    const from = this.frame >= this.film.last ? 0 : this.frame;
    this.rebase(from);
    this.controls.show();
    this.tick = requestAnimationFrame((now) => this.step(now));
  }

  // The frame is what the time since `began` makes it, however often the screen is drawn.
  rebase(frame) {
    this.began = performance.now();
    this.from = frame;
  }

  step(now) {
    if (!this.playing) return;
    const made = (Math.max(0, now - this.began) * this.speed) / Math.max(this.film.interval, 1);
    let at = this.from + Math.floor(made);
    if (at >= this.film.last) {
      this.show(this.film.last);
      const pause = 900 / Math.max(this.film.interval, 1); // rest on the end before starting again
      if (!this.loop) return this.pause();
      if (this.from + made * 1 > this.film.last + pause * this.speed) this.rebase((at = 0));
    }
    if (at < this.film.last && at !== this.frame) this.show(at);
    this.tick = requestAnimationFrame((next) => this.step(next));
  }

  pause() {
    cancelAnimationFrame(this.tick);
    this.playing = false;
    this.controls.show();
    this.announce();
  }

  seek(frame) {
    this.seen?.disconnect();
    this.show(frame);
    if (this.playing) this.rebase(this.frame);
    else this.announce();
  }

  announce() {
    clearTimeout(this.soon);
    this.soon = setTimeout(() => (this.live.textContent = this.said), 250);
  }

  append(message) {
    const following = this.frame === this.film.last;
    this.film.append(message);
    this.say();
    if (following && !this.playing) this.frame = this.film.last;
    cancelAnimationFrame(this.pending); // messages between two pictures are drawn together
    this.pending = requestAnimationFrame(() => this.layout());
  }

  key(event) {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    const { target } = event;
    const inside = this.root.contains(target);
    if (!inside && !(target === document.body && mounted[0] === this)) return;
    const tag = target.tagName;
    if (tag === "SELECT" || (event.key === " " && tag === "BUTTON")) return;
    const actions = {
      " ": () => (this.playing ? this.pause() : this.play()),
      ArrowLeft: () => this.nudge(event.shiftKey ? -10 : -1),
      ArrowRight: () => this.nudge(event.shiftKey ? 10 : 1),
      Home: () => this.nudge(-Infinity),
      End: () => this.nudge(Infinity),
    };
    if (!actions[event.key]) return;
    event.preventDefault();
    actions[event.key]();
  }

  nudge(by) {
    this.pause();
    this.seek(Math.max(0, Math.min(this.film.last, this.frame + by)));
  }

  destroy() {
    this.pause();
    this.signal.abort();
    this.watch.disconnect();
    this.seen?.disconnect();
    clearTimeout(this.soon);
    mounted.splice(mounted.indexOf(this), 1);
    this.root.remove();
  }
}

export function child(parent, tag, name = "", words = "") {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (words) made.textContent = words;
  parent?.append(made);
  return made;
}

function sheet() {
  const style = document.createElement("style");
  style.textContent = SHEET;
  return style;
}
