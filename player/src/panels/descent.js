// What every run has: the loss, the loss surface with the path on it, the paths of the coefficients.

import { extent } from "d3-array";
import { contours } from "d3-contour";
import { scaleLinear, scaleLog, scaleSymlog } from "d3-scale";
import { Chart, padded, short } from "../chart.js";
import { finite, text, whole } from "../film.js";

const NAMES = { loss: "training", validation_loss: "validation", batch_loss: "batch" };

// Steps from left to right; as a logarithm where most frames would crowd at the left edge.
function stepScale(film) {
  const last = Math.max(...film.steps, 1);
  const middle = film.steps[film.length >> 1];
  const scale = last > 2000 && middle < 0.06 * last ? scaleSymlog().constant(1) : scaleLinear();
  return Object.assign(scale.domain([0, last]), { whole: true });
}

const stepName = (scale) => (scale.constant ? "step (log)" : "step");

export class LossPanel extends Chart {
  constructor(film) {
    super(film, { title: "Loss", kind: "dp-loss" });
    this.bleed = 7;
  }

  limits() {
    this.curves = Object.keys(NAMES)
      .filter((name) => this.film.curves[name] && finite(this.film.curves[name][1]).length)
      .map((name) => {
        const [steps, values] = this.film.curves[name];
        return { name, steps, values };
      });
    const all = this.curves.flatMap(({ values }) => finite(values));
    const [low, high] = extent(all.filter((value) => value > 0));
    this.log = low > 0 && Math.min(...all) >= 0; // the loss of counts may be below zero
    this.x = stepScale(this.film);
    this.y = this.log ? scaleLog() : scaleLinear();
    const room = Math.min(high > low * 1.02 ? (high / low) ** 0.05 : 1.1, 1e12);
    if (this.log) this.y.domain([Math.max(low / room, 1e-307), Math.min(high * room, 1e307)]);
    else if (low > 0) this.y.domain(padded(all, 0.05));
    this.margin.right = this.curves.length > 1 ? 78 : 14;
    this.names.x = stepName(this.x);
    this.names.y = this.log ? "log scale" : "";
    this.floor = low;
  }

  colour(name) {
    return { loss: this.look.data, validation_loss: this.look.validation, batch_loss: this.look.start }[name];
  }

  points({ steps, values }, until = Infinity) {
    const found = [];
    for (let i = 0; i < steps.length && steps[i] <= until; i++) {
      if (values[i] === null) continue;
      found.push([this.x(steps[i]), this.y(this.log ? Math.max(values[i], this.floor) : values[i])]);
    }
    return found;
  }

  width_of(name) {
    return name === "batch_loss" ? this.look.thin * 0.8 : this.look.line;
  }

  under(context) {
    for (const curve of this.curves) this.stroke(context, this.points(curve), this.colour(curve.name), this.width_of(curve.name), { alpha: 0.2 });
  }

  words() {
    if (this.curves.length < 2) return;
    const ends = this.curves.map((curve) => ({ y: this.points(curve).at(-1)?.[1], name: NAMES[curve.name], colour: this.colour(curve.name) }));
    this.endLabels(ends.filter(({ y }) => Number.isFinite(y)));
  }

  over(context, frame) {
    const step = this.film.steps[frame];
    for (const curve of [...this.curves].reverse()) {
      const points = this.points(curve, step);
      this.stroke(context, points, this.colour(curve.name), this.width_of(curve.name));
      if (curve.name !== "batch_loss" && points.length) this.mark(context, ...points.at(-1), this.colour(curve.name), 4.5);
    }
    const value = this.film.value("loss", frame);
    this.aside.text(value === undefined ? "" : text(value ?? NaN));
  }

  hover(px) {
    const step = this.x.invert(px);
    const lines = this.curves.map(({ name, steps, values }) => {
      let i = 0;
      while (i + 1 < steps.length && Math.abs(steps[i + 1] - step) <= Math.abs(steps[i] - step)) i++;
      return { at: steps[i], line: `${NAMES[name]}  ${text(values[i] ?? NaN)}`, value: values[i] };
    });
    if (!lines.length) return null;
    const [{ at, value }] = lines;
    return { x: this.x(at), y: value === null ? 30 : this.y(value), lines: [`step  ${whole(at)}`, ...lines.map(({ line }) => line)] };
  }
}

export class SurfacePanel extends Chart {
  constructor(film) {
    const [x, y] = film.surface.names;
    super(film, { title: "Loss surface and path", x, y, kind: "dp-surface" });
    const { note } = film.surface;
    this.aside.text(note.startsWith("slice") ? "a slice" : note ? "of a sample" : "").attr("title", note);
    this.grid = grid(film.surface);
    this.margin.right = 10;
  }

  limits() {
    this.x.domain(this.film.surface.x_range);
    this.y.domain(this.film.surface.y_range);
  }

  at(a, b) {
    const { centre, hessian, floor = 0, values, x_range, y_range } = this.film.surface;
    if (!values) return bowl(centre, hessian, floor, a, b);
    const i = ((a - x_range[0]) / (x_range[1] - x_range[0])) * (values[0].length - 1);
    const j = ((b - y_range[0]) / (y_range[1] - y_range[0])) * (values.length - 1);
    const row = (n) => values[Math.max(0, Math.min(values.length - 1, n))];
    const [i0, j0] = [Math.max(0, Math.min(values[0].length - 2, Math.floor(i))), Math.floor(j)];
    const along = (n) => row(n)[i0] * (1 - i + i0) + row(n)[i0 + 1] * (i - i0);
    return along(j0) * (1 - j + j0) + along(j0 + 1) * (j - j0);
  }

  under(context) {
    const { columns, rows, values } = this.grid;
    const [low, high] = extent(finite(values));
    if (!(high > low)) return;
    const [left, right] = this.x.range();
    const [bottom, top] = this.y.range();
    const levels = 13;
    const thresholds = Array.from({ length: levels }, (_, i) => low + (high - low) * (i / levels) ** 2);
    const shade = scaleLinear()
      .domain(this.look.surface.map((_, i) => i / (this.look.surface.length - 1)))
      .range(this.look.surface);
    context.fillStyle = shade(0);
    context.fillRect(left, top, right - left, bottom - top);
    const at = ([i, j]) => [
      left + ((i - 0.5) / (columns - 1)) * (right - left),
      bottom + ((j - 0.5) / (rows - 1)) * (top - bottom),
    ];
    contours().size([columns, rows]).thresholds(thresholds)(values).forEach(({ coordinates }, i) => {
      context.beginPath();
      for (const ring of coordinates.flat()) {
        ring.forEach((place, n) => (n ? context.lineTo(...at(place)) : context.moveTo(...at(place))));
        context.closePath();
      }
      context.fillStyle = shade(i / (levels - 1));
      context.fill("evenodd");
      context.strokeStyle = this.look.contour;
      context.globalAlpha = 0.35;
      context.lineWidth = 0.8;
      context.stroke();
      context.globalAlpha = 1;
    });
    const { centre } = this.film.surface;
    for (const [dx, dy] of axes(this.film.surface)) {
      const ends = [-1, 1].map((way) => this.place([centre[0] + way * dx, centre[1] + way * dy]));
      this.stroke(context, ends, this.look.text, 1.2, { alpha: 0.75 });
    }
  }

  place([a, b]) {
    return [a === null ? NaN : this.x(a), b === null ? NaN : this.y(b)];
  }

  over(context, frame) {
    const path = this.film.surface.path.map((point) => this.place(point));
    this.stroke(context, path, this.look.model, this.look.thin, { alpha: 0.3 });
    const made = path.slice(0, frame + 1);
    this.stroke(context, made, this.look.model, this.look.line + 0.2);
    if (made.length <= 80) this.dots(context, made.length, (i) => made[i], this.look.model, 2);
    const [x, y] = path[0];
    context.strokeStyle = this.look.model;
    context.fillStyle = this.look.background;
    context.lineWidth = 1.6;
    context.beginPath();
    context.arc(x, y, 4, 0, 2 * Math.PI);
    if (Number.isFinite(x + y)) {
      context.fill();
      context.stroke();
    }
    this.mark(context, ...path[frame], this.look.model, 6);
    this.away(context, ...path[frame], "has left");
  }

  hover(px, py) {
    const [a, b] = [this.x.invert(px), this.y.invert(py)];
    const [left, right] = this.x.domain();
    const [low, high] = this.y.domain();
    if (a < left || a > right || b < low || b > high) return null;
    return { x: px, y: py, lines: [`${this.names.x}  ${text(a)}`, `${this.names.y}  ${text(b)}`, `loss  ${text(this.at(a, b))}`] };
  }
}

// Half-axes of one contour about the minimum, along the directions of the largest and the smallest curvature:
// the largest contour whose axes keep within a third of the way to the edge. As `Surface.axes` in Python.
function axes({ centre, hessian, x_range, y_range }) {
  if (!centre || !hessian) return [];
  const room = [x_range, y_range].map(([low, high], i) => 0.35 * Math.min(high - centre[i], centre[i] - low));
  if (!(Math.min(...room) > 0)) return [];
  const [[p, q], [, r]] = hessian;
  const angle = Math.abs(q) > 1e-9 * Math.abs(p + r) ? 0.5 * Math.atan2(2 * q, p - r) : 0;
  const directions = [[Math.cos(angle), Math.sin(angle)], [-Math.sin(angle), Math.cos(angle)]];
  const curvature = directions.map(([u, v]) => Math.max(p * u * u + 2 * q * u * v + r * v * v, 0));
  const reach = directions.map(([u, v]) => Math.min(room[0] / Math.abs(u || 1e-300), room[1] / Math.abs(v || 1e-300)));
  const flat = (i) => curvature[i] <= 1e-12 * Math.max(...curvature);
  const level = Math.min(...reach.map((far, i) => (flat(i) ? Infinity : far * Math.sqrt(curvature[i]))));
  const length = reach.map((far, i) => (flat(i) ? far : level / Math.sqrt(curvature[i])));
  return directions.map(([u, v], i) => [length[i] * u, length[i] * v]);
}

function bowl([a, b], [[p, q], [, r]], floor, x, y) {
  const [dx, dy] = [x - a, y - b];
  return floor + 0.5 * (p * dx * dx + 2 * q * dx * dy + r * dy * dy);
}

function grid({ values, centre, hessian, floor = 0, x_range: [left, right], y_range: [low, high] }) {
  if (values) {
    const finer = values.map((row) => smoothed(row.map((v) => v ?? NaN)));
    const turned = finer[0].map((_, i) => smoothed(finer.map((row) => row[i])));
    const [columns, rows] = [turned.length, turned[0].length];
    return { columns, rows, values: Array.from({ length: columns * rows }, (_, n) => turned[n % columns][Math.floor(n / columns)]) };
  }
  const n = 90;
  const found = [];
  for (let j = 0; j < n; j++) {
    for (let i = 0; i < n; i++) {
      found.push(bowl(centre, hessian, floor, left + (i / (n - 1)) * (right - left), low + (j / (n - 1)) * (high - low)));
    }
  }
  return { columns: n, rows: n, values: found };
}

// Three times as many values, on the Catmull-Rom curve through them, so that contours are round.
function smoothed(values, times = 3) {
  const at = (i) => {
    if (i < 0) return 2 * values[0] - values[1];
    return i < values.length ? values[i] : 2 * values.at(-1) - values.at(-2);
  };
  return Array.from({ length: (values.length - 1) * times + 1 }, (_, n) => {
    const i = Math.floor(n / times);
    const t = n / times - i;
    const [a, b, c, d] = [at(i - 1), at(i), at(i + 1), at(i + 2)];
    return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)));
  });
}

export class PathsPanel extends Chart {
  constructor(film) {
    super(film, { title: film.model === "weights" ? "Weights" : "Coefficients", kind: "dp-paths" });
    this.bleed = 7;
  }

  limits() {
    const { film } = this;
    this.x = stepScale(film);
    this.names.x = stepName(this.x);
    const values = film.weights.slice(0, film.calm + 1).flat();
    this.y.domain(padded([...values, 0], 0.06));
    this.room = Math.max(8, Math.min(24, Math.floor((0.38 * this.width - 18) / 6.6)));
    const longest = Math.max(...film.names.map((name) => Math.min(name.length, this.room)));
    this.margin.right = 18 + 6.6 * longest;
  }

  line(j, until) {
    const { weights, steps } = this.film;
    return weights.slice(0, until + 1).map((w, i) => [this.x(steps[i]), w[j] === null ? NaN : this.y(w[j])]);
  }

  dash(j) {
    return j < this.look.classes.length ? [] : [5, 3];
  }

  under(context) {
    this.stroke(context, this.x.range().map((x) => [x, this.y(0)]), this.look.grid, 1);
    this.film.names.forEach((_, j) => {
      this.stroke(context, this.line(j, this.film.last), this.look.colour(j), this.look.line, { alpha: 0.18 });
    });
  }

  words() {
    const end = this.film.weights[this.film.last];
    this.endLabels(this.film.names.map((name, j) => ({ y: this.y(end[j] ?? 0), name: short(name, this.room), colour: this.look.colour(j) })));
  }

  over(context, frame) {
    this.film.names.forEach((_, j) => {
      const points = this.line(j, frame);
      this.stroke(context, points, this.look.colour(j), this.look.line, { dash: this.dash(j) });
      this.mark(context, ...points.at(-1), this.look.colour(j), 3.6);
    });
  }

  hover(px, py) {
    const { steps, weights, names } = this.film;
    const step = this.x.invert(px);
    let i = 0;
    while (i + 1 < steps.length && Math.abs(steps[i + 1] - step) <= Math.abs(steps[i] - step)) i++;
    const order = names.map((_, j) => j).sort((a, b) => Math.abs(this.y(weights[i][a]) - py) - Math.abs(this.y(weights[i][b]) - py));
    const j = order[0];
    if (j === undefined) return null;
    return { x: this.x(steps[i]), y: this.y(weights[i][j] ?? 0), lines: [`step  ${whole(steps[i])}`, ...order.slice(0, 4).map((k) => `${names[k]}  ${text(weights[i][k])}`)] };
  }
}
