// Pictures of numbers and counts: the line through the points, a curve where the link bends it; predicted against
// actual, and the residuals.

import { Chart, padded } from "../chart.js";
import { text } from "../film.js";

export class LinePanel extends Chart {
  constructor(film) {
    const name = film.sample.names[0];
    super(film, { title: `Data and ${film.picture}`, x: name, y: film.target, kind: "dp-model" });
    this.points = film.sample.x.map(([value], i) => [value, film.sample.y[i]]);
    this.margin.right = 42;
  }

  at(frame, x) {
    const [slope, intercept] = this.film.sample.predictors[frame];
    return this.film.mean(slope * x + intercept);
  }

  limits() {
    this.x.domain(padded(this.points.map(([x]) => x), 0.04));
    const [left, right] = this.x.domain();
    const ys = this.film.sample.y;
    const [low, high] = padded(ys, 0.05);
    const near = (value) => Math.min(Math.max(value, low - 0.8 * (high - low)), high + 0.8 * (high - low));
    const ends = [0, this.film.best].flatMap((frame) => [left, right].map((x) => near(this.at(frame, x))));
    this.y.domain(padded([...ys, ...ends], 0.03));
  }

  line(frame) {
    const [left, right] = this.x.domain();
    const pieces = this.film.picture === "line" ? 1 : 160;
    return Array.from({ length: pieces + 1 }, (_, i) => {
      const x = i === pieces ? right : left + (i / pieces) * (right - left);
      return [this.x(x), this.y(this.at(frame, x))];
    });
  }

  under(context) {
    this.stroke(context, this.line(0), this.look.start, this.look.thin + 0.4, { dash: [5, 4] });
  }

  words() {
    const [left, right] = this.x.domain();
    const y = this.y(this.at(0, right));
    const [bottom, top] = this.y.range();
    if (y > top && y < bottom) this.label(this.x(right) + 5, y + 4, "start", "start", this.look.start, true);
    else if (Number.isFinite(this.y(this.at(0, left)))) {
      this.label(this.x(right) - 4, y <= top ? top + 12 : bottom - 6, "start", "end", this.look.start, true);
    }
  }

  over(context, frame) {
    if (this.points.length <= 250) {
      const errors = this.points.map(([x, y]) => [this.x(x), this.y(y), this.y(this.at(frame, x))]);
      for (const [x, y, on] of errors) this.stroke(context, [[x, y], [x, on]], this.look.model, 1, { alpha: 0.22 });
    }
    this.dots(context, this.points.length, (i) => [this.x(this.points[i][0]), this.y(this.points[i][1])], this.look.data);
    const line = this.line(frame);
    this.stroke(context, line, this.look.model, this.look.line + 0.6);
    const [bottom, top] = this.y.range();
    const [[left, a], [right, b]] = [line[0], line.at(-1)];
    if (Math.min(a, b) > bottom || Math.max(a, b) < top) {
      this.away(context, (left + right) / 2, a > bottom ? bottom + 1e4 : top - 1e4, `the ${this.film.picture} has left`);
    }
  }

  tell(frame) {
    const [slope, intercept] = this.film.sample.predictors[frame];
    const sign = intercept < 0 ? "−" : "+";
    const z = `${text(slope)} × ${this.film.sample.names[0]} ${sign} ${text(Math.abs(intercept))}`;
    this.aside.text(this.film.link === "log" ? `exp(${z})` : z);
  }

  hover(px, py, frame) {
    const near = this.nearest(this.points.length, (i) => [this.x(this.points[i][0]), this.y(this.points[i][1])], px, py);
    if (!near) return null;
    const [x, y] = this.points[near.i];
    const on = this.at(frame, x);
    return {
      ...near,
      lines: [
        `${this.film.sample.names[0]}  ${text(x)}`,
        `${this.film.target}  ${text(y)}`,
        `predicted  ${text(on)}`,
        `residual  ${text(y - on)}`,
      ],
    };
  }
}

class Predicted extends Chart {
  constructor(film, options) {
    super(film, options);
    this.ys = film.sample.y;
    this.predicted = film.predicted(0);
    this.bestPredicted = film.predicted(film.best);
  }

  // What is actual and what the best frame predicts; the start's predictions too where they are not far.
  limits() {
    const [low, high] = padded([...this.ys, ...this.bestPredicted], 0.04);
    const [left, right] = padded([low, high, ...this.film.predicted(0)], 0.02);
    this.x.domain(right - left <= 3 * (high - low) ? [left, right] : [low, high]);
    this.vertical(low, high);
  }

  draw(frame) {
    this.predicted = this.film.predicted(frame);
    super.draw(frame);
  }

  over(context) {
    this.dots(context, this.ys.length, (i) => this.place(i), this.look.data);
    const [left, right] = this.x.range();
    const outside = this.ys.reduce((n, _, i) => n + (this.place(i)[0] < left || this.place(i)[0] > right), 0);
    this.aside.text(outside ? `${outside} of ${this.ys.length} points lie outside` : "");
  }

  hover(px, py) {
    const near = this.nearest(this.ys.length, (i) => this.place(i), px, py);
    if (!near) return null;
    const [y, predicted] = [this.ys[near.i], this.predicted[near.i]];
    return { ...near, lines: [`actual  ${text(y)}`, `predicted  ${text(predicted)}`, `residual  ${text(y - predicted)}`] };
  }
}

export class FitPanel extends Predicted {
  constructor(film) {
    super(film, {
      title: "Predicted and actual",
      x: `predicted ${film.target}`,
      y: `actual ${film.target}`,
      kind: "dp-model dp-half",
    });
  }

  vertical(low, high) {
    this.y.domain([low, high]);
  }

  place(i) {
    return [this.x(this.predicted[i]), this.y(this.ys[i])];
  }

  under(context) {
    const [low, high] = this.x.domain();
    this.stroke(context, [[this.x(low), this.y(low)], [this.x(high), this.y(high)]], this.look.model, this.look.line);
  }
}

export class ResidualPanel extends Predicted {
  constructor(film) {
    super(film, { title: "Residuals", x: `predicted ${film.target}`, y: "actual − predicted", kind: "dp-second" });
  }

  vertical() {
    const largest = Math.max(...this.ys.map((y, i) => Math.abs(y - this.bestPredicted[i]))) || 1;
    this.y.domain([-1.35 * largest, 1.35 * largest]);
  }

  place(i) {
    return [this.x(this.predicted[i]), this.y(this.ys[i] - this.predicted[i])];
  }

  under(context) {
    this.stroke(context, this.x.range().map((x) => [x, this.y(0)]), this.look.model, this.look.line);
  }
}
