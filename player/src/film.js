// A film as the player uses it: parsed JSON, and what can be asked of a frame.

// How a prediction follows from the linear predictor: numbers alone; of several classes it is the softmax.
const LINKS = { identity: (z) => z, log: Math.exp, logit: sigmoid };
const LINK_OF = { regression: "identity", "two-class": "logit", "multi-class": "softmax" };

export class Film {
  constructor(data) {
    if (data?.format !== "descend-film") throw new Error("this is not a film of descend");
    if (data.version !== 1) throw new Error(`this player reads version 1 of the format, got ${data.version}`);
    Object.assign(this, data);
    this.link ??= LINK_OF[this.model] ?? "identity";
    this.mean = LINKS[this.link];
    this.probable = this.link === "logit" || this.link === "softmax"; // a hinge, say, knows no probabilities
    this.index();
  }

  get length() {
    return this.steps.length;
  }

  get last() {
    return Math.max(this.length - 1, 0);
  }

  // Values of the curves by step, so that a frame finds its own.
  index() {
    this.values = Object.fromEntries(
      Object.entries(this.curves).map(([name, [steps, values]]) => [
        name,
        new Map(steps.map((step, i) => [step, values[i]])),
      ]),
    );
  }

  // The value of a curve at a frame; undefined where there is none, null where it was not finite.
  value(name, frame) {
    return this.values[name]?.get(this.steps[frame]);
  }

  // The linear predictor of every point: numbers, or one array per point with several classes.
  predictor(frame) {
    const { x, predictors, offset } = this.sample;
    const w = predictors[frame];
    const k = w.length - 1;
    if (Array.isArray(w[k])) {
      return x.map((row) => w[k].map((b, c) => row.reduce((z, value, j) => z + value * w[j][c], b ?? 0)));
    }
    return x.map((row, i) => row.reduce((z, value, j) => z + value * w[j], w[k] + (offset?.[i] ?? 0)));
  }

  // What is predicted of every point, of a model of one number.
  predicted(frame) {
    return this.predictor(frame).map((z) => this.mean(z));
  }

  // The frame with the lowest loss: what a picture's limits are made for, also when a run diverged.
  get best() {
    let best = this.last;
    let lowest = Infinity;
    for (let f = 0; f < this.length; f++) {
      const value = this.value("loss", f);
      if (Number.isFinite(value) && value <= lowest) [best, lowest] = [f, value];
    }
    return best;
  }

  get diverged() {
    return this.outcome.startsWith("diverged");
  }

  // The last frame before the loss left its start far behind: all but the end of a diverged run.
  get calm() {
    const start = this.value("loss", 0);
    if (!Number.isFinite(start)) return this.last;
    const gained = start - Math.min(...this.steps.map((_, f) => this.value("loss", f)).filter(Number.isFinite));
    const limit = start + 29 * Math.max(Math.abs(start), gained); // the loss of counts may be below zero
    for (let f = 1; f < this.length; f++) {
      const value = this.value("loss", f);
      if (value === null || value > limit) return f - 1;
    }
    return this.last;
  }

  // Add what a live run sends: the same fields as a film, for the frames that are new.
  append(message) {
    const extend = (to, more) => more && to && to.push(...more);
    extend(this.steps, message.steps);
    extend(this.weights, message.weights);
    extend(this.learning_rate, message.learning_rate);
    extend(this.sample?.predictors, message.predictors);
    extend(this.surface?.path, message.path);
    for (const [name, [steps, values]] of Object.entries(message.curves ?? {})) {
      this.curves[name] ??= [[], []];
      this.curves[name][0].push(...steps);
      this.curves[name][1].push(...values);
    }
    for (const name of ["outcome", "title", "notes"]) if (message[name] !== undefined) this[name] = message[name];
    this.index();
  }
}

export function sigmoid(z) {
  return 1 / (1 + Math.exp(-z));
}

export function softmax(z) {
  const top = Math.max(...z);
  const e = z.map((value) => Math.exp(value - top));
  const total = e.reduce((a, b) => a + b, 0);
  return e.map((value) => value / total);
}

export const finite = (values) => values.filter((value) => value !== null && Number.isFinite(value));

// A number in at most five characters or so, for people.
export function text(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  const plain =
    size !== 0 && (size >= 1e6 || size < 1e-4)
      ? value.toExponential(2).replace("e+", "e")
      : size >= 1000
        ? value.toLocaleString("en-US", { maximumFractionDigits: size >= 1e4 ? 0 : 1 })
        : value.toPrecision(4);
  return plain.replace("-", "−").replace("e-", "e−");
}

// A setting, without the zeros that only keep a changing number from jumping.
export const setting = (value) => (Number.isFinite(value) ? text(Number(value.toPrecision(4))).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "") : text(value));

export const whole = (value) => Math.round(value).toLocaleString("en-US").replace("-", "−");

// Numbers between 0 and 1 that are the same every time.
export function spread(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
