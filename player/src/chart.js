// A chart: two canvases, one for what stays and one for what moves, under an SVG with axes and words.

import { axisBottom, axisLeft } from "d3-axis";
import { extent, ticks } from "d3-array";
import { scaleLinear } from "d3-scale";
import { select } from "d3-selection";
import { finite } from "./film.js";

export class Chart {
  constructor(film, { title, x = "", y = "", kind = "" }) {
    this.film = film;
    this.margin = { top: 20, right: 14, bottom: 34, left: 46 };
    this.names = { x, y };
    this.root = document.createElement("figure");
    this.root.className = `dp-panel ${kind}`;
    const caption = select(this.root).append("figcaption").attr("class", "dp-cap");
    caption.append("b").text(title);
    this.aside = caption.append("span").attr("class", "dp-keys");
    const plot = select(this.root).append("div").attr("class", "dp-plot");
    this.plot = plot.node();
    this.back = plot.append("canvas").attr("aria-hidden", "true").node();
    this.front = plot.append("canvas").attr("role", "img").attr("aria-label", title).node();
    this.svg = plot.append("svg").attr("aria-hidden", "true");
    this.tip = plot.append("div").attr("class", "dp-tip");
    this.front.addEventListener("pointermove", (event) => this.point(event));
    this.front.addEventListener("pointerdown", (event) => this.point(event));
    this.front.addEventListener("pointerleave", () => this.tip.style("opacity", 0));
    this.x = scaleLinear();
    this.y = scaleLinear();
    this.frame = 0;
  }

  // Fit to the room that the page gives, and draw everything again.
  resize(look) {
    this.look = look;
    const { width, height } = this.plot.getBoundingClientRect();
    if (width < 40 || height < 40) return;
    Object.assign(this, { width, height });
    this.svg.attr("width", width).attr("height", height).selectAll("*").remove();
    for (const canvas of [this.back, this.front]) {
      const ratio = window.devicePixelRatio || 1;
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
      canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
    }
    this.limits();
    const { top, right, bottom, left } = this.margin;
    this.x.range([left, width - right]);
    this.y.range([height - bottom, top]);
    this.axes();
    this.clipped(this.back, (context) => this.under(context));
    this.words();
    this.draw(this.frame);
  }

  draw(frame) {
    this.frame = frame;
    if (!this.width) return;
    this.front.getContext("2d").clearRect(0, 0, this.width, this.height);
    if (this.paper) this.clipped(this.front, (context) => this.under(context)); // printers clear with white
    this.clipped(this.front, (context) => this.over(context, frame));
    this.tell(frame);
  }

  clipped(canvas, draw) {
    const context = canvas.getContext("2d");
    const [left, right] = this.x.range();
    const [bottom, top] = this.y.range();
    context.save();
    context.beginPath();
    context.rect(left, top - 1, right - left + (this.bleed ?? 0), bottom - top + 2);
    context.clip();
    context.lineJoin = context.lineCap = "round";
    draw(context);
    context.restore();
  }

  axes() {
    const { svg, width, height, margin } = this;
    const across = (width - margin.left - margin.right) / 80;
    const up = (height - margin.top - margin.bottom) / 48;
    const bottom = axisBottom(this.x).tickSize(4).tickSizeOuter(0).tickPadding(4);
    const left = axisLeft(this.y).tickSize(4).tickSizeOuter(0).tickPadding(4);
    this.ticksOf(bottom, this.x, across);
    this.ticksOf(left, this.y, up);
    svg.append("g").attr("transform", `translate(0,${height - margin.bottom})`).call(bottom);
    if (!this.noLeft) svg.append("g").attr("transform", `translate(${margin.left},0)`).call(left);
    this.label(width - margin.right, height - 4, this.names.x, "end");
    this.label(4, 11, this.names.y, "start");
  }

  ticksOf(axis, scale, count) {
    const [low, high] = scale.domain();
    if (scale.base) {
      axis.tickValues(logTicks(low, high, count)).tickFormat(power);
    } else if (scale.constant) {
      axis.tickValues([0, ...logTicks(1, high, count)]).tickFormat(power);
    } else {
      const values = ticks(low, high, Math.max(2, Math.min(count, 7))).filter((value) => !scale.whole || Number.isInteger(value));
      axis.tickValues(values);
      if (scale.whole) axis.tickFormat((value) => value.toLocaleString("en-US"));
      else if (Math.max(Math.abs(low), Math.abs(high)) >= 1e5 || Math.abs(high - low) < 1e-3) axis.tickFormat(power);
    }
  }

  label(x, y, words, anchor, colour, bold) {
    return this.svg
      .append("text")
      .attr("x", x)
      .attr("y", y)
      .attr("text-anchor", anchor)
      .attr("class", bold ? "dp-end" : null)
      .style("fill", colour ?? null)
      .text(short(words, 48));
  }

  // Names at the ends of lines, moved apart where they would overlap: `items` are {y, name, colour}.
  endLabels(items, x = this.width - this.margin.right + 6) {
    const room = 13;
    const [bottom, top] = this.y.range();
    const placed = items.map((item) => ({ ...item, at: Math.min(Math.max(item.y, top), bottom) }));
    placed.sort((a, b) => a.at - b.at);
    for (let i = 1; i < placed.length; i++) placed[i].at = Math.max(placed[i].at, placed[i - 1].at + room);
    const excess = placed.length ? placed[placed.length - 1].at - bottom - 4 : 0;
    if (excess > 0) {
      placed[placed.length - 1].at -= excess;
      for (let i = placed.length - 2; i >= 0; i--) placed[i].at = Math.min(placed[i].at, placed[i + 1].at - room);
    }
    for (const { at, name, colour } of placed) this.label(x, at + 4, name, "start", colour, true);
  }

  // The classes by name in their colours, beside the title.
  keys(names) {
    this.aside
      .selectAll("i")
      .data(names)
      .join("i")
      .style("color", (_, i) => this.look.colour(i))
      .attr("title", (name) => name)
      .text((name) => short(name, 18));
  }

  point(event) {
    const box = this.plot.getBoundingClientRect();
    const [px, py] = [event.clientX - box.left, event.clientY - box.top];
    const found = this.width ? this.hover(px, py, this.frame) : null;
    if (!found) return this.tip.style("opacity", 0);
    const tip = this.tip.text(found.lines.join("\n")).style("opacity", 0.94).node();
    const left = found.x + 12 + tip.offsetWidth > this.width ? found.x - 12 - tip.offsetWidth : found.x + 12;
    const top = Math.max(0, Math.min(found.y - 14, this.height - tip.offsetHeight));
    tip.style.left = `${Math.max(0, left)}px`;
    tip.style.top = `${top}px`;
  }

  // The nearest of some places on the screen, within 24 pixels.
  nearest(count, place, px, py) {
    let best = null;
    let least = 24 ** 2;
    for (let i = 0; i < count; i++) {
      const [x, y] = place(i);
      const distance = (x - px) ** 2 + (y - py) ** 2;
      if (distance < least) [best, least] = [{ i, x, y }, distance];
    }
    return best;
  }

  dots(context, count, place, colour, size = this.look.point / 2) {
    context.globalAlpha = count > 400 ? 0.4 : 0.62;
    for (let i = 0; i < count; i++) {
      const [x, y] = place(i);
      if (!Number.isFinite(x) || !Number.isFinite(y)) continue;
      context.fillStyle = typeof colour === "function" ? colour(i) : colour;
      context.beginPath();
      context.arc(x, y, size, 0, 2 * Math.PI);
      context.fill();
    }
    context.globalAlpha = 1;
  }

  stroke(context, points, colour, width = this.look.line, { dash = [], alpha = 1 } = {}) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.globalAlpha = alpha;
    context.setLineDash(dash);
    context.beginPath();
    let open = false;
    for (const [x, y] of points) {
      if (!Number.isFinite(x) || !Number.isFinite(y)) {
        open = false;
        continue;
      }
      const [cx, cy] = [within(x), within(y)];
      if (open) context.lineTo(cx, cy);
      else context.moveTo(cx, cy);
      open = true;
    }
    context.stroke();
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  mark(context, x, y, colour, size = 5) {
    if (!Number.isFinite(x) || !Number.isFinite(y)) return;
    context.fillStyle = colour;
    context.strokeStyle = this.look.background;
    context.lineWidth = 2;
    context.beginPath();
    context.arc(within(x), within(y), size, 0, 2 * Math.PI);
    context.fill();
    context.stroke();
  }

  // An arrow at the edge towards what lies outside of the picture, and what that is.
  away(context, x, y, words) {
    const [left, right] = this.x.range();
    const [bottom, top] = this.y.range();
    if (!Number.isFinite(x + y) || (x >= left && x <= right && y >= top && y <= bottom)) return;
    const middle = [(left + right) / 2, (top + bottom) / 2];
    const [dx, dy] = [within(x) - middle[0], within(y) - middle[1]];
    const share = Math.min((right - left - 18) / 2 / Math.abs(dx), (bottom - top - 18) / 2 / Math.abs(dy));
    const at = [middle[0] + share * dx, middle[1] + share * dy];
    context.save();
    context.translate(...at);
    context.rotate(Math.atan2(dy, dx));
    context.beginPath();
    for (const corner of [[11, 0], [-6, 6], [-6, -6]]) context.lineTo(...corner);
    context.closePath();
    context.fillStyle = this.look.model;
    context.strokeStyle = this.look.background;
    context.lineWidth = 2;
    context.stroke();
    context.fill();
    context.restore();
    const onLeft = at[0] < middle[0];
    const from = at[0] + (onLeft ? 14 : -14);
    context.strokeStyle = this.look.background;
    context.font = `600 11.5px ${getComputedStyle(this.root).fontFamily}`;
    context.textAlign = onLeft ? "left" : "right";
    context.textBaseline = "middle";
    context.lineWidth = 3;
    context.strokeText(words, from, at[1]);
    context.fillStyle = this.look.model;
    context.fillText(words, from, at[1]);
  }

  // What a chart says for itself.
  limits() {}
  under() {}
  over() {}
  words() {}
  tell() {}
  hover() {
    return null;
  }
}

const within = (value) => Math.max(-1e5, Math.min(1e5, value)); // a diverged run leaves any canvas

// The beginning and the end of words that are too long; both tell names apart.
export function short(words, length) {
  if (words.length <= length) return words;
  const tail = Math.floor((length - 1) / 3);
  return `${words.slice(0, length - 1 - tail)}…${words.slice(words.length - tail)}`;
}

export function padded(values, share = 0.05) {
  const [low, high] = extent(finite(values));
  if (low === undefined) return [-1, 1];
  const room = (high - low) * share || Math.abs(low) * 0.1 || 1;
  return [low - room, high + room];
}

// 1, 2, 5 times powers of ten, or powers alone where there are many; even steps within one power.
export function logTicks(low, high, count) {
  const decades = Math.log10(high / low);
  const most = Math.max(2, Math.min(count, 8));
  if (decades < 1) return ticks(low, high, most);
  const factors = decades * 3 <= most + 1 ? [1, 2, 5] : [1];
  const stride = Math.max(1, Math.ceil(decades / most));
  const found = [];
  if (!Number.isFinite(decades)) return found;
  for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++) {
    if (factors.length === 1 && e % stride) continue;
    for (const factor of factors) {
      const value = Number(`${factor}e${e}`);
      if (value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9)) found.push(value);
    }
  }
  return found.length > 1 ? found : ticks(low, high, 3);
}

function power(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e-3 && size < 1e4) return String(Number(value.toPrecision(6))).replace("-", "−");
  if (size >= 1e4 && size < 1e6 && value % 1000 === 0) return `${value / 1000}k`.replace("-", "−");
  return value.toExponential(Number.isInteger(Math.log10(size)) ? 0 : 1).replace("e+", "e").replaceAll("-", "−");
}

