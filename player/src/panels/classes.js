// Pictures of a classification: the sigmoid, the boundary, probabilities by class, regions.

import { Chart, padded, short } from "../chart.js";
import { softmax, spread, text } from "../film.js";

const label = (film, k) => film.classes[k] ?? String(k);
const percent = (p) => (Number.isFinite(p) ? `${(100 * p).toFixed(1)} %` : "–");

export class SigmoidPanel extends Chart {
  constructor(film) {
    const { x, y, names } = film.sample;
    const name = `probability of ${label(film, 1)}`;
    super(film, { title: "Probability and classes", x: names[0], y: name, kind: "dp-model" });
    const random = spread(1);
    this.points = x.map(([value], i) => [value, y[i] + (random() - 0.5) * 0.09, y[i]]);
    this.margin.right = 42;
  }

  p(frame, x) {
    const [slope, intercept] = this.film.sample.predictors[frame];
    return this.film.mean(slope * x + intercept);
  }

  limits() {
    this.x.domain(padded(this.points.map(([x]) => x), 0.04));
    this.y.domain([-0.09, 1.09]);
  }

  curve(frame) {
    const [left, right] = this.x.domain();
    return Array.from({ length: 161 }, (_, i) => left + (i / 160) * (right - left)).map((x) => [this.x(x), this.y(this.p(frame, x))]);
  }

  under(context) {
    this.stroke(context, this.x.range().map((x) => [x, this.y(0.5)]), this.look.grid, 1);
    this.stroke(context, this.curve(0), this.look.start, this.look.thin + 0.4, { dash: [5, 4] });
  }

  words() {
    this.keys(this.film.classes);
    this.label(this.width - this.margin.right + 5, this.y(this.p(0, this.x.domain()[1])) + 4, "start", "start", this.look.start, true);
  }

  over(context, frame) {
    const { look, points } = this;
    this.dots(context, points.length, (i) => [this.x(points[i][0]), this.y(points[i][1])], (i) => look.colour(points[i][2]));
    const [slope, intercept] = this.film.sample.predictors[frame];
    const middle = this.x(-intercept / slope);
    this.stroke(context, [[middle, this.y(0)], [middle, this.y(1)]], look.model, look.thin, { dash: [2, 4], alpha: 0.8 });
    this.stroke(context, this.curve(frame), look.model, look.line + 0.6);
  }

  hover(px, py, frame) {
    const near = this.nearest(this.points.length, (i) => [this.x(this.points[i][0]), this.y(this.points[i][1])], px, py);
    if (!near) return null;
    const [x, , k] = this.points[near.i];
    return { ...near, lines: [`${this.film.sample.names[0]}  ${text(x)}`, `class  ${label(this.film, k)}`, `${this.names.y}  ${percent(this.p(frame, x))}`] };
  }
}

// Two features: the plane in the colours of the classes, and the points in it.
class Plane extends Chart {
  constructor(film, title) {
    const [x, y] = film.sample.names;
    super(film, { title, x, y, kind: "dp-model" });
    this.points = film.sample.x.map(([a, b], i) => [a, b, film.sample.y[i]]);
    this.margin.left = 52;
  }

  limits() {
    this.x.domain(padded(this.points.map(([a]) => a), 0.05));
    this.y.domain(padded(this.points.map(([, b]) => b), 0.05));
  }

  words() {
    this.keys(this.film.classes);
  }

  over(context, frame) {
    this.shade(context, frame);
    const { look, points } = this;
    this.dots(context, points.length, (i) => [this.x(points[i][0]), this.y(points[i][1])], (i) => look.colour(points[i][2]));
    this.line(context, frame);
  }

  hover(px, py, frame) {
    const near = this.nearest(this.points.length, (i) => [this.x(this.points[i][0]), this.y(this.points[i][1])], px, py);
    if (!near) return null;
    const [a, b, k] = this.points[near.i];
    const [x, y] = this.film.sample.names;
    return { ...near, lines: [`${x}  ${text(a)}`, `${y}  ${text(b)}`, `class  ${label(this.film, k)}`, this.said(frame, a, b)] };
  }
}

export class BoundaryPanel extends Plane {
  constructor(film) {
    super(film, film.probable ? "Boundary and probability" : "Boundary");
  }

  p(z) {
    return this.film.probable ? this.film.mean(z) : Number(z > 0);
  }

  z(frame, a, b) {
    const w = this.film.sample.predictors[frame];
    return w[0] * a + w[1] * b + w[2];
  }

  said(frame, a, b) {
    const z = this.z(frame, a, b);
    return this.film.probable ? `probability of ${label(this.film, 1)}  ${percent(this.p(z))}` : `score  ${text(z)}`;
  }

  // z is linear on the screen too, so the probability is a gradient of colours along one direction.
  shade(context, frame) {
    const [left, right] = this.x.range();
    const [bottom, top] = this.y.range();
    const at = (px, py) => this.z(frame, this.x.invert(px), this.y.invert(py));
    const [cx, cy] = [(left + right) / 2, (top + bottom) / 2];
    const z = at(cx, cy);
    const [gx, gy] = [at(cx + 1, cy) - z, at(cx, cy + 1) - z];
    const steep = gx * gx + gy * gy;
    const [first, second] = [this.look.colour(0), this.look.colour(1)];
    if (!Number.isFinite(z) || !Number.isFinite(steep)) return;
    context.globalAlpha = 0.34;
    if (steep < 1e-14) {
      context.fillStyle = z > 0 ? second : first;
      context.globalAlpha = 0.34 * Math.abs(2 * this.p(z) - 1);
      context.fillRect(left, top, right - left, bottom - top);
      context.globalAlpha = 1;
      return;
    }
    const reach = Math.max(...[[left, top], [right, top], [left, bottom], [right, bottom]].map(([x, y]) => Math.abs(at(x, y))));
    const span = Math.min(6, reach);
    const place = (value) => [cx + ((value - z) * gx) / steep, cy + ((value - z) * gy) / steep];
    const shading = context.createLinearGradient(...place(-span), ...place(span));
    for (let i = 0; i <= 24; i++) {
      const p = this.p(-span + (2 * span * i) / 24);
      shading.addColorStop(i / 24, faded(p > 0.5 ? second : first, Math.abs(2 * p - 1)));
    }
    context.fillStyle = shading;
    context.fillRect(left, top, right - left, bottom - top);
    context.globalAlpha = 1;
  }

  edge(frame) {
    const [a, b, c] = this.film.sample.predictors[frame];
    const [left, right] = this.x.domain();
    const [low, high] = this.y.domain();
    const steepInY = Math.abs(b) * (high - low) >= Math.abs(a) * (right - left);
    const ends = steepInY
      ? [left, right].map((x) => [x, -(a * x + c) / b])
      : [low, high].map((y) => [-(b * y + c) / a, y]);
    return ends.map(([x, y]) => [this.x(x), this.y(y)]);
  }

  under(context) {
    this.stroke(context, this.edge(0), this.look.start, this.look.thin + 0.4, { dash: [5, 4] });
  }

  line(context, frame) {
    this.stroke(context, this.edge(frame), this.look.model, this.look.line + 0.6);
  }
}

export class RegionsPanel extends Plane {
  constructor(film) {
    super(film, "Regions of the classes");
    this.cells = document.createElement("canvas");
    [this.cells.width, this.cells.height] = [96, 72];
  }

  p(frame, a, b) {
    const w = this.film.sample.predictors[frame];
    const z = w[2].map((c, k) => w[0][k] * a + w[1][k] * b + c);
    return this.film.probable ? softmax(z) : z.map((value) => Number(value === Math.max(...z)));
  }

  said(frame, a, b) {
    const p = this.p(frame, a, b);
    const k = p.indexOf(Math.max(...p));
    return `predicted  ${label(this.film, k)}${this.film.probable ? `, ${percent(p[k])}` : ""}`;
  }

  shade(context, frame) {
    const { width, height } = this.cells;
    const [left, right] = this.x.range();
    const [bottom, top] = this.y.range();
    const cells = this.cells.getContext("2d");
    const image = cells.createImageData(width, height);
    const colours = this.film.classes.map((_, k) => channels(this.look.colour(k)));
    const chance = 1 / colours.length;
    for (let j = 0, at = 0; j < height; j++) {
      const b = this.y.invert(top + ((j + 0.5) / height) * (bottom - top));
      for (let i = 0; i < width; i++, at += 4) {
        const p = this.p(frame, this.x.invert(left + ((i + 0.5) / width) * (right - left)), b);
        const most = Math.max(...p);
        if (!Number.isFinite(most)) continue;
        image.data.set(colours[p.indexOf(most)], at);
        image.data[at + 3] = 12 + (90 * (most - chance)) / (1 - chance);
      }
    }
    cells.putImageData(image, 0, 0);
    context.drawImage(this.cells, left, top, right - left, bottom - top);
  }

  line() {}
}

const BINS = 25;

export class HistogramPanel extends Chart {
  constructor(film) {
    super(film, { title: "Probabilities by class", x: `probability of ${label(film, 1)}`, y: "rows", kind: "dp-model" });
    this.ys = film.sample.y;
  }

  counts(frame) {
    const counts = [new Array(BINS).fill(0), new Array(BINS).fill(0)];
    this.film.predictor(frame).forEach((z, i) => {
      const p = this.film.mean(z);
      if (Number.isFinite(p)) counts[this.ys[i]][Math.min(BINS - 1, Math.floor(p * BINS))]++;
    });
    return counts;
  }

  limits() {
    const [below, above] = this.counts(this.film.best).map((counts) => Math.max(...counts));
    const most = Math.max(below, above, 1) * 1.12;
    this.x.domain([0, 1]);
    this.y.domain([-most, most]);
  }

  ticksOf(axis, scale, count) {
    super.ticksOf(axis, scale, count);
    if (scale === this.y) axis.tickFormat((value) => String(Math.abs(value)));
  }

  under(context) {
    const [bottom, top] = this.y.range();
    this.stroke(context, [[this.x(0.5), top], [this.x(0.5), bottom]], this.look.model, this.look.thin, { dash: [2, 4] });
  }

  words() {
    const [bottom, top] = this.y.range();
    this.label(this.x(0.98), top + 14, `${label(this.film, 1)} ↑`, "end", this.look.colour(1), true);
    this.label(this.x(0.02), bottom - 6, `${label(this.film, 0)} ↓`, "start", this.look.colour(0), true);
  }

  over(context, frame) {
    const [below, above] = this.counts(frame);
    const wide = this.x(1 / BINS) - this.x(0);
    context.globalAlpha = 0.85;
    for (let i = 0; i < BINS; i++) {
      context.fillStyle = this.look.colour(1);
      context.fillRect(this.x(i / BINS) + 0.5, this.y(above[i]), wide - 1, this.y(0) - this.y(above[i]));
      context.fillStyle = this.look.colour(0);
      context.fillRect(this.x(i / BINS) + 0.5, this.y(0), wide - 1, this.y(-below[i]) - this.y(0));
    }
    context.globalAlpha = 1;
    this.stroke(context, this.x.range().map((x) => [x, this.y(0)]), this.look.axis, 1);
  }

  hover(px, py, frame) {
    const i = Math.floor(this.x.invert(px) * BINS);
    if (i < 0 || i >= BINS) return null;
    const counts = this.counts(frame);
    const lines = [1, 0].map((k) => `${label(this.film, k)}  ${counts[k][i]} rows`);
    return { x: this.x((i + 0.5) / BINS), y: py, lines: [`${percent(i / BINS)} to ${percent((i + 1) / BINS)}`, ...lines] };
  }
}

// Any number of classes: every point at the probability of its own class, one row per class.
export class ClassesPanel extends Chart {
  constructor(film) {
    super(film, { title: "Probability of the true class", x: "probability", kind: "dp-model" });
    const random = spread(2);
    this.jitter = film.sample.y.map((k) => k + (random() - 0.5) * 0.62);
    this.noLeft = true;
    const longest = Math.max(...film.classes.map((name) => Math.min(name.length, 14)));
    this.margin.left = 18 + 7 * longest;
  }

  limits() {
    this.x.domain([0, 1]);
    this.y.domain([this.film.classes.length - 0.5, -0.5]);
  }

  draw(frame) {
    const z = this.film.predictor(frame);
    this.p = z.map((row, i) => softmax(row)[this.film.sample.y[i]]);
    super.draw(frame);
  }

  words() {
    const many = this.film.classes.length > 20;
    this.film.classes.forEach((name, k) => {
      if (!many || k % Math.ceil(this.film.classes.length / 20) === 0)
        this.label(this.margin.left - 8, this.y(k) + 4, short(name, 14), "end", this.look.colour(k), true);
    });
  }

  under(context) {
    this.film.classes.forEach((_, k) => {
      this.stroke(context, this.x.range().map((x) => [x, this.y(k - 0.5)]), this.look.grid, 1);
    });
  }

  place(i) {
    return [this.x(this.p[i]), this.y(this.jitter[i])];
  }

  over(context) {
    const { y } = this.film.sample;
    this.dots(context, y.length, (i) => this.place(i), (i) => this.look.colour(y[i]));
    const [sums, counts] = [[], []];
    y.forEach((k, i) => {
      sums[k] = (sums[k] ?? 0) + this.p[i];
      counts[k] = (counts[k] ?? 0) + 1;
    });
    sums.forEach((sum, k) => {
      const x = this.x(sum / counts[k]);
      this.stroke(context, [[x, this.y(k - 0.34)], [x, this.y(k + 0.34)]], this.look.model, this.look.line + 0.6);
    });
    const mean = this.p.reduce((a, b) => a + b, 0) / this.p.length;
    this.aside.text(`mean ${percent(mean)}`);
  }

  hover(px, py) {
    const near = this.nearest(this.p.length, (i) => this.place(i), px, py);
    if (!near) return null;
    return { ...near, lines: [label(this.film, this.film.sample.y[near.i]), `probability  ${percent(this.p[near.i])}`] };
  }
}

function channels(colour) {
  const value = parseInt(colour.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

const faded = (colour, alpha) => `rgba(${channels(colour).join(",")},${alpha.toFixed(3)})`;
